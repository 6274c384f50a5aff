"""her/judging/role_play_benchmarks.py: people's labels in the layouts of CharacterBench and RP-Bench, with what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.errors import InputError
from her.files import jsonl
from her.judging.role_play_benchmarks import detect, read_labelled
from tests.judging.test_labelled import preference, winner

SEED = {
    "id": "seed_1",
    "character_name": "Kael",
    "character_setting": "An exiled mage.",
    "user_name": "Sera",
    "user_setting": "A herbalist.",
    "opening_message": "Kael set his pack down.",
    "initial_user_input": "The healing house is that way.",
}
VOTE = {
    "mode": "arena",
    "context": "seed_1",
    "model_a": "opus_4",
    "model_b": "flash_2",
    "winner": "A",
    "response_a": "*nods* Thank you.",
    "response_b": "Whatever.",
    "is_catch": False,
}


def scored(score: Any = 2, **fields: Any) -> dict[str, Any]:
    """A row of CharacterBench, its translation included."""
    return {
        "character_name": "李越",
        "character_profile": "民国女演员。",
        "dialogue": [
            {"speaker": "user", "utterance": "你好"},
            {"speaker": "李越", "utterance": "你好呀"},
            {"speaker": "user", "utterance": "忙吗？"},
        ],
        "response_messages": {"model": "x", "response": "很忙，也很快乐！"},
        "annotation_score": score,
        "translation_en": {
            "character_name": "Li Yue",
            "user_name": "None",
            "character_profile": "An actress.",
            "dialogue": [{"speaker": "user", "utterance": "Are you busy?"}],
            "response_messages": {"response": "Busy, and happy!"},
        },
        **fields,
    }


def write(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in value) if name.endswith("l") else json.dumps(value)
    path.write_text(lines, "utf-8")
    return path


def test_every_scored_answer_is_read_in_both_languages(tmp_path: Path) -> None:
    write(tmp_path, "engagement_test.json", [scored(), scored(5, response_messages={"response": "还好。"}, translation_en=None)])
    found = read_labelled(tmp_path)
    assert [(turn.language, turn.score, turn.dimension) for turn in found.turns] == [
        ("zh", 2, "engagement"), ("en", 2, "engagement"), ("zh", 5, "engagement")
    ]  # fmt: skip
    chinese, english, _ = found.turns
    assert chinese.turn.text("speech") == "很忙，也很快乐！" and english.turn.speaker == "Li Yue"
    assert "民国女演员" in chinese.prompt[0].content and [message.role for message in chinese.prompt] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert english.prompt[-1].content.endswith("User: Are you busy?") and found.left_out == {"without an answer in en": 1}


def test_two_answers_to_one_prompt_make_a_pair(tmp_path: Path) -> None:
    write(
        tmp_path,
        "style_test.json",
        [scored(2, translation_en=None), scored(5, response_messages={"response": "还好。"}, translation_en=None)],
    )
    (pair,) = read_labelled(tmp_path / "style_test.json").pairs
    assert winner(pair) == "还好。" and pair.dimension == "style"


def test_rows_without_a_score_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "style_test.json", [scored("high"), scored(None), scored(True)])
    with pytest.raises(InputError, match=r"nothing that can be judged \(without a score: 3\)"):
        read_labelled(tmp_path)


def test_votes_are_one_pair_whichever_model_was_left(tmp_path: Path) -> None:
    turned = {
        **VOTE,
        "model_a": "flash_2",
        "model_b": "opus_4",
        "response_a": "Whatever.",
        "response_b": "*nods* Thank you.",
        "winner": "B",
    }
    write(tmp_path, "data/seeds.json", [SEED])
    write(tmp_path, "data/votes.jsonl", [VOTE, turned, {**turned, "winner": "A"}])
    (pair,) = read_labelled(tmp_path).pairs
    assert winner(pair) == "Thank you." and pair.families == ("flash", "opus") and sorted(pair.votes) == ["a", "b", "b"]
    assert pair.question.b.text("role_action") == "nods" and pair.conversation == "seed_1"
    system, asked = pair.question.prompt[0], pair.question.prompt[-1]
    assert "An exiled mage." in system.content and asked.content.endswith("Sera: The healing house is that way.")


def test_answers_may_stand_in_the_runs(tmp_path: Path) -> None:
    bare = {key: value for key, value in VOTE.items() if not key.startswith("response")}
    write(tmp_path, "seeds.json", [SEED])
    write(tmp_path, "votes.jsonl", [bare, {**bare, "model_b": "unknown_1"}])
    results = [
        {"test_model": model, "scenario_id": "seed_1", "generation": {"content": f"From {model}."}}
        for model in ("opus_4", "flash_2")
    ]
    write(tmp_path, "results/run_1.json", {"results": results})
    found = read_labelled(tmp_path)
    assert winner(found.pairs[0]) == "From opus_4." and found.left_out == {"text of an answer is missing": 1}


def test_catch_pairs_and_votes_of_other_kinds_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "seeds.json", [SEED])
    bad = [
        {**VOTE, "is_catch": True},
        {**VOTE, "mode": "multiturn_arena"},
        {**VOTE, "winner": None},
        {**VOTE, "context": "seed_9"},
    ]
    write(tmp_path, "votes.jsonl", [VOTE, *bad])
    found = read_labelled(tmp_path / "votes.jsonl")
    assert len(found.pairs) == 1 and found.left_out == {
        "catch pair": 1,
        "vote on a whole session or a rubric": 1,
        "no winner or no models": 1,
        "scene is not among the seeds": 1,
    }


def test_the_layout_is_told_by_the_fields(tmp_path: Path) -> None:
    write(tmp_path, "pairs.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    jsonl.write(tmp_path / "preferences.jsonl", [preference()])
    write(tmp_path, "votes.jsonl", [VOTE])
    write(tmp_path, "scores.json", [scored()])
    assert {
        name: detect(tmp_path / f"{name}") for name in ("pairs.jsonl", "preferences.jsonl", "votes.jsonl", "scores.json")
    } == {
        "pairs.jsonl": "pairs",
        "preferences.jsonl": "preferences",
        "votes.jsonl": "rp_bench",
        "scores.json": "character_bench",
    }
    assert (
        len(read_labelled(tmp_path / "preferences.jsonl").pairs) == 1 and len(read_labelled(tmp_path / "pairs.jsonl").pairs) == 1
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("none.json", None, "does not exist"),
        ("odd.json", '[{"x": 1}]', "none of the known layouts"),
        ("bad.json", "[", "no list of JSON"),
    ],
    ids=["missing", "unknown", "broken"],
)
def test_a_path_that_holds_no_labels_is_refused(tmp_path: Path, name: str, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_labelled(tmp_path / name)


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_an_empty_file_is_called_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.jsonl").write_text(text, "utf-8")
    for path in (tmp_path / "labels.jsonl", tmp_path):
        with pytest.raises(InputError, match="is empty; give a file"):
            read_labelled(path)
