"""her/statistics.py: intervals over clusters, and agreement against published values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.statistics import (
    Interval,
    cluster_bootstrap,
    cohen_kappa,
    fit_logistic,
    krippendorff_alpha,
    share_interval,
)


def test_clusters_widen_the_interval_of_repeated_votes() -> None:
    random = np.random.default_rng(1)
    votes = np.repeat(random.random(40) < 0.5, 10).astype(float)  # each conversation is one opinion, said ten times
    mean = lambda rows: float(votes[rows].mean())  # noqa: E731
    whole = cluster_bootstrap(mean, [row // 10 for row in range(400)])
    single = cluster_bootstrap(mean, list(range(400)))
    assert whole.high - whole.low > 2.5 * (single.high - single.low)
    assert whole.low < whole.value == single.value < whole.high


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_interval_covers_the_truth_and_repeats_by_seed(seed: int) -> None:
    values = np.random.default_rng(seed).normal(3, 1, 60)
    mean = lambda rows: float(values[rows].mean())  # noqa: E731
    found = cluster_bootstrap(mean, list(range(60)), resamples=200, seed=seed)
    assert found == cluster_bootstrap(mean, list(range(60)), resamples=200, seed=seed)
    assert found.low <= found.value <= found.high
    assert abs(found.value - 3) < 1 and 0.2 < found.high - found.low < 1


def test_one_cluster_has_no_interval() -> None:
    found = cluster_bootstrap(lambda rows: 1.0, ["chat", "chat"])
    assert found.value == 1 and math.isnan(found.low) and not found.excludes(0)
    silent = cluster_bootstrap(lambda rows: float("nan"), ["a", "b"], resamples=5)
    assert math.isnan(silent.low)
    with pytest.raises(ValueError, match="no rows"):
        cluster_bootstrap(lambda rows: 1.0, [])


@pytest.mark.parametrize(("interval", "number", "outside"), [((0.6, 0.52, 0.7), 0.5, True), ((0.5, 0.4, 0.6), 0.5, False)])
def test_an_interval_excludes(interval: tuple[float, float, float], number: float, outside: bool) -> None:
    assert Interval(*interval).excludes(number) is outside


@pytest.mark.whole
def test_wilson_interval_of_a_share() -> None:
    found = share_interval(8, 10)  # Newcombe 1998 prints 0.4902 to 0.9433 for 8 of 10
    assert (round(found.low, 4), round(found.high, 4)) == (0.4902, 0.9433)
    assert math.isnan(share_interval(0, 0).value)


def test_krippendorff_alpha_of_the_textbook() -> None:
    table = {  # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: nominal alpha 0.743; . is missing
        "A": "123321412...",
        "B": "1233224125.3",
        "C": ".3332342251.",
        "D": "12332441251.",
    }
    ratings = {rater: {unit: label for unit, label in enumerate(labels) if label != "."} for rater, labels in table.items()}
    assert krippendorff_alpha(ratings) == pytest.approx(0.743, abs=0.001)
    assert math.isnan(krippendorff_alpha({"A": {0: "a"}, "B": {1: "b"}}))


def test_cohen_kappa() -> None:
    assert cohen_kappa(["a", "b", "a", "b"], ["a", "b", "a", "b"]) == 1
    assert cohen_kappa(["a", "a", "b", "b"], ["a", "b", "a", "b"]) == 0
    assert math.isnan(cohen_kappa(["a", "a"], ["a", "a"]))


def test_cohen_kappa_counts_weights() -> None:
    first, second = ["a", "b", "a", "b"], ["a", "b", "b", "b"]
    assert cohen_kappa(first, second, np.array([1.0, 2.0, 1.0, 1.0])) == pytest.approx(cohen_kappa([*first, "b"], [*second, "b"]))
    assert math.isnan(cohen_kappa(first, second, np.array([1.0, 0.0, 0.0, 0.0])))


def test_logistic_weights_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(2)
    design = random.normal(size=(300, 3))
    labels = (random.random(300) < 1 / (1 + np.exp(-design @ np.array([2.0, -1.0, 0.0])))).astype(float)
    theirs = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-10).fit(design, labels).coef_[0]
    assert fit_logistic(design, labels, np.full(3, 0.5)) == pytest.approx(theirs, abs=1e-5)
