"""pipelines/rl/prompts.py: prompts of their split, once each, none that a reward model was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from her.errors import InputError
from her.training_data.splits import chat_split
from pipelines.models.persona_chats import BUNDLED
from pipelines.reward.report import RewardManifest, trained_content, write_manifest
from pipelines.rl.prompts import PromptOptions, RolloutPrompt, read_prompts, read_trained_on
from tests.pipelines.reward.pairs_for_tests import preference


def read(**settings: Any) -> list[RolloutPrompt]:
    options = PromptOptions.model_validate(settings, strict=False)
    return read_prompts(options, 1, room=10_000, count=lambda messages: sum(len(each.content) for each in messages) // 4)


def chats(folder: Path, count: int) -> Path:
    path = folder / "sft.jsonl"
    rows = [
        {
            "prompt": [{"role": "system", "content": "You are Mara."}, {"role": "user", "content": f"Tom: Question {number}?"}],
            "completion": [{"role": "assistant", "content": "Mara: Answer."}],
            "turn": f"turn {number}",
            "transcript": f"chat {number}",
            "speaker": "Mara",
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_only_chats_of_the_split_rl_are_answered(tmp_path: Path) -> None:
    found = read(chats=[chats(tmp_path, 60)])
    expected = {f"chat {number}" for number in range(60) if chat_split(f"chat {number}") == "rl"}
    assert expected and {prompt.conversation for prompt in found} == expected


def test_files_are_taken_whole_equal_prompts_once_and_in_one_order(tmp_path: Path) -> None:
    path = chats(tmp_path, 10)
    found = read(files=[path])
    assert len(found) == 10 and found == read(files=[path, path]) and found[:4] == read(files=[path], most=4)


def test_a_prompt_longer_than_the_context_is_left_out_and_no_prompt_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"10 with more than 3 tokens"):
        read_prompts(PromptOptions(files=(chats(tmp_path, 10),)), 1, room=3, count=lambda messages: 4)
    with pytest.raises(ValidationError, match="nothing to answer"):
        PromptOptions()


@pytest.mark.whole
def test_personas_answer_their_visitors_and_every_chat_can_begin_a_session() -> None:
    found = read(personas=[BUNDLED], scenes=1, exchanges=3)
    starts = [(prompt.speaker, prompt.start.turns[-1].speaker) for prompt in found if prompt.start]
    assert starts and all(speaker != last for speaker, last in starts)


def test_a_reward_model_that_was_trained_on_the_prompts_is_refused(tmp_path: Path) -> None:
    found = read(files=[chats(tmp_path, 5)])
    trained = preference(conversation="elsewhere").model_copy(update={"prompt": found[2].messages})
    manifest = RewardManifest(run="r", base="", trained=("elsewhere",), held_out=(), content=trained_content([trained]))
    write_manifest(manifest, tmp_path)
    with pytest.raises(InputError, match="the very prompt was trained on"):
        read(files=[chats(tmp_path, 5)], reward_models=[tmp_path])
    by_id = RewardManifest(run="r", base="", trained=("chat 3",), held_out=())
    write_manifest(by_id, tmp_path)
    with pytest.raises(InputError, match="conversation 'chat 3'"):
        read(files=[chats(tmp_path, 5)], reward_models=[tmp_path / "model"])


@pytest.mark.parametrize("content", [None, "{}", '{"trained": 3}'])
def test_a_reward_model_without_a_manifest_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="manifest"):
        read_trained_on(tmp_path)
