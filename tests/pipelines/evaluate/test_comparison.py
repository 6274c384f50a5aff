"""Test the comparison of two models: what is found, what is not claimed, and what cannot be compared."""

import pytest

from her.errors import InputError
from her.judging.statistics import Uncertainty
from pipelines.evaluate.comparison import compare
from pipelines.evaluate.sheets import AVERAGE
from tests.pipelines.evaluate.evaluated import rows

QUICK = Uncertainty(resamples=300, permutations=300)
NAMES = ("a", "b")


def test_a_better_model_is_found_and_named() -> None:
    (found,) = compare(rows(), rows(shift=6, seed=2, model="m2"), NAMES, QUICK)
    assert found.differences[AVERAGE].found and found.verdict.startswith("b scores higher than a: +6.")
    assert all(each.found for each in found.differences.values()) and found.detectable is not None and found.detectable < 3
    assert found.breakdowns["split"]["ood"].estimate.used == 12 and "rounds" not in found.breakdowns
    assert found.cases[0].second - found.cases[0].first > found.cases[-1].second - found.cases[-1].first
    (turned,) = compare(rows(shift=6, seed=2, model="m2"), rows(), NAMES, QUICK)
    assert turned.verdict.startswith("a scores higher than b: -6.")


def test_equal_models_are_not_told_apart_and_the_page_says_what_could_have_been_found() -> None:
    (found,) = compare(rows(), rows(seed=5, model="m2"), NAMES, QUICK)
    assert found.verdict.startswith("No difference is shown between a and b") and "in four of five cases" in found.verdict


def test_nothing_is_claimed_without_an_interval() -> None:
    (found,) = compare(rows(runs=1), rows(shift=30, runs=1, seed=2, model="m2"), NAMES, QUICK)
    assert "without an interval (one run of a model" in found.verdict and not found.differences[AVERAGE].found
    assert found.detectable is None


def test_rows_without_a_partner_are_counted() -> None:
    (found,) = compare(rows(), rows(cases=22, seed=2, model="m2"), NAMES, QUICK)
    assert found.differences[AVERAGE].estimate.missing == 2 and any("2 cases are left out" in each for each in found.warnings)


def test_scores_of_other_judges_and_protocols_are_not_compared_by_accident() -> None:
    for changes in ({"judge": "other"}, {"protocol": "her"}):
        with pytest.raises(InputError, match="share no protocol and judge"):
            compare(rows(), rows(model="m2", **changes), NAMES, QUICK)
        (found,) = compare(rows(), rows(seed=2, **changes), NAMES, QUICK, across=True)
        assert any("differ" in warning for warning in found.warnings)
    with pytest.raises(InputError, match="share no protocol and judge"):
        compare(rows(), rows(language="zh"), NAMES, QUICK, across=True)


def test_a_side_is_one_model_and_both_have_cases_in_common() -> None:
    with pytest.raises(InputError, match="2 models"):
        compare([*rows(), *rows(model="m2")], rows(), NAMES, QUICK)
    renamed = [row.model_copy(update={"case": f"other {row.case}"}) for row in rows()]
    with pytest.raises(InputError, match="no scored case in common"):
        compare(rows(), renamed, NAMES, QUICK)
    with pytest.raises(InputError, match="share no dimension"):
        compare(rows(), [row.model_copy(update={"dimension": f"x_{row.dimension}"}) for row in rows() if row.judge], NAMES, QUICK)
