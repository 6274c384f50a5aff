"""Figures of a playtest for its organiser: who did how much and how long, ratings by dimension, how votes were cast.

Intervals resample raters and chats (`her.statistics.crossed_bootstrap`), since ratings of one person or one chat are alike.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.feedback.people import PeopleReport, people_report
from her.feedback.raters import SIDES, RaterVote
from her.feedback.rubric import RUBRIC
from her.feedback.votes import rater
from her.statistics import Interval, crossed_bootstrap
from her.store.overview import PersonAct, RatingFact
from her.types import Value

Floats = NDArray[np.float64]
PAUSE_MS = 5 * 60_000
"""Longest time between two acts of a person that counts as time spent; a longer one is a pause."""
FIRST_MS = 60_000
"""Time that is taken for what went before the first act of a sitting."""
RESAMPLES = 400
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
BINS = 48


class PersonFigures(Value):
    """Acts of one person. `active_ms` is the time between acts, pauses left out."""

    rater: str
    chats: int = 0
    turns: int = 0
    ratings: int = 0
    comments: int = 0
    votes: int = 0
    skipped: int = 0
    active_ms: int = 0
    first_at: int = 0
    last_at: int = 0


class DimensionFigures(Value):
    """Stars of one dimension: number of each count from 1 to 5, and the mean with its interval."""

    id: str
    counts: tuple[int, int, int, int, int]
    mean: Interval = UNKNOWN

    @property
    def ratings(self) -> int:
        """Return the number of ratings with stars in it."""
        return sum(self.counts)


class VoteFigures(Value):
    """Votes and how they were cast: shares with intervals, and what is known of the people (her/feedback/people.py)."""

    votes: int
    skipped: int
    left: Interval = UNKNOWN
    tie: Interval = UNKNOWN
    both_bad: Interval = UNKNOWN
    caught: Interval = UNKNOWN
    catches: int = 0
    repeats: int = 0
    people: PeopleReport


class ActBin(NamedTuple):
    """Numbers of acts in a stretch of time, by kind."""

    at: int
    counts: Mapping[str, int]


def person_figures(acts: Iterable[PersonAct], facts: Iterable[RatingFact], skipped: Mapping[str, int]) -> list[PersonFigures]:
    """Return a row for each person, the most active first."""
    times: dict[str, list[int]] = defaultdict(list)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    chats: dict[str, set[str]] = defaultdict(set)
    for act in acts:
        times[act.visitor_id].append(act.at)
        chats[act.visitor_id].add(act.conversation_id)
        kinds[act.visitor_id][act.kind] += 1
    for fact in facts:
        kinds[fact.visitor_id]["rated"] += 1
        kinds[fact.visitor_id]["comments"] += bool(fact.comment.strip())
    found = [
        PersonFigures(
            rater=rater(visitor),
            chats=len(chats[visitor]),
            turns=kinds[visitor]["turn"],
            ratings=kinds[visitor]["rated"],
            comments=kinds[visitor]["comments"],
            votes=kinds[visitor]["vote"],
            skipped=skipped.get(visitor, 0),
            active_ms=active_ms(own),
            first_at=min(own),
            last_at=max(own),
        )
        for visitor, own in times.items()
    ]
    return sorted(found, key=lambda each: (-each.ratings - each.votes, -each.turns, each.rater))


def active_ms(times: Iterable[int]) -> int:
    """Return the time that a person spent, from the moments of their acts: gaps without pauses, and FIRST_MS a sitting."""
    spent, last = 0, None
    for at in sorted(times):
        gap = PAUSE_MS + 1 if last is None else at - last
        spent += gap if gap <= PAUSE_MS else FIRST_MS
        last = at
    return spent


def dimension_figures(facts: Iterable[RatingFact]) -> list[DimensionFigures]:
    """Return the stars of each dimension of the rubric that has any, in its order."""
    # Summed by rater and chat first: the bootstrap then has as many rows as there are chats, not ratings.
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    sums: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for fact in facts:
        for name, stars in fact.stars.items():
            counts[name][stars - 1] += 1
            cell = sums[name][fact.visitor_id, fact.conversation_id]
            cell[0] += stars
            cell[1] += 1
    return [
        DimensionFigures(id=label.id, counts=_five(counts[label.id]), mean=_mean(sums[label.id]))
        for label in RUBRIC.dimensions
        if label.id in counts
    ]


def _five(counts: Sequence[int]) -> tuple[int, int, int, int, int]:
    one, two, three, four, five = counts
    return one, two, three, four, five


def _mean(cells: Mapping[tuple[str, str], Sequence[int]]) -> Interval:
    sums, sizes = (np.array([cell[place] for cell in cells.values()], dtype=np.float64) for place in (0, 1))
    return _ratio(sums, sizes, [key[0] for key in cells], [key[1] for key in cells])


def _ratio(sums: Floats, sizes: Floats, raters: Sequence[str], chats: Sequence[str]) -> Interval:
    """Return the mean over rows that are sums already, with its interval; NaN limits for one rater with one chat."""
    if not len(sums):
        return UNKNOWN

    def mean(weights: Floats) -> float:
        total = float((weights * sizes).sum())
        return float((weights * sums).sum()) / total if total else float("nan")

    return crossed_bootstrap(mean, {"raters": [raters], "chats": [chats]}, resamples=RESAMPLES)


def vote_figures(votes: Sequence[RaterVote], skipped: int) -> VoteFigures:
    """Return how the votes were cast. Catch pairs count for their own share alone, repeats for that of the left side as well."""
    plain = [vote for vote in votes if vote.worse is None]
    decided = [vote for vote in plain if SIDES[vote.winner]]
    caught = [vote for vote in votes if vote.worse is not None]
    return VoteFigures(
        votes=len(votes),
        skipped=skipped,
        left=_share(decided, lambda vote: vote.winner == vote.left),
        tie=_share(plain, lambda vote: vote.winner == "tie"),
        both_bad=_share(plain, lambda vote: vote.winner == "both_bad"),
        caught=_share(caught, lambda vote: SIDES[vote.winner] != 0 and vote.winner != vote.worse),
        catches=len(caught),
        repeats=sum(vote.repeat for vote in votes),
        people=people_report(votes, resamples=RESAMPLES),
    )


def _share(votes: Sequence[RaterVote], holds: Callable[[RaterVote], bool]) -> Interval:
    sums = np.array([float(holds(vote)) for vote in votes])
    return _ratio(sums, np.ones(len(votes)), [vote.rater for vote in votes], [vote.conversation for vote in votes])


def act_bins(acts: Sequence[PersonAct], most: int = BINS) -> list[ActBin]:
    """Return the acts in at most `most` stretches of equal length, from a minute to a day, the oldest first."""
    if not acts:
        return []
    first, last = acts[0].at, acts[-1].at
    steps = (60_000, 300_000, 600_000, 1_800_000, 3_600_000, 4 * 3_600_000, 86_400_000)
    step = next((step for step in steps if (last - first) // step < most), max(steps[-1], (last - first) // most + 1))
    bins: dict[int, Counter[str]] = defaultdict(Counter)
    for act in acts:
        bins[act.at // step][act.kind] += 1
    return [ActBin(place * step, bins[place]) for place in range(first // step, last // step + 1)]
