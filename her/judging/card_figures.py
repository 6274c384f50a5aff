"""Statistics of a report card: each is a function of resampled rows, with an interval over conversations."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.statistics import Interval, cluster_bootstrap, cohen_kappa, fit_logistic
from her.types import Language, Outcome, Value, Verdict

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
BINS = 10
NOTHING = Interval(math.nan, math.nan, math.nan)
LEAST_ROWS = 20
"""Rows below which a slope or a calibration curve says nothing."""


class Resampling(NamedTuple):
    """Number of resamples of an interval, and their seed."""

    resamples: int = 1000
    seed: int = 0


class JudgedPair(NamedTuple):
    """One labelled pair with the verdicts of both orders, None where one is missing.

    Args:
        conversation: cluster of the bootstrap.
        label: of people together or of another judge; None where there is none.
        lengths: characters of a and b without their plans.
        families: model families that wrote a and b, empty where unknown.
        dimension: what the pair was made or labelled for, empty where unknown.
        votes: of single people, each beside the label that they make together.
    """

    id: str
    conversation: str
    forth: Verdict | None
    back: Verdict | None
    label: Outcome | None
    lengths: tuple[int, int]
    language: Language = "en"
    families: tuple[str, str] = ("", "")
    dimension: str = ""
    votes: tuple[Outcome, ...] = ()


class ScoredTurn(NamedTuple):
    """One turn that people scored, with the judge's score; None where it is missing. Scales may differ."""

    id: str
    conversation: str
    given: float | None
    label: float
    language: Language = "en"
    dimension: str = ""


class Calibration(Value):
    """Rows whose given probability that a wins lies in one tenth: mean probability, share that a won, number."""

    given: float
    found: float
    rows: int


class JudgedRow(NamedTuple):
    """A pair with its joined outcome."""

    pair: JudgedPair
    joined: Verdict | None

    @property
    def verdict(self) -> Outcome | None:
        """Return the joined winner; None where it is missing."""
        return None if self.joined is None else self.joined.winner


class Estimates:
    """Statistics of rows with intervals over conversations."""

    def __init__(self, rows: Sequence[JudgedRow], resampling: Resampling) -> None:
        self._rows, self._resampling = rows, resampling
        self._clusters = [row.pair.conversation for row in rows]

    def by(self, group: Callable[[JudgedRow], str], value: Callable[[JudgedRow], float | None]) -> dict[str, Interval]:
        """Return the mean of a value in each group that has a name."""
        names = sorted({name for row in self._rows if (name := group(row))})
        parts = {name: [row for row in self._rows if group(row) == name] for name in names}
        return {name: Estimates(part, self._resampling).share(value) for name, part in parts.items()}

    def share(self, value: Callable[[JudgedRow], float | None]) -> Interval:
        """Return the mean of a value over the rows that have one."""
        values = np.array([math.nan if (number := value(row)) is None else number for row in self._rows])

        def mean(indices: Indices) -> float:
            drawn = values[indices]
            known = drawn[~np.isnan(drawn)]
            return float(known.mean()) if known.size else math.nan

        return self._interval(mean)

    def weighted(self, value: Callable[[JudgedRow], tuple[float, float]]) -> Interval:
        """Return the ratio of two sums over rows: found and possible."""
        values = np.array([value(row) for row in self._rows]).reshape(-1, 2)

        def ratio(indices: Indices) -> float:
            found, possible = values[indices].sum(0)
            return float(found / possible) if possible else math.nan

        return self._interval(ratio)

    def of(self, statistic: Callable[[Indices], float]) -> Interval:
        """Return a statistic of rows that are given by their indices."""
        return self._interval(statistic)

    @staticmethod
    def known(interval: Interval) -> Interval | None:
        """Return the interval, or None where it has no value."""
        return None if math.isnan(interval.value) else interval

    def _interval(self, statistic: Callable[[Indices], float]) -> Interval:
        return _resampled(statistic, self._clusters, self._resampling)


