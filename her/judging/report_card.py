"""Report card of a judge or reward model: how far it agrees with labels, and how it is biased, with intervals.

Every share has an interval that resamples conversations. Agreement is worth what people agree among themselves, so the human
ceiling stands beside it; without one the card says so. Missing verdicts are counted and never scored.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.errors import InputError
from her.judging.verdicts import join_orders
from her.statistics import Interval, cluster_bootstrap, cohen_kappa, fit_logistic
from her.types import Language, Outcome, Value, Verdict

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
BINS = 10
LEAST_ROWS = 20
"""Rows below which a slope or a calibration curve says nothing."""


class JudgedPair(NamedTuple):
    """One labelled pair with the verdicts of both orders, None where one is missing.

    Args:
        conversation: cluster of the bootstrap.
        label: of people or of another judge; None where there is none.
        lengths: characters of a and b without their plans.
        families: model families that wrote a and b, empty where unknown.
    """

    id: str
    conversation: str
    forth: Verdict | None
    back: Verdict | None
    label: Outcome | None
    lengths: tuple[int, int]
    language: Language = "en"
    families: tuple[str, str] = ("", "")


class Calibration(Value):
    """Rows whose given probability that a wins lies in one tenth: mean probability, share that a won, number."""

    given: float
    found: float
    rows: int


class ReportCard(Value):
    """All figures of one judge. An interval is `(value, low, high)`; NaN where there is nothing to say.

    Args:
        agreement: share of verdicts equal to the label; `kappa` is Cohen's, ties included.
        by_language: agreement in each language.
        ceiling: agreement between two people on such pairs, as it was given; None when unknown.
        first_slot: share of decided single-order verdicts that chose the first candidate shown; 0.5 is unbiased.
        swap_consistency: share of pairs with the same verdict in both orders.
        tie_rate: of joined verdicts. `label_tie_rate` of the labels beside it.
        verbosity: slope of the log odds to win over the log ratio of lengths, with the labels' own slope taken off where known.
        self_preference: how much more often the judge chose its own family than the labels did.
        missing: share of pairs without a joined verdict.
    """

    judge: str
    model: str
    pairs: int
    agreement: Interval
    kappa: float
    by_language: dict[str, Interval]
    ceiling: Interval | None
    first_slot: Interval
    swap_consistency: Interval
    tie_rate: Interval
    label_tie_rate: float
    verbosity: Interval
    self_preference: Interval
    calibration: tuple[Calibration, ...]
    missing: Interval


def report_card(
    pairs: Sequence[JudgedPair], *, family: str = "", ceiling: Interval | None = None, resamples: int = 1000, seed: int = 0
) -> ReportCard:
    """Return the report card of the judge that gave these verdicts.

    Args:
        family: model family of the judge, for self-preference.
        ceiling: agreement between people on such pairs.

    Raises:
        InputError: no pairs, or verdicts of several judges.
    """
    judges = {(verdict.judge, verdict.model) for pair in pairs for verdict in (pair.forth, pair.back) if verdict is not None}
    if not pairs or len(judges) > 1:
        raise InputError(f"a report card needs pairs of one judge; here are {len(pairs)} pairs of {len(judges)} judges")
    rows = [_Row(pair, join_orders(pair.forth, pair.back)) for pair in pairs]
    estimate = _Estimates(rows, resamples, seed)
    judge, model = next(iter(judges), ("", ""))
    both = [(row.verdict, row.pair.label) for row in rows if row.verdict is not None and row.pair.label is not None]
    return ReportCard(
        judge=judge,
        model=model,
        pairs=len(pairs),
        agreement=estimate.share(_agrees),
        kappa=cohen_kappa([winner for winner, _ in both], [label for _, label in both]) if both else math.nan,
        by_language={
            language: _Estimates([row for row in rows if row.pair.language == language], resamples, seed).share(_agrees)
            for language in sorted({row.pair.language for row in rows})
        },
        ceiling=ceiling,
        first_slot=estimate.share(_first_slot),
        swap_consistency=estimate.share(lambda row: _both(row.pair, lambda forth, back: float(forth.winner == back.winner))),
        tie_rate=estimate.share(lambda row: None if row.verdict is None else float(row.verdict == "tie")),
        label_tie_rate=_mean([float(row.pair.label == "tie") for row in rows if row.pair.label is not None]),
        verbosity=estimate.of(_verbosity),
        self_preference=estimate.share(lambda row: _self_preference(row, family)),
        calibration=tuple(_calibration(rows)),
        missing=estimate.share(lambda row: float(row.verdict is None)),
    )


class _Row(NamedTuple):
    """A pair with its joined outcome."""

    pair: JudgedPair
    joined: Verdict | None

    @property
    def verdict(self) -> Outcome | None:
        return None if self.joined is None else self.joined.winner


class _Estimates:
    """Statistics of rows with intervals over conversations."""

    def __init__(self, rows: Sequence[_Row], resamples: int, seed: int) -> None:
        self._rows, self._resamples, self._seed = rows, resamples, seed
        self._clusters = [row.pair.conversation for row in rows]

    def share(self, value: Callable[[_Row], float | None]) -> Interval:
        """Return the mean of a value over the rows that have one."""
        values = np.array([math.nan if (number := value(row)) is None else number for row in self._rows])

        def mean(indices: Indices) -> float:
            drawn = values[indices]
            known = drawn[~np.isnan(drawn)]
            return float(known.mean()) if known.size else math.nan

        return self._interval(mean)

    def of(self, statistic: Callable[[Sequence[_Row]], float]) -> Interval:
        """Return a statistic of whole rows."""
        return self._interval(lambda indices: statistic([self._rows[index] for index in indices]))

    def _interval(self, statistic: Callable[[Indices], float]) -> Interval:
        return cluster_bootstrap(statistic, self._clusters, resamples=self._resamples, seed=self._seed)


def _agrees(row: _Row) -> float | None:
    return None if row.verdict is None or row.pair.label is None else float(row.verdict == row.pair.label)


def _both(pair: JudgedPair, value: Callable[[Verdict, Verdict], float]) -> float | None:
    return None if pair.forth is None or pair.back is None else value(pair.forth, pair.back)


def _first_slot(row: _Row) -> float | None:
    """Return the share of this pair's decided verdicts that chose the candidate shown first."""
    decided = [
        float(verdict.winner == verdict.first)
        for verdict in (row.pair.forth, row.pair.back)
        if verdict is not None and verdict.first is not None and verdict.winner in ("a", "b")
    ]
    return _mean(decided) if decided else None


