"""Measure agreement: among people, of a rater with themselves, and of people with a judge, each with its interval.

Role-play votes agree little (two people name the same winner about half of the time), and much of that is taste. So the
agreement among people is the ceiling that a judge is compared with. Intervals resample raters and conversations.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.feedback.raters import RaterVote, same_choice
from her.statistics import Interval, cohen_kappa, crossed_bootstrap
from her.types import Outcome, Value

Floats = NDArray[np.float64]
LABELS: tuple[Outcome, ...] = ("a", "b", "tie", "both_bad")
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
RESAMPLES = 1000


class TwoLabels(NamedTuple):
    """Two labels of one pair, with who gave them."""

    labels: tuple[Outcome, Outcome]
    raters: tuple[str, str]
    conversation: str
    weight: float


class PeopleAgreement(Value):
    """Agreement among people on pairs that at least two of them voted on.

    Args:
        pairs: number of such pairs; `raters` who voted on them.
        alpha: Krippendorff's nominal alpha over a, b, tie and both bad.
        agreement: share of comparisons of two people with the same label: the ceiling of a judge.
    """

    pairs: int
    raters: int
    alpha: Interval = UNKNOWN
    agreement: Interval = UNKNOWN


class JudgeAgreement(Value):
    """Agreement of people with a judge on the pairs that both decided; `ceiling` is that of people on the same pairs."""

    pairs: int
    raters: int
    agreement: Interval = UNKNOWN
    kappa: Interval = UNKNOWN
    alpha: Interval = UNKNOWN
    ceiling: Interval = UNKNOWN


def people_agreement(votes: Iterable[RaterVote], *, resamples: int = RESAMPLES, seed: int = 0) -> PeopleAgreement:
    """Return the agreement among people; first votes only, without catch pairs. NaN when no pair has two raters."""
    pairs = _first_votes(votes)
    rows = [row for own in pairs.values() for row in _compared(own)]
    if not rows:
        return PeopleAgreement(pairs=0, raters=0)
    interval = _Bootstrap(rows, resamples, seed).interval
    return PeopleAgreement(
        pairs=sum(len(own) > 1 for own in pairs.values()),
        raters=len({name for row in rows for name in row.raters}),
        alpha=interval(_alpha(rows)),
        agreement=interval(_mean([float(first == second) for first, second in _labels(rows)], rows)),
    )


def consistency(votes: Iterable[RaterVote], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return how often raters name the same winner when the sides are swapped; 0.5 is chance, always one side gives 0.

    A tie against a winner is half a point. Two ties are left out, because who always votes tie would look consistent.
    """
    votes = list(votes)
    first = {(vote.rater, vote.pair): vote for vote in votes if not vote.repeat and vote.worse is None}
    both = [(first[vote.rater, vote.pair], vote) for vote in votes if vote.repeat and (vote.rater, vote.pair) in first]
    rows = [TwoLabels((one.winner, two.winner), (one.rater, one.rater), one.conversation, 1.0) for one, two in both]
    rows = [row for row in rows if not np.isnan(_choice(*row.labels))]
    if not rows:
        return UNKNOWN
    clusters = {"raters": [[row.raters[0] for row in rows]], "conversations": [[row.conversation for row in rows]]}
    statistic = _mean([_choice(*row.labels) for row in rows], rows)
    return crossed_bootstrap(statistic, clusters, resamples=resamples, seed=seed)


