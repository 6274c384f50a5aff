"""pipelines/models/sampled_turns.py: turns sampled during training, their defects, and training left undisturbed."""

from pathlib import Path
from typing import Any

import pytest

from her.types import Message, Sample
from pipelines.models.attention import register_attention
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.sampled_turns import SampledTurn, other_speakers, sample_turns, turn_defects
from tests.tiny import make_tiny, teach

pytestmark = pytest.mark.whole
TURN = (
    "<system_thinking>I need to portray Ann as calm.</system_thinking>Ann: <role_thinking>Who is it?</role_thinking>Good evening."
)
FIRST = "===Conversation Start===\n\nEnvironment: Rain.\n\nTom: Good evening."
HEAD = "You are Ann, a baker, in a conversation with Tom, Cy."


def sample(*texts: str, head: str = HEAD) -> Sample:
    """A sample whose prompt holds these texts, the user's and the assistant's by turns."""
    roles = ("user", "assistant") * len(texts)
    history = [Message(role=role, content=text) for role, text in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    messages = (Message(role="system", content=head), *history, Message(role="assistant", content=TURN))
    return Sample(messages=messages, trained=(len(messages) - 1,), turn=f"t{len(texts)}", speaker="Ann")


# `teach` learns the history's turns too, so the second opens otherwise: one prompt would have two answers.
SAMPLES = [sample(FIRST), sample("Tom: Late again.", "Ann: Good evening.", "Tom: Who is it?"), sample("Cy: Well?")]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("taught"))
    teach(folder, [chat.messages for chat in SAMPLES], steps=100)
    return folder


def loaded(folder: Path, attention: str = "sdpa") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation=attention)


@pytest.mark.parametrize("attention", ["sdpa", "shared_prefix"])
@pytest.mark.parametrize("batch", [1, 8])
def test_a_model_that_knows_its_turns_plays_them(taught: Path, attention: str, batch: int) -> None:
    register_attention()
    model = loaded(taught, attention)
    sampled = sample_turns(model, ChatTemplate(str(taught)), SAMPLES, temperature=0, tokens=200, seed=1, batch=batch)
    assert (sampled.turns, sampled.well_formed, sampled.defects) == (3, 3, {})
    assert sampled.examples == (TURN,) * 3


def test_an_untrained_model_has_no_well_formed_turn(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "blank")
    sampled = sample_turns(loaded(folder), ChatTemplate(str(folder)), SAMPLES, temperature=1, tokens=20, seed=1)
    assert sampled.well_formed == 0 and sampled.defects["name_missing"] == 3 and len(sampled.examples) == 3


def test_the_seed_decides_and_training_is_undisturbed(taught: Path) -> None:
    import torch

    model, template = loaded(taught).train(), ChatTemplate(str(taught))
    model.model.layers[0].eval()  # such as a frozen part
    before = torch.get_rng_state()

    def drawn(seed: int) -> tuple[str, ...]:
        return sample_turns(model, template, SAMPLES, temperature=3, tokens=40, seed=seed).examples

    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training and model.model.layers[1].training and not model.model.layers[0].training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_where_the_context_ends_a_turn_is_unfinished(taught: Path) -> None:
    model, template = loaded(taught), ChatTemplate(str(taught))
    room = len(template.ids(SAMPLES[0].messages[:-1], ask=True))
    for positions in (room + 5, room):
        model.config.max_position_embeddings = positions
        sampled = sample_turns(model, template, SAMPLES[:1], temperature=0, tokens=200, seed=1)
        assert sampled.well_formed == 0 and sampled.defects["unfinished"] == 1


WRONG = [
    (TURN, True, []),
    (TURN, False, ["unfinished"]),
    (TURN.replace("Ann: ", ""), True, ["name_missing"]),
    (TURN.replace("</role_thinking>Good", "</role_thinking> Good"), True, ["space_at_tag"]),
    (TURN.partition("</system_thinking>")[2], True, ["plan_missing"]),
    (TURN + "\n\nTom: Good evening, Ann.", True, ["other_speaker"]),
    (TURN + "\n\nEnvironment: Rain.", True, ["other_speaker"]),
    (TURN.replace("Good evening", "*nods* Good evening"), True, []),  # in this notation a star is a star
    ("<system_thinking>I need to", False, ["unclosed_plan", "unfinished"]),
    ("", True, ["empty"]),
]


@pytest.mark.parametrize(("text", "finished", "names"), WRONG)
def test_every_defect_counts(text: str, finished: bool, names: list[str]) -> None:
    assert sorted(turn_defects(SampledTurn(text, finished, has_special_token=False), SAMPLES[0])) == sorted(names)


def test_a_special_token_within_a_turn_counts() -> None:
    assert turn_defects(SampledTurn(TURN, finished=True, has_special_token=True), SAMPLES[0]) == ["special_token"]


def test_without_plans_a_missing_plan_is_no_defect() -> None:
    sampled = SampledTurn("Ann: Good evening.", finished=True, has_special_token=False)
    assert (turn_defects(sampled, SAMPLES[0]), turn_defects(sampled, SAMPLES[0], plans=False)) == (["plan_missing"], [])


def test_other_speakers_are_those_in_the_prompt() -> None:
    assert other_speakers(sample(FIRST + "\n\nCy: No.\n\nNote: Tom: x")) == ("Environment", "Tom", "Cy")
    assert other_speakers(sample("来客：你好", head="你是Ann，正与来客交谈。")) == ("Environment", "来客")
