"""Estimate what scores of an evaluation are worth: means and paired differences with intervals over whole books.

Cases of one book share characters and style, so whole books are resampled (CoSER's 200 test cases are of 101 books). A model is
played at least twice: the mean of a case over its runs is the unit, so noise between runs widens the interval, and a shift of a
whole run, for which each case's noise does not account, is added to it. Below ten books or two runs there is no interval, and the
estimate says why. Missing scores are left out and counted.

Intervals are studentised cluster bootstraps, symmetric (Hall 1988, doi:10.1111/j.2517-6161.1988.tb01707.x; Cameron, Gelbach and
Miller 2008, doi:10.1162/rest.90.3.414): percentile intervals of a dozen books are too narrow.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.errors import InputError
from her.statistics import Interval
from her.types import Value

Floats = NDArray[np.float64]
LEAST_CLUSTERS, LEAST_RUNS = 10, 2
SHIFT_LEVEL = 0.001
"""Level of the test for a shift of whole runs. A page tests ten figures, and two runs widen an interval manyfold: at .01 every
tenth honest page would have one that is widened by chance."""
SMALL_ERROR, MANY_SMALL = 0.2, 0.02
"""A resample whose own error is below this part of the sample's says little, and more than this share of them says too little."""
CONFIDENCE, POWER = 0.95, 0.8
RESAMPLES, PERMUTATIONS = 2000, 4000
EXACT = 12
"""Clusters up to which the permutation test goes through all signs."""


class Observation(NamedTuple):
    """Score of one case in one run; None where it is missing. `cluster` is its book, or its seed."""

    case: str
    cluster: str
    run: int
    score: float | None


class Estimate(Value):
    """A mean, or a mean paired difference, with its interval.

    Args:
        value: None when no case has a score.
        low: None without an interval; `reason` then says why.
        used: cases; `missing` scores or pairs left out; `clusters` books of the cases used.
        runs: fewest runs of a model.
        shift: largest difference between two runs of one model that the noise of its cases does not account for, else 0.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    used: int = 0
    missing: int = 0
    clusters: int = 0
    runs: int = 0
    reason: str = ""
    shift: float = 0

    @property
    def interval(self) -> Interval:
        """Return value and limits as plots want them, NaN for None."""
        nan = float("nan")
        return Interval(*(nan if number is None else number for number in (self.value, self.low, self.high)))

    def excludes(self, number: float) -> bool:
        """Return whether there is an interval and it lies wholly on one side of a number."""
        return self.interval.excludes(number)


class PairedDifference(Value):
    """The second model's scores less the first's over the cases that both have.

    Args:
        p: of the permutation test that flips the sign of whole books; None without a pair.
        adjusted: `p` after Holm's correction for the comparisons that were made together; equal to `p` for one.
    """

    estimate: Estimate
    p: float | None = None
    adjusted: float | None = None

    @property
    def found(self) -> bool:
        """True when the interval excludes 0 and the adjusted p is below .05."""
        return self.estimate.excludes(0) and self.adjusted is not None and self.adjusted < 1 - CONFIDENCE


class Uncertainty(NamedTuple):
    """Settings of intervals and tests.

    Args:
        confidence: of the interval; lower the error to 0.05/m for m intervals that shall hold together.
    """

    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    permutations: int = PERMUTATIONS
    seed: int = 0


USUAL = Uncertainty()


class _Cases(NamedTuple):
    """Scores of one model by case and run, and the book of each case."""

    scores: dict[str, dict[int, float]]
    clusters: dict[str, str]
    missing: int

    @property
    def runs(self) -> int:
        return len({run for runs in self.scores.values() for run in runs})

    def mean(self, case: str) -> float:
        return float(np.mean(list(self.scores[case].values())))


def mean_score(observations: Iterable[Observation], settings: Uncertainty = USUAL) -> Estimate:
    """Return the mean over cases, each the mean of its runs, with its interval.

    Raises:
        InputError: two scores of one case and run, or a case with two books.
    """
    cases = _read(observations)
    values = {case: cases.mean(case) for case in cases.scores}
    return _estimate(values, cases.clusters, [cases], cases.missing, settings)


def paired_difference(
    first: Iterable[Observation], second: Iterable[Observation], settings: Uncertainty = USUAL
) -> PairedDifference:
    """Return how much higher the second model scores than the first, case by case, with interval and permutation test.

    Raises:
        InputError: as `mean_score`, or a case has another book in the other model.
    """
    before, after = _read(first), _read(second)
    both = [case for case in before.scores if case in after.scores]
    for case in both:
        if before.clusters[case] != after.clusters[case]:
            raise InputError(
                f"case {case!r} is of {before.clusters[case]!r} in one run and of {after.clusters[case]!r} in the other; "
                "compare runs over one set of cases"
            )
    values = {case: after.mean(case) - before.mean(case) for case in both}
    seen = before.clusters.keys() | after.clusters.keys()
    kept = [_Cases({case: each.scores[case] for case in both}, each.clusters, 0) for each in (before, after)]
    estimate = _estimate(values, before.clusters, kept, len(seen) - len(both), settings)
    p = sign_flip(values, before.clusters, settings) if values else None
    return PairedDifference(estimate=estimate, p=p, adjusted=p)


def same_model_noise(observations: Iterable[Observation], settings: Uncertainty = USUAL) -> PairedDifference | None:
    """Return the difference between a model's first two runs; None for one run. What is not larger than this is noise."""
    by_run: dict[int, list[Observation]] = defaultdict(list)
    for each in observations:
        by_run[each.run].append(each)
    if len(by_run) < LEAST_RUNS:
        return None
    first, second = (by_run[run] for run in sorted(by_run)[:2])
    found = paired_difference(first, second, settings)
    # Each side is one run by design, so the rule of two runs does not apply here: the interval is over books alone.
    cases = [_read(side) for side in (first, second)]
    both = {case: cases[1].mean(case) - cases[0].mean(case) for case in cases[0].scores if case in cases[1].scores}
    sums, sizes = _cluster_sums(both, cases[0].clusters)
    if len(sums) < LEAST_CLUSTERS:
        return found
    low, high = studentised_limits(sums, sizes, settings)
    estimate = found.estimate.model_copy(update={"low": low, "high": high, "reason": ""})
    return found.model_copy(update={"estimate": estimate})