def judge_agreement(
    votes: Iterable[RaterVote], verdicts: Mapping[str, Outcome], *, resamples: int = RESAMPLES, seed: int = 0
) -> JudgeAgreement:
    """Return the agreement of people with a judge.

    Args:
        verdicts: the judge's winner by pair, in terms of the pair's candidates; a missing verdict is no key.
    """
    pairs = {pair: own for pair, own in _first_votes(votes).items() if pair in verdicts}
    rows = [
        TwoLabels((vote.winner, verdicts[pair]), (vote.rater, vote.rater), vote.conversation, 2.0)
        for pair, own in pairs.items()
        for vote in own
    ]
    if not rows:
        return JudgeAgreement(pairs=0, raters=0)
    clusters = {"raters": [[row.raters[0] for row in rows]], "conversations": [[row.conversation for row in rows]]}

    def interval(statistic: Callable[[Floats], float]) -> Interval:
        return crossed_bootstrap(statistic, clusters, resamples=resamples, seed=seed)

    people, judge = ([row.labels[side] for row in rows] for side in (0, 1))
    among = people_agreement([vote for own in pairs.values() for vote in own], resamples=resamples, seed=seed)
    return JudgeAgreement(
        pairs=len(pairs),
        raters=len({row.raters[0] for row in rows}),
        agreement=interval(_mean([float(first == second) for first, second in _labels(rows)], rows)),
        kappa=interval(lambda weights: cohen_kappa(people, judge, weights)),
        alpha=interval(_alpha(rows)),
        ceiling=among.agreement,
    )


def _first_votes(votes: Iterable[RaterVote]) -> dict[str, list[RaterVote]]:
    """Return the first vote of each rater by pair, without catch pairs and repeats."""
    pairs: dict[str, dict[str, RaterVote]] = defaultdict(dict)
    for vote in votes:
        if vote.worse is None and not vote.repeat:
            pairs[vote.pair].setdefault(vote.rater, vote)
    return {pair: list(own.values()) for pair, own in pairs.items()}


def _compared(votes: Sequence[RaterVote]) -> Iterable[TwoLabels]:
    """Yield the comparisons of two votes of one pair, weighted so that every vote counts once, as in Krippendorff's alpha."""
    weight = 2 / max(1, len(votes) - 1)
    for place, one in enumerate(votes):
        for two in votes[:place]:
            yield TwoLabels((one.winner, two.winner), (one.rater, two.rater), one.conversation, weight)


class _Bootstrap:
    """Intervals over the raters and conversations of comparisons of two raters."""

    def __init__(self, rows: Sequence[TwoLabels], resamples: int, seed: int) -> None:
        raters = [[row.raters[side] for row in rows] for side in (0, 1)]
        self._clusters = {"raters": raters, "conversations": [[row.conversation for row in rows]]}
        self._resamples, self._seed = resamples, seed

    def interval(self, statistic: Callable[[Floats], float]) -> Interval:
        return crossed_bootstrap(statistic, self._clusters, resamples=self._resamples, seed=self._seed)


def _labels(rows: Sequence[TwoLabels]) -> list[tuple[Outcome, Outcome]]:
    return [row.labels for row in rows]


def _choice(first: Outcome, second: Outcome) -> float:
    """Return `same_choice`, NaN where neither vote names a winner."""
    return same_choice(first, second) if {first, second} & {"a", "b"} else float("nan")


def _mean(values: Sequence[float], rows: Sequence[TwoLabels]) -> Callable[[Floats], float]:
    """Return the statistic of the weighted mean of values that are not NaN."""
    known = ~np.isnan(values)
    scores, base = np.array(values)[known], np.array([row.weight for row in rows])[known]

    def mean(weights: Floats) -> float:
        total = float((base * weights[known]).sum())
        return float((scores * base * weights[known]).sum()) / total if total else float("nan")

    return mean


def _alpha(rows: Sequence[TwoLabels]) -> Callable[[Floats], float]:
    """Return the statistic of Krippendorff's nominal alpha over weighted comparisons.

    `her.statistics.krippendorff_alpha` (evalica) takes no weights; without resampling both give the same number.
    """
    codes = np.array([[LABELS.index(label) for label in row.labels] for row in rows])
    differ, base = codes[:, 0] != codes[:, 1], np.array([row.weight for row in rows])

    def alpha(weights: Floats) -> float:
        scaled = base * weights
        marginals = sum(np.bincount(codes[:, side], scaled / 2, len(LABELS)) for side in (0, 1))
        total = float(np.sum(marginals))
        expected = total**2 - float(np.sum(np.square(marginals)))
        return 1 - (total - 1) * float(scaled[differ].sum()) / expected if expected > 0 else float("nan")

    return alpha
