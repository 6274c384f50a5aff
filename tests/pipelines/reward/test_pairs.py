"""pipelines/reward/pairs.py: reading, refusals, hygiene and held-out conversations."""

from pathlib import Path

import pytest

from her.errors import InputError
from her.files import jsonl
from her.judging.preference_pairs import conversation_of, split_conversations, why_unfit
from her.types import Preference, Turn
from pipelines.reward.options import PairOptions, PlantedOptions
from pipelines.reward.pairs import load_pairs
from tests.pipelines.reward.pairs_for_tests import preference, turn


def written(folder: Path, preferences: list[Preference], name: str = "preferences.jsonl") -> Path:
    path = folder / name
    jsonl.write(path, preferences)
    return path


def test_a_hash_holds_out_whole_conversations_whatever_the_order(tmp_path: Path) -> None:
    rows = [preference(f"Line {number}.", conversation=f"c{number % 20}") for number in range(60)]
    found = load_pairs(PairOptions(files=(written(tmp_path, rows),), held_out_share=0.3), seed=1)
    trained, held_out = ({conversation_of(each) for each in part} for part in (found.train, found.held_out))
    assert len(found.train) + len(found.held_out) == 60 and not trained & held_out
    assert split_conversations(rows[::-1], 0.3, 1)[1] == found.held_out[::-1]
    assert {conversation_of(each) for each in split_conversations(rows, 0.3, 2)[1]} != held_out


def test_a_line_that_is_no_preference_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, [preference()])
    path.write_text(path.read_text("utf-8") + '{"prompt": []}\n', "utf-8")
    with pytest.raises(InputError, match=r"preferences.jsonl' line 2 lacks the key 'chosen'"):
        load_pairs(PairOptions(files=(path,)), seed=1)


def test_a_conversation_in_two_splits_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [preference(split="rm_sft"), preference("Well.", split="test")])
    with pytest.raises(InputError, match=r"line 2: conversation 'c1' is in split 'test' and in 'rm_sft'"):
        load_pairs(PairOptions(files=(path,)), seed=1)


def test_a_conversation_trained_and_evaluated_on_is_refused(tmp_path: Path) -> None:
    train = written(tmp_path, [preference(conversation="c1"), preference(conversation="c2")])
    held_out = written(tmp_path, [preference("Sit.", conversation="c2")], "held_out.jsonl")
    with pytest.raises(InputError, match="1 conversations are both trained and evaluated on, such as 'c2'"):
        load_pairs(PairOptions(files=(train,), held_out=(held_out,)), seed=1)


def test_without_an_id_chats_of_one_persona_and_scene_stay_together() -> None:
    first, second, other = (preference(conversation="", system=system) for system in ("You are A.", "You are A.", "You are B."))
    assert conversation_of(first) == conversation_of(second) != conversation_of(other)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (preference(), ""),
        (preference(winner="tie"), "no winner"),
        (preference(winner="both_bad"), "no winner"),
        (preference(weight=0.0), "weight 0"),
        (preference(rejected=Turn(speaker="Mara")), "empty"),
        (preference(rejected=turn("", plan="Mara should refuse.")), "empty"),
        (preference("Come in.", turn("Come in.", plan="Mara should agree.")), "identical"),
        (preference(turn("Come", defect="missing_close")), "truncated"),
        (preference("Come in. " * 20), "length gap"),
        (preference(turn("Come in.", defect="plan_missing")), ""),
    ],
)
def test_unfit_pairs_are_named(row: Preference, reason: str) -> None:
    assert why_unfit(row, length_gap=4) == reason


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [preference(f"Line {number}.", conversation=f"c{number}", split="a") for number in range(10)]
    rows += [preference("x" * 400, conversation="long", split="a"), preference(conversation="b", split="b")]
    found = load_pairs(PairOptions(files=(written(tmp_path, rows),), split="a"), seed=1)
    assert found.left_out == {"length gap": 1, "other split": 1}
    with pytest.raises(InputError, match="no preference to train on"):
        load_pairs(PairOptions(files=(written(tmp_path, rows[-2:]),), split="a"), seed=1)


def test_without_a_split_the_files_train_on_those_of_reward_models(tmp_path: Path) -> None:
    splits = ("rm_sft", "rm_rl", "rl", "test", "")
    rows = [
        preference(f"{split} {place}.", conversation=f"{split}{place}", split=split) for split in splits for place in range(6)
    ]
    found = load_pairs(PairOptions(files=(written(tmp_path, rows),)), seed=1)
    assert {each.split for each in (*found.train, *found.held_out)} == {"rm_sft", "rm_rl", ""}
    assert found.left_out == {"other split": 12}


def test_planted_raters_vote_on_training_pairs_only() -> None:
    planted = PairOptions(planted=PlantedOptions(pairs=300, careless=0.5), held_out_share=0.3)
    found = load_pairs(planted, seed=3)
    assert {each.verdict.judge for each in found.held_out} == {"rule"}
    assert all(each.rater and each.verdict.probability in (0.95, 0.55, 1 - 0.95, 1 - 0.55) for each in found.train)