def with_holm(differences: Mapping[str, PairedDifference]) -> dict[str, PairedDifference]:
    """Return the comparisons with Holm's adjusted p (Holm 1979): the chance of any false finding among them stays below .05."""
    known = sorted((each.p, name) for name, each in differences.items() if each.p is not None)
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[name] = largest
    return {name: each.model_copy(update={"adjusted": adjusted.get(name)}) for name, each in differences.items()}


def sign_flip(values: Mapping[str, float], clusters: Mapping[str, str], settings: Uncertainty = USUAL) -> float:
    """Return the two-sided p of a paired permutation test: under equal models the sign of a book's differences is arbitrary."""
    sums, _ = _cluster_sums(values, clusters)
    count, observed = len(sums), abs(float(sums.sum()))
    tolerance = 1e-9 * max(1.0, float(np.abs(sums).sum()))
    if count <= EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ sums) >= observed - tolerance).mean())
    random = np.random.default_rng(settings.seed)
    signs = random.choice((-1.0, 1.0), size=(settings.permutations, count))
    reached = int((np.abs(signs @ sums) >= observed - tolerance).sum())
    return (reached + 1) / (settings.permutations + 1)


def _read(observations: Iterable[Observation]) -> _Cases:
    scores: dict[str, dict[int, float]] = {}
    clusters: dict[str, str] = {}
    seen: set[tuple[str, int]] = set()
    missing = 0
    for case, cluster, run, score in observations:
        if (case, run) in seen:
            raise InputError(f"case {case!r} has two scores in run {run}; give one score for each case and run")
        if clusters.setdefault(case, cluster) != cluster:
            raise InputError(f"case {case!r} is of {clusters[case]!r} and of {cluster!r}; a case has one book or seed")
        seen.add((case, run))
        if score is None:
            missing += 1
        else:
            scores.setdefault(case, {})[run] = score
    return _Cases(scores, clusters, missing)


def _estimate(
    values: Mapping[str, float], clusters: Mapping[str, str], models: Sequence[_Cases], missing: int, settings: Uncertainty
) -> Estimate:
    """Return the mean of one value a case, and the interval where there are enough books and runs."""
    if not values:
        return Estimate(value=None, missing=missing, reason="no case has a score")
    sums, sizes = _cluster_sums(values, clusters)
    runs = min(each.runs for each in models)
    found = Estimate(value=float(sums.sum() / sizes.sum()), used=len(values), missing=missing, clusters=len(sums), runs=runs)
    if len(sums) < LEAST_CLUSTERS:
        return found.model_copy(update={"reason": f"{len(sums)} books or seeds; an interval needs {LEAST_CLUSTERS}"})
    if runs < LEAST_RUNS:
        return found.model_copy(update={"reason": f"one run of a model; an interval needs {LEAST_RUNS} runs of each"})
    shifts = [shift for each in models if (shift := _run_shift(each)).variance]
    if not shifts:
        low, high = studentised_limits(sums, sizes, settings)
        return found.model_copy(update={"low": low, "high": high})
    half = _half_width(_variance(sums, sizes), len(sums), shifts, settings.confidence)
    value = float(sums.sum() / sizes.sum())
    largest = max(shift.largest for shift in shifts)
    return found.model_copy(update={"low": value - half, "high": value + half, "shift": largest})


