"""Say before a run is paid for which difference between two models it could show, from a pilot of a few cases.

The difference of two models on one case has three parts: how the book takes the two models, how the case does, and the noise of
each run. More runs reduce the third alone; more cases of the same books the second and third; more books all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from her.errors import InputError
from her.judging.statistics import CONFIDENCE, LEAST_CLUSTERS, LEAST_RUNS, POWER, Observation
from her.types import Value


class DifferenceNoise(Value):
    """Variances of the difference of two models on one case.

    Args:
        book: of what a whole book adds.
        case: of what the case adds.
        runs: of one run around its case's mean, for each of the two models.
    """

    book: float
    case: float
    runs: tuple[float, float]


class EvaluationDesign(NamedTuple):
    """Cases of each book, and runs of each model."""

    sizes: tuple[int, ...]
    runs: int


def design_of(clusters: Iterable[str], runs: int) -> EvaluationDesign:
    """Return the design of a set of cases, given the book of each."""
    return EvaluationDesign(tuple(Counter(clusters).values()), runs)


def minimum_detectable(noise: DifferenceNoise, design: EvaluationDesign, power: float = POWER) -> float:
    """Return the true difference that is found in this share of evaluations, at a confidence of 95 %.

    Raises:
        InputError: the design would give no interval.
    """
    from scipy.stats import t

    if len(design.sizes) < LEAST_CLUSTERS or design.runs < LEAST_RUNS:
        raise InputError(
            f"{len(design.sizes)} books and {design.runs} runs show no difference with an interval; "
            f"take at least {LEAST_CLUSTERS} books or seeds and {LEAST_RUNS} runs"
        )
    cases, freedom = sum(design.sizes), len(design.sizes) - 1
    books = noise.book * sum(size**2 for size in design.sizes) / cases**2
    variance = books + (noise.case + sum(noise.runs) / design.runs) / cases
    return float((t.ppf((1 + CONFIDENCE) / 2, freedom) + t.ppf(power, freedom)) * np.sqrt(variance))


def pilot_noise(first: Sequence[Observation], second: Sequence[Observation] | None = None) -> DifferenceNoise:
    """Return the noise that a pilot shows.

    With one model only the noise of its runs is known: what is detectable with it is the least that any two models could show.

    Raises:
        InputError: no case has two runs of each model, or fewer than two cases are paired.
    """
    runs = tuple(_run_variance(side, name) for side, name in ((first, "first"), (second or first, "second")))
    if second is None:
        return DifferenceNoise(book=0.0, case=0.0, runs=(runs[0], runs[0]))
    before, after = _means(first), _means(second)
    clusters = {each.case: each.cluster for each in first}
    values = {case: after[case][0] - before[case][0] for case in before if case in after}
    if len(values) < 2:
        raise InputError(f"the pilot pairs {len(values)} cases of both models; play at least two, better twenty")
    between, within = _variances(values, clusters)
    taken = [runs[side] * float(np.mean([1 / found[case][1] for case in values])) for side, found in enumerate((before, after))]
    return DifferenceNoise(book=between, case=max(0.0, within - sum(taken)), runs=(runs[0], runs[1]))


def _by_case(observations: Iterable[Observation]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for each in observations:
        if each.score is not None:
            found[each.case].append(each.score)
    return found


def _means(observations: Iterable[Observation]) -> dict[str, tuple[float, int]]:
    """Return each case's mean and number of runs."""
    return {case: (float(np.mean(scores)), len(scores)) for case, scores in _by_case(observations).items()}


def _run_variance(observations: Iterable[Observation], name: str) -> float:
    """Return the variance of one run around its case's mean, pooled over cases."""
    several = [scores for scores in _by_case(observations).values() if len(scores) >= LEAST_RUNS]
    if not several:
        raise InputError(f"no case of the {name} model has two runs; play the pilot with runs=2")
    squares = sum(float(np.var(scores)) * len(scores) for scores in several)
    return squares / sum(len(scores) - 1 for scores in several)


def _variances(values: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, float]:
    """Return the variance between and within books, by the analysis of variance for books of unequal size."""
    groups: dict[str, list[float]] = defaultdict(list)
    for case, value in values.items():
        groups[clusters[case]].append(value)
    sizes = np.array([len(group) for group in groups.values()], dtype=np.float64)
    total, books = float(sizes.sum()), len(groups)
    if books == total:  # one case a book: book and case cannot be told apart, and need not be
        return 0.0, float(np.var(list(values.values()), ddof=1))
    within = sum(float(np.var(group)) * len(group) for group in groups.values()) / (total - books)
    if books == 1:
        return 0.0, within
    mean = float(np.mean(list(values.values())))
    between = sum(len(group) * (float(np.mean(group)) - mean) ** 2 for group in groups.values()) / (books - 1)
    usual = (total - float((sizes**2).sum()) / total) / (books - 1)
    return max(0.0, (between - within) / usual), within