def _resampled(statistic: Callable[[Indices], float], clusters: Sequence[str], resampling: Resampling) -> Interval:
    if not clusters or math.isnan(statistic(np.arange(len(clusters)))):
        return NOTHING
    return cluster_bootstrap(statistic, clusters, resamples=resampling.resamples, seed=resampling.seed)


def agrees(row: JudgedRow) -> float | None:
    """Return whether the joined verdict is the label; None where one is missing."""
    return None if row.verdict is None or row.pair.label is None else float(row.verdict == row.pair.label)


def same_in_both_orders(row: JudgedRow) -> float | None:
    """Return whether both orders have one winner; None where an order is missing, or the judge knows no order."""
    forth, back = row.pair.forth, row.pair.back
    if forth is None or back is None or forth.first is None or back.first is None:
        return None
    return float(forth.winner == back.winner)


def is_tie(row: JudgedRow) -> float | None:
    """Return whether the joined verdict is a tie; None where it is missing."""
    return None if row.verdict is None else float(row.verdict == "tie")


def is_missing(row: JudgedRow) -> float:
    """Return whether there is no joined verdict."""
    return float(row.verdict is None)


def label_tie_rate(rows: Sequence[JudgedRow]) -> float:
    """Return the share of ties among the labels."""
    return mean([float(row.pair.label == "tie") for row in rows if row.pair.label is not None])


def first_slot(row: JudgedRow) -> float | None:
    """Return the share of this pair's decided verdicts that chose the candidate shown first."""
    decided = [
        float(verdict.winner == verdict.first)
        for verdict in (row.pair.forth, row.pair.back)
        if verdict is not None and verdict.first is not None and verdict.winner in ("a", "b")
    ]
    return mean(decided) if decided else None


def self_preference(row: JudgedRow, family: str) -> float | None:
    """Return +1 where the judge chose its own family against the label, -1 where it chose the other against the label."""
    own = [side for side, name in zip(("a", "b"), row.pair.families, strict=True) if family and name == family]
    # ties say nothing about a family, and a judge that is unsure of many would look modest
    if len(own) != 1 or row.verdict not in ("a", "b") or row.pair.label not in ("a", "b"):
        return None
    return float(row.verdict == own[0]) - float(row.pair.label == own[0])


def kappa(rows: Sequence[JudgedRow]) -> float:
    """Return Cohen's kappa of verdicts and labels, ties included."""
    both = [(row.verdict, row.pair.label) for row in rows if row.verdict is not None and row.pair.label is not None]
    return cohen_kappa([winner for winner, _ in both], [label for _, label in both]) if both else math.nan


def votes_agreed(row: JudgedRow) -> tuple[float, float]:
    """Return how many single votes the verdict agrees with, and how many there are."""
    return (0, 0) if row.verdict is None else (row.pair.votes.count(row.verdict), len(row.pair.votes))


def people_agree(row: JudgedRow) -> tuple[float, float]:
    """Return how many of the pairs of votes agree, and how many there are."""
    counts = Counter(row.pair.votes)
    return sum(map(_pairs_of, counts.values())), _pairs_of(counts.total())


def _pairs_of(count: int) -> float:
    return count * (count - 1) / 2


def verbosity(rows: Sequence[JudgedRow]) -> Callable[[Indices], float]:
    """Return the statistic: the verdicts' slope over log length ratio, less the labels' own slope over the same rows."""
    ratios = np.array([_log_ratio(*row.pair.lengths) for row in rows])
    won = np.array([_won(row.verdict) for row in rows])
    labelled = np.where(np.isnan(won), np.nan, [_won(row.pair.label) for row in rows]) if rows else won

    def difference(indices: Indices) -> float:
        slope, own = (_slope(ratios[indices], outcome[indices]) for outcome in (won, labelled))
        return slope if math.isnan(own) else slope - own

    return difference


