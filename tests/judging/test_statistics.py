"""Test what a difference is worth: whole books, runs inside the interval, no interval where there is nothing to base one on."""

import numpy as np
import pytest

from her.errors import InputError
from her.judging.statistics import (
    Observation,
    PairedDifference,
    Uncertainty,
    mean_score,
    paired_difference,
    same_model_noise,
    sign_flip,
    with_holm,
)

QUICK = Uncertainty(resamples=400, permutations=400)


def played(seed=0, books=20, cases=3, runs=2, shift=0.0, noise=5.0, by_run=0.0, by_book=0.0):
    """Scores of one model; the cases are equally hard whatever the seed."""
    hard = np.random.default_rng(99).normal(60, 15, size=(books, cases))
    random = np.random.default_rng(seed)
    taken = random.normal(0, by_book, size=books) if by_book else np.zeros(books)
    return [
        Observation(f"b{book}-{case}", f"b{book}", run, float(hard[book, case] + taken[book] + shift + by_run * run + wobble))
        for book in range(books)
        for case in range(cases)
        for run in range(runs)
        for wobble in [random.normal(0, noise)]
    ]


def test_a_planted_difference_is_found_and_equal_models_are_not():
    better = paired_difference(played(1), played(2, shift=4), QUICK)
    assert better.found and better.estimate.excludes(0) and better.p < 0.01
    assert better.estimate.low < 4 < better.estimate.high
    same = paired_difference(played(1), played(2), QUICK)
    assert not same.found and same.p > 0.05 and same.estimate.low < 0 < same.estimate.high


def test_books_are_resampled_whole():
    """Ten cases of one book say little more than one case when the book decides."""
    few = mean_score(played(3, books=12, cases=1, by_book=20, noise=1), QUICK)
    many = mean_score([each._replace(case=f"{each.case}/{copy}") for each in played(3, books=12, cases=1, by_book=20, noise=1)
                       for copy in range(10)], QUICK)  # fmt: skip
    assert many.used == 10 * few.used and many.value == pytest.approx(few.value)
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=1e-6)


def test_noise_between_runs_is_inside_the_interval():
    wide, narrow = (mean_score(played(4, noise=noise, books=60, cases=1), QUICK) for noise in (40, 1))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_a_shift_of_a_whole_run_widens_the_interval_and_is_named():
    steady, shifted = (paired_difference(played(5), played(6, by_run=by_run), QUICK).estimate for by_run in (0.0, 12.0))
    assert steady.shift == 0 and shifted.shift == pytest.approx(12, abs=3)
    assert shifted.high - shifted.low > 5 * (steady.high - steady.low)
    assert not shifted.excludes(0)  # one run is 12 points better: two runs cannot tell a better model from a luckier day


@pytest.mark.parametrize(("books", "runs", "why"), [(9, 2, "9 books"), (20, 1, "one run"), (1, 2, "1 books")])
def test_there_is_no_interval_without_books_or_runs(books, runs, why):
    found = mean_score(played(7, books=books, runs=runs), QUICK)
    assert found.value is not None and found.low is None and found.high is None and why in found.reason
    difference = paired_difference(played(7, books=books, runs=runs), played(8, books=books, runs=runs, shift=30), QUICK)
    assert difference.estimate.low is None and not difference.found
    assert not found.excludes(-1000)


def test_missing_scores_are_counted_and_never_numbers():
    scores = played(9)
    lost = [each._replace(score=None) if number % 6 == 0 else each for number, each in enumerate(scores)]
    found = mean_score(lost, QUICK)
    assert found.missing == 20 and found.used == 60 and found.value == pytest.approx(mean_score(scores, QUICK).value, abs=2)
    whole = {each.case for each in scores[:10]}
    gone = [each._replace(score=None) if each.case in whole else each for each in scores]
    difference = paired_difference(gone, played(10), QUICK)
    assert difference.estimate.used == 60 - len(whole) and difference.estimate.missing == len(whole)
    nothing = mean_score([each._replace(score=None) for each in scores], QUICK)
    assert nothing.value is None and nothing.reason and nothing.missing == 120
    assert mean_score([], QUICK).value is None and paired_difference([], scores, QUICK).p is None


def test_pairs_need_one_set_of_cases():
    scores = played(11)
    with pytest.raises(InputError, match="two scores in run 0"):
        mean_score([*scores, scores[0]], QUICK)
    with pytest.raises(InputError, match="a case has one book"):
        mean_score([*scores, scores[0]._replace(run=5, cluster="other")], QUICK)
    with pytest.raises(InputError, match="one set of cases"):
        paired_difference(scores, [each._replace(cluster="other") for each in scores], QUICK)


def test_two_runs_of_one_model_show_the_noise():
    noise = same_model_noise(played(12), QUICK)
    assert noise is not None and noise.estimate.low < 0 < noise.estimate.high and noise.estimate.reason == ""
    assert same_model_noise(played(12, runs=1), QUICK) is None
    moved = same_model_noise(played(12, by_run=20), QUICK)
    assert moved is not None and moved.estimate.excludes(0) and moved.p < 0.01


def test_signs_of_books_are_flipped_exactly_where_there_are_few():
    values, clusters = {f"c{book}": 1.0 for book in range(6)}, {f"c{book}": f"b{book}" for book in range(6)}
    assert sign_flip(values, clusters) == pytest.approx(2 / 64)
    assert sign_flip(values, dict.fromkeys(clusters, "one book")) == 1.0
    many = {f"c{book}": 1.0 for book in range(40)}
    assert sign_flip(many, {case: case for case in many}, QUICK) == pytest.approx(1 / 401)


def test_several_comparisons_share_one_error():
    by_p = {
        name: PairedDifference(estimate=mean_score([]), p=p) for name, p in (("a", 0.01), ("b", 0.04), ("c", 0.03), ("d", None))
    }
    adjusted = {name: each.adjusted for name, each in with_holm(by_p).items()}
    assert adjusted == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": None}


def test_the_same_scores_in_another_order_give_the_same_bytes():
    scores = played(13)
    assert mean_score(scores, QUICK).model_dump_json() == mean_score(scores[::-1], QUICK).model_dump_json()
    forth, back = paired_difference(scores, played(14), QUICK), paired_difference(scores[::-1], played(14)[::-1], QUICK)
    assert forth.model_dump_json() == back.model_dump_json()


def test_scores_that_hardly_differ_have_an_interval_that_ends() -> None:
    """Eleven books have one value and one has another: resamples without it have no error to divide by."""
    scores = [Observation(f"c{book}", f"b{book}", run, 1.25 if book else 0.25) for book in range(12) for run in range(2)]
    found = mean_score(scores, QUICK)
    assert 0.9 < found.low < found.value < found.high < 1.4
    constant = mean_score([each._replace(score=3.0) for each in scores], QUICK)
    assert (constant.low, constant.value, constant.high) == (3, 3, 3)