def _cluster_sums(values: Mapping[str, float], clusters: Mapping[str, Hashable]) -> tuple[Floats, Floats]:
    """Return the sum of the values of each cluster, and its number of cases."""
    sums: dict[Hashable, float] = defaultdict(float)
    sizes: dict[Hashable, int] = defaultdict(int)
    for case in sorted(values):  # not in order of the rows: a report is the same bytes whatever came first
        sums[clusters[case]] += values[case]
        sizes[clusters[case]] += 1
    return np.array(list(sums.values())), np.array(list(sizes.values()), dtype=np.float64)


def studentised_limits(sums: Floats, sizes: Floats, settings: Uncertainty = USUAL) -> tuple[float, float]:
    """Return the limits of a mean by the symmetric studentised bootstrap over clusters.

    Args:
        sums: sum of the values in each cluster, shape (clusters,); `sizes` its number of values.
    """
    count, value = len(sums), float(sums.sum() / sizes.sum())
    error = float(np.sqrt(_variance(sums, sizes)))
    if not error > 1e-12 * max(1.0, abs(value)):
        return value, value
    random = np.random.default_rng(settings.seed)
    drawn = random.multinomial(count, np.full(count, 1 / count), size=settings.resamples).astype(np.float64)
    totals = drawn @ sizes
    means = (drawn @ sums) / totals
    squares = drawn @ sums**2 - 2 * means * (drawn @ (sums * sizes)) + means**2 * (drawn @ sizes**2)
    errors = np.sqrt(np.maximum(squares, 0) * count / (count - 1)) / totals
    # Where most books have one and the same value, resamples without the others have hardly any error of their own, and dividing
    # by it gives intervals without end. Student's distribution serves there.
    if float((errors < SMALL_ERROR * error).mean()) > MANY_SMALL:
        far = _student(settings.confidence, count - 1)
    else:
        far = float(np.quantile(np.abs(means - value) / np.maximum(errors, SMALL_ERROR * error), settings.confidence))
    return value - far * error, value + far * error


def _student(confidence: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, freedom))


def _variance(sums: Floats, sizes: Floats) -> float:
    """Return the variance of the mean over clusters, linearised for clusters of unequal size."""
    count, total = len(sums), float(sizes.sum())
    residuals = sums - sums.sum() / total * sizes
    return float((residuals**2).sum() * count / (count - 1) / total**2)


class _Shift(NamedTuple):
    """Variance that shifts of whole runs add to a model's mean, its degrees of freedom, and the largest difference of runs."""

    variance: float
    freedom: int
    largest: float


def _run_shift(cases: _Cases) -> _Shift:
    """Return what whole runs differ by beyond the noise of single cases; variance 0 where they do not."""
    from scipy.stats import f

    numbers = sorted({run for runs in cases.scores.values() for run in runs})
    whole = [[runs[run] for run in numbers] for runs in cases.scores.values() if len(runs) == len(numbers)]
    table = np.array(whole)
    if len(whole) < LEAST_CLUSTERS:
        return _Shift(0.0, 0, 0.0)
    count, runs = table.shape
    means = table.mean(axis=0)
    between = count * float(means.var(ddof=1))
    noise = table - means - table.mean(axis=1, keepdims=True) + table.mean()
    within = float((noise**2).sum()) / ((count - 1) * (runs - 1))
    if within <= 1e-12:
        # Cases whose runs differ by one and the same amount; equal runs, as of a model at temperature 0, differ by none.
        significant = between > 1e-9
    else:
        significant = float(f.sf(between / within, runs - 1, (count - 1) * (runs - 1))) < SHIFT_LEVEL
    if not significant:
        return _Shift(0.0, 0, 0.0)
    return _Shift(max(0.0, between - within) / count / runs, runs - 1, float(np.ptp(means)))


def _half_width(variance: float, clusters: int, shifts: Sequence[_Shift], confidence: float) -> float:
    """Return half the interval with shifts of runs in it, with Satterthwaite's degrees of freedom (1946)."""
    total = variance + sum(shift.variance for shift in shifts)
    freedom = total**2 / (variance**2 / (clusters - 1) + sum(shift.variance**2 / shift.freedom for shift in shifts))
    return _student(confidence, freedom) * float(np.sqrt(total))