def _self_preference(row: _Row, family: str) -> float | None:
    """Return +1 where the judge chose its own family against the label, -1 where it chose the other against the label."""
    own = [side for side, name in zip(("a", "b"), row.pair.families, strict=True) if family and name == family]
    # ties say nothing about a family, and a judge that is unsure of many would look modest
    if len(own) != 1 or row.verdict not in ("a", "b") or row.pair.label not in ("a", "b"):
        return None
    return float(row.verdict == own[0]) - float(row.pair.label == own[0])


def _verbosity(rows: Sequence[_Row]) -> float:
    """Return the verdicts' slope over log length ratio, less the labels' own slope over the same rows."""
    usable = [row for row in rows if row.verdict in ("a", "b") and min(row.pair.lengths) > 0]
    slope = _slope(usable, lambda row: row.verdict)
    if math.isnan(slope):
        return math.nan
    labelled = [row for row in usable if row.pair.label in ("a", "b")]
    own = _slope(labelled, lambda row: row.pair.label)
    return slope if math.isnan(own) else slope - own


def _slope(rows: Sequence[_Row], outcome: Callable[[_Row], Outcome | None]) -> float:
    """Return the logistic regression coefficient of `a wins` on log(length a / length b)."""
    wins = np.array([float(outcome(row) == "a") for row in rows])
    if len(rows) < LEAST_ROWS or wins.min() == wins.max():
        return math.nan
    design = np.array([[math.log(row.pair.lengths[0] / row.pair.lengths[1]), 1.0] for row in rows])
    return float(fit_logistic(design, wins, np.full(2, 0.1))[0])


def _calibration(rows: Iterable[_Row]) -> Iterable[Calibration]:
    """Yield the reliability curve of given probabilities against labels; none for a judge that gives none."""
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.joined is not None and row.joined.probability is not None and row.pair.label in ("a", "b"):
            given = row.joined.probability
            bins[min(int(given * BINS), BINS - 1)].append((given, float(row.pair.label == "a")))
    for _, members in sorted(bins.items()):
        yield Calibration(
            given=_mean([given for given, _ in members]), found=_mean([won for _, won in members]), rows=len(members)
        )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
