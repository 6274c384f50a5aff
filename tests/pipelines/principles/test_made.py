"""pipelines/principles/made.py: the library of a run is complete and loads; a base that cannot take a principle is refused."""

import shutil
from pathlib import Path

import pytest

from her.errors import HerError
from her.judging.principles import LIBRARY, load_principles, validate_library
from her.statistics import Interval
from pipelines.principles.made import make_principles, planted_figures, write_library
from pipelines.principles.selection import LabelTest
from tests.pipelines.principles.small import candidate


def a_test(name: str, *, q: float | None = 0.01, reason: str = "") -> LabelTest:
    agreement = Interval(0.75, 0.6, 0.9)
    return LabelTest(
        principle=name, decided=20, agreed=15, missing=0, conversations=9, agreement=agreement, p=q, q=q, reason=reason
    )


def test_kept_principles_are_added_to_a_copy_of_the_library(tmp_path: Path) -> None:
    candidates = [candidate("rejected"), candidate("kept"), candidate("surer")]
    tests = [a_test("rejected", q=0.5, reason="no"), a_test("kept", q=0.02), a_test("surer", q=0.001)]
    made = make_principles(candidates, tests)
    assert [each.entry.id for each in made] == ["surer", "kept", "rejected"]
    write_library(LIBRARY, tmp_path / "library", made[:2])
    assert validate_library(tmp_path / "library") == []
    added = {each.id for each in load_principles("zh", tmp_path / "library")} - {each.id for each in load_principles("zh")}
    assert added == {"kept", "surer"}
    same = [path.name for path in LIBRARY.glob("*.yaml") if path.read_bytes() == (tmp_path / "library" / path.name).read_bytes()]
    assert len(same) == 12


def test_a_base_without_the_dimension_is_refused(tmp_path: Path) -> None:
    base = Path(shutil.copytree(LIBRARY, tmp_path / "base"))
    (base / "character_development.yaml").unlink()
    made = make_principles([candidate("kept")], [a_test("kept")])
    with pytest.raises(HerError, match="has no file for the dimension of 'kept'; give one with all dimensions"):
        write_library(base, tmp_path / "library", made)


def test_planted_rules_are_counted_among_the_kept() -> None:
    other = candidate("other", "Nothing that was planted.")
    made = make_principles([candidate("oath"), other], [a_test("oath"), a_test("other")])
    found, false = planted_figures(made, frozenset({"oath", "weather"})), planted_figures(made, frozenset({"weather"}))
    assert (found.rules, found.found, found.false, found.unknown) == (2, 1, 0, 1)
    assert (false.found, false.false) == (0, 1)