def _log_ratio(first: int, second: int) -> float:
    return math.log(first / second) if first and second else math.nan


def _won(outcome: Outcome | None) -> float:
    return {"a": 1.0, "b": 0.0}.get(outcome or "", math.nan)


def _slope(ratios: Floats, wins: Floats) -> float:
    """Return the logistic regression coefficient of `a wins` on log(length a / length b)."""
    usable = ~(np.isnan(ratios) | np.isnan(wins))
    ratios, wins = ratios[usable], wins[usable]
    if len(wins) < LEAST_ROWS or wins.min() == wins.max():
        return math.nan
    design = np.column_stack([ratios, np.ones_like(ratios)])
    return float(fit_logistic(design, wins, np.full(2, 0.1))[0])


def correlations(turns: Sequence[ScoredTurn], resampling: Resampling) -> dict[str, Interval]:
    """Return Spearman's rho of judge and people over all turns, in each dimension and in each language.

    Dimensions have scales of their own, so scores are compared by their standing within their dimension.
    """
    standing = _standings([turn for turn in turns if turn.given is not None])
    groups: dict[str, list[ScoredTurn]] = {"all": standing}
    for turn in standing:
        for name in (turn.dimension, turn.language):
            if name:
                groups.setdefault(name, []).append(turn)
    return {name: _rank_correlation(group, resampling) for name, group in groups.items()}


def _standings(turns: Sequence[ScoredTurn]) -> list[ScoredTurn]:
    """Return the turns with both scores as a share of the way through their dimension."""
    from scipy.stats import rankdata

    groups: dict[str, list[ScoredTurn]] = defaultdict(list)
    for turn in turns:
        groups[turn.dimension].append(turn)
    found = []
    for group in groups.values():
        scores = np.array([(turn.given, turn.label) for turn in group], dtype=float)
        ranks = np.column_stack([rankdata(column) for column in scores.T]) / (len(group) + 1)
        found += [
            turn._replace(given=float(given), label=float(label)) for turn, (given, label) in zip(group, ranks, strict=True)
        ]
    return found


def _rank_correlation(turns: Sequence[ScoredTurn], resampling: Resampling) -> Interval:
    from scipy.stats import rankdata

    scores = np.array([(turn.given, turn.label) for turn in turns], dtype=float).reshape(-1, 2)

    def rho(indices: Indices) -> float:
        given, label = (rankdata(column) for column in scores[indices].T)
        if len(indices) < 3 or np.ptp(given) == 0 or np.ptp(label) == 0:
            return math.nan
        return float(np.corrcoef(given, label)[0, 1])

    return _resampled(rho, [turn.conversation for turn in turns], resampling)


def unscored(turns: Sequence[ScoredTurn], resampling: Resampling) -> Interval:
    """Return the share of turns without a score of the judge."""
    missing = np.array([turn.given is None for turn in turns], dtype=float)
    return _resampled(lambda indices: float(missing[indices].mean()), [turn.conversation for turn in turns], resampling)


def calibration(rows: Iterable[JudgedRow]) -> Iterable[Calibration]:
    """Yield the reliability curve of given probabilities against labels; none for a judge that gives none."""
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.joined is not None and row.joined.probability is not None and row.pair.label in ("a", "b"):
            given = row.joined.probability
            bins[min(int(given * BINS), BINS - 1)].append((given, float(row.pair.label == "a")))
    for _, members in sorted(bins.items()):
        yield Calibration(given=mean([given for given, _ in members]), found=mean([won for _, won in members]), rows=len(members))


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return float(np.mean(values)) if values else math.nan


def expected_error(curve: Sequence[Calibration]) -> float:
    """Return the mean distance between probability and share, over pairs; NaN for an empty curve."""
    total = sum(part.rows for part in curve)
    return sum(abs(part.given - part.found) * part.rows for part in curve) / total if total else math.nan
