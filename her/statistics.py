"""Intervals, agreement and Bradley-Terry scores: thin functions over evalica, scikit-learn and scipy.

Votes on turns of one conversation and votes of one rater are correlated, so intervals resample whole clusters.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A value with the limits of its confidence interval; NaN limits mean too few clusters to say."""

    value: float
    low: float
    high: float

    def excludes(self, number: float) -> bool:
        """Return whether the interval lies wholly on one side of `number`."""
        return self.low > number or self.high < number


def cluster_bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: Sequence[Hashable],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its percentile interval over resampled clusters (Davison and Hinkley 1997, section 3.8).

    Args:
        statistic: called with row indices, with repeats; may return NaN for a resample that says nothing.
        clusters: the cluster of each row, such as its conversation.

    Raises:
        ValueError: no rows.
    """
    if not clusters:
        raise ValueError("no rows to resample; give at least one")
    members: dict[Hashable, list[int]] = {}
    for row, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(row)
    groups = [np.array(rows, dtype=np.intp) for rows in members.values()]
    value = statistic(np.arange(len(clusters), dtype=np.intp))
    if len(groups) < 2:
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([groups[index] for index in random.integers(len(groups), size=len(groups))]))
        for _ in range(resamples)
    ]
    return _percentile_interval(value, drawn, confidence)


def crossed_bootstrap(
    statistic: Callable[[Floats], float],
    clusters: Mapping[str, Sequence[Sequence[Hashable]]],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of weighted rows with its interval over clusters that cross, such as raters and conversations.

    Every kind of cluster is resampled on its own, and a row counts as often as all its clusters were drawn: the pigeonhole
    bootstrap (Owen 2007, doi:10.1214/07-AOAS122), which is a little too wide and never too narrow. A kind with one cluster
    cannot be resampled and stays as it is.

    Args:
        statistic: called with the weight of each row, shape (rows,); may return NaN for a resample that says nothing.
        clusters: kind -> columns; each column has the cluster of each row. Columns of one kind share their clusters, such as
            both raters of a comparison.

    Raises:
        ValueError: no rows.
    """
    columns = [column for kind in clusters.values() for column in kind]
    if not columns or not columns[0]:
        raise ValueError("no rows to resample; give at least one")
    value = statistic(np.ones(len(columns[0])))
    kinds = [(count, codes) for count, codes in map(_codes, clusters.values()) if count > 1]
    if not kinds:
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        weights = np.ones(len(columns[0]))
        for count, codes in kinds:
            times = np.bincount(random.integers(count, size=count), minlength=count)
            weights *= times[codes].prod(axis=0)
        drawn.append(statistic(weights))
    return _percentile_interval(value, drawn, confidence)


def _codes(columns: Sequence[Sequence[Hashable]]) -> tuple[int, NDArray[np.intp]]:
    """Return the number of clusters in some columns, and their numbers, shape (columns, rows)."""
    numbers: dict[Hashable, int] = {}
    codes = [[numbers.setdefault(cluster, len(numbers)) for cluster in column] for column in columns]
    return len(numbers), np.array(codes, dtype=np.intp)


def _percentile_interval(value: float, drawn: Sequence[float], confidence: float) -> Interval:
    usable = [number for number in drawn if not np.isnan(number)]
    if not usable:
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of independent values with Student's interval; NaN values are left out, fewer than two give NaN limits."""
    from scipy.stats import t

    known = np.array([value for value in values if not np.isnan(value)], dtype=float)
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(t.ppf((1 + confidence) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return Interval(mean, mean - half, mean + half)


def share_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return a share with its Wilson score interval; NaN for no trials. For independent trials only."""
    if not trials:
        return Interval(float("nan"), float("nan"), float("nan"))
    from scipy.stats import binomtest

    limits = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Interval(successes / trials, float(limits.low), float(limits.high))


def krippendorff_alpha(ratings: Mapping[Hashable, Mapping[Hashable, str]]) -> float:
    """Return Krippendorff's nominal alpha; NaN when no unit has two ratings (Krippendorff 2004, chapter 11).

    Args:
        ratings: rater -> unit -> label, such as `a`, `b` or `tie`.
    """
    import pandas as pd
    from evalica import InsufficientRatingsError, alpha

    frame = pd.DataFrame.from_dict({rater: dict(units) for rater, units in ratings.items()}, orient="index", dtype=object)
    try:
        return float(alpha(frame, distance="nominal").alpha)
    except InsufficientRatingsError:
        return float("nan")


def cohen_kappa(first: Sequence[str], second: Sequence[str], weights: Floats | None = None) -> float:
    """Return Cohen's kappa of two raters over the same units; NaN where both gave one and the same label throughout."""
    from sklearn.metrics import cohen_kappa_score

    counted = [(a, b) for place, (a, b) in enumerate(zip(first, second, strict=True)) if weights is None or weights[place]]
    if len({label for pair in counted for label in pair}) < 2:
        return float("nan")
    return float(cohen_kappa_score(first, second, sample_weight=weights))


def fit_logistic(design: Floats, labels: Floats, precision: Floats, counts: Floats | None = None) -> Floats:
    """Return the weights of a logistic regression with a normal prior of its own on each column.

    scikit-learn takes one penalty for all columns and no soft labels, and costs a millisecond for ten rows, which counts for
    thousands of groups and resamples. Newton's steps end below 1e-9; logits of a few units take eight at most, and separated
    labels with a weak prior some twenty.

    Args:
        design: shape (rows, columns).
        labels: shape (rows,), from 0 to 1.
        precision: shape (columns,), of the priors; all above 0.
        counts: shape (rows,), how often each row counts; None for once each.
    """
    weights = np.zeros(design.shape[1])
    times = np.ones(len(labels)) if counts is None else counts
    for _ in range(30):
        expected = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (times * (labels - expected)) - precision * weights
        curvature = (design * (times * expected * (1 - expected))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights
