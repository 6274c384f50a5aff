"""pipelines/principles/pairs.py: whole conversations are held out, unfit pairs are counted, planted labels follow the rules."""

from pathlib import Path

import pytest

from her.backends.teacher_principles import TRAITS, follows
from her.errors import InputError
from her.files import jsonl
from her.judging.preference_pairs import conversation_of
from pipelines.principles.options import ContrastOptions, PlantedWorld
from pipelines.principles.pairs import load_contrasts, turn_text
from tests.pipelines.principles.small import pair


def test_conversations_are_whole_and_unfit_pairs_are_counted(tmp_path: Path) -> None:
    rows = [pair(f"Yes, {number}.", "No.", conversation=f"c{number // 3}") for number in range(30)]
    rows += [pair("Yes.", "Yes.", "c1"), pair("Yes.", "", "c2"), pair("Yes. " * 30, "No.", "c3")]
    jsonl.write(tmp_path / "p.jsonl", rows)
    found = load_contrasts(ContrastOptions(files=(tmp_path / "p.jsonl",)), seed=1)
    named_from, held_out = ({conversation_of(each) for each in part} for part in (found.named_from, found.held_out))
    assert named_from and held_out and not named_from & held_out
    assert len(found.named_from) + len(found.held_out) == 30 and found.rules is None
    assert found.left_out == {"empty": 1, "identical": 1, "length gap": 1}
    few = load_contrasts(ContrastOptions(files=(tmp_path / "p.jsonl",), most_named=2, most_held_out=1), seed=1)
    assert (len(few.named_from), len(few.held_out)) == (2, 1) and set(few.named_from) <= set(found.named_from)


def test_one_conversation_cannot_be_split(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "p.jsonl", [pair("Yes.", "No."), pair("Yes, sir.", "No.")])
    with pytest.raises(InputError, match="give pairs of at least two conversations"):
        load_contrasts(ContrastOptions(files=(tmp_path / "p.jsonl",)), seed=1)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"chosen": 1}\n', "utf-8")
    with pytest.raises(InputError, match=r"p\.jsonl' line 1"):
        load_contrasts(ContrastOptions(files=(tmp_path / "p.jsonl",)), seed=1)


@pytest.mark.parametrize("changes", [{}, {"planted": PlantedWorld(pairs=5), "files": (Path("p.jsonl"),)}])
def test_one_source_is_needed(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="give either pairs.files"):
        ContrastOptions(**changes)  # type: ignore[arg-type]


@pytest.mark.whole
def test_planted_labels_follow_the_hidden_rules_and_noise_does_not() -> None:
    world = ContrastOptions(planted=PlantedWorld(pairs=600, wrong=0))
    found = load_contrasts(world, seed=3)
    rows = [*found.named_from, *found.held_out]
    assert found.rules is not None and len(found.rules) == 5 and load_contrasts(world, seed=3) == found
    for trait in TRAITS:
        signs = [follows(trait, turn_text(row, True)) - follows(trait, turn_text(row, False)) for row in rows]
        share = signs.count(1) / (signs.count(1) + signs.count(-1))
        assert (share > 0.62) == (trait.id in found.rules), trait.id
    rules = [trait for trait in TRAITS if trait.id in found.rules]
    totals = [sum(follows(rule, turn_text(row, True)) - follows(rule, turn_text(row, False)) for rule in rules) for row in rows]
    assert min(totals) == 0  # without wrong labels no pair is against its rules
