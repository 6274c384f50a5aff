"""Test the smallest difference that a run can show, before it is paid for."""

import pytest

from her.errors import InputError
from her.judging.detectable import DifferenceNoise, EvaluationDesign, design_of, minimum_detectable, pilot_noise
from tests.judging.test_statistics import played

NOISE = DifferenceNoise(book=4.0, case=25.0, runs=(80.0, 80.0))


def test_more_books_cases_and_runs_show_smaller_differences():
    usual = minimum_detectable(NOISE, EvaluationDesign((2,) * 100, 2))
    assert usual < minimum_detectable(NOISE, EvaluationDesign((2,) * 20, 2))
    assert usual < minimum_detectable(NOISE, EvaluationDesign((1,) * 100, 2))
    assert usual > minimum_detectable(NOISE, EvaluationDesign((2,) * 100, 4))
    # (1.984 + 0.845) * sqrt(4/100 + (25 + 160/2) / 200)
    assert usual == pytest.approx(2.8294 * (0.04 + 105 / 200) ** 0.5, abs=2e-3)


def test_a_pilot_gives_the_noise_back():
    first = played(1, books=300, cases=3, noise=9, by_book=3)
    second = played(2, books=300, cases=3, noise=9, by_book=3)
    found = pilot_noise(first, second)
    assert found.runs[0] == pytest.approx(81, rel=0.1) and found.book == pytest.approx(18, rel=0.3) and found.case < 8
    alone = pilot_noise(first)
    assert alone.book == alone.case == 0 and alone.runs[0] == alone.runs[1] == found.runs[0]


@pytest.mark.parametrize(("sizes", "runs"), [((2,) * 9, 2), ((2,) * 100, 1)])
def test_a_design_without_an_interval_is_refused(sizes, runs):
    with pytest.raises(InputError, match="no difference with an interval"):
        minimum_detectable(NOISE, EvaluationDesign(sizes, runs))


def test_a_pilot_that_says_nothing_is_refused():
    with pytest.raises(InputError, match="two runs"):
        pilot_noise(played(1, runs=1), played(2))
    with pytest.raises(InputError, match="pairs 1 cases"):
        pilot_noise(played(1, books=1, cases=1), played(2))
    assert design_of(["a", "b", "a"], 2) == EvaluationDesign((2, 1), 2)
