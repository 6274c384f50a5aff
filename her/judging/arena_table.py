"""Rank contestants by games between them: Bradley-Terry scores with intervals over whole books, for each judge and for people.

`both_bad` is no tie and makes no pair; it is counted, as are missing verdicts. A bootstrap does not show how fragile a ranking is
(two of 57,477 votes have unseated a leader of a public arena), so the fewest games whose removal changes the leader stand beside
it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.judging.designs import Judgement, fit_scores
from her.judging.statistics import LEAST_CLUSTERS, USUAL, Uncertainty
from her.types import Outcome, Value

Source = Literal["held_out", "by_case", "people"]
RIDGE = 0.1
"""Precision of the prior on a score, as if each contestant had played about half a game: who won all games has a finite score."""
LIMIT_RIDGE = 0.01
"""The same for an interval, which has a prior of its own: only to keep scores finite."""
PARTED_LEVEL = 0.001
RESAMPLES = 400
"""Most resamples of an interval; each is a fit of its own."""


class ArenaGame(Value):
    """One comparison of two contestants over one scene, or one person's vote.

    Args:
        cluster: book of the scene, or conversation of the vote.
        winner: of both orders together; None where a verdict is missing, and `problem` says why.
        forth: winner with `first` shown first; `back` with `second` shown first; None for a person, who saw one order.
    """

    source: Source
    judge: str
    case: str
    cluster: str
    run: int = 0
    first: str
    second: str
    winner: Outcome | None
    forth: Outcome | None = None
    back: Outcome | None = None
    problem: str = ""


class Standing(Value):
    """A contestant under one judge, or under people.

    Args:
        score: log odds to win against the mean contestant, None without a decided game; `low` and `high` the limits at 95 %,
            None below ten books or conversations.
    """

    source: Source
    judge: str
    contestant: str
    score: float | None
    low: float | None = None
    high: float | None = None
    wins: int = 0
    ties: int = 0
    losses: int = 0
    both_bad: int = 0
    missing: int = 0


class ArenaTable(Value):
    """Standings of one judge, the best first.

    Args:
        first_slot: share of decided single verdicts for the play shown first, 0.5 is fair; None where orders are unknown.
        consistent: share of games with one winner in both orders.
        fragile: fewest games whose removal changes the leader, None with no second contestant or no game.
    """

    source: Source
    judge: str
    standings: tuple[Standing, ...]
    games: int
    first_slot: float | None = None
    consistent: float | None = None
    fragile: int | None = None


class _Row(NamedTuple):
    """A single-order verdict by numbers of contestants: who was shown first, and whether that one won."""

    first: int
    second: int
    won: float
    cluster: str


def arena_tables(games: Iterable[ArenaGame], settings: Uncertainty = USUAL) -> list[ArenaTable]:
    """Return a table for each judge, judges without a rubric first, then those with one, then people."""
    groups: dict[tuple[Source, str], list[ArenaGame]] = {}
    for game in games:
        # People are one electorate: their votes stand together.
        groups.setdefault((game.source, "people" if game.source == "people" else game.judge), []).append(game)
    order: dict[Source, int] = {"held_out": 0, "by_case": 1, "people": 2}
    return [
        _table(source, judge, groups[source, judge], settings)
        for source, judge in sorted(groups, key=lambda k: (order[k[0]], k[1]))
    ]


def _table(source: Source, judge: str, games: Sequence[ArenaGame], settings: Uncertainty) -> ArenaTable:
    names = sorted({name for game in games for name in (game.first, game.second)})
    rows = list(_rows(games, names))
    scores = _scores(rows, len(names))
    limits = _limits(rows, len(names), settings)
    standings = [_standing(source, judge, name, games, scores[place], limits[place]) for place, name in enumerate(names)]
    standings.sort(key=lambda each: (-(each.score if each.score is not None else -np.inf), each.contestant))
    both = [game for game in games if game.forth is not None and game.back is not None]
    slots = [won for game in both for won in _first_slot(game)]
    return ArenaTable(
        source=source,
        judge=judge,
        standings=tuple(standings),
        games=len(games),
        first_slot=float(np.mean(slots)) if slots else None,
        consistent=float(np.mean([game.forth == game.back for game in both])) if both else None,
        fragile=fragility(games),
    )


def _rows(games: Iterable[ArenaGame], names: Sequence[str]) -> Iterable[_Row]:
    """Yield the verdicts that a score is made of: both orders of a judge, or the one of a person."""
    place = {name: number for number, name in enumerate(names)}
    won = {"a": 1.0, "b": 0.0, "tie": 0.5}
    for game in games:
        if game.winner is None:
            continue
        a, b = place[game.first], place[game.second]
        if game.forth is None or game.back is None:
            if game.winner in won:
                yield _Row(a, b, won[game.winner], game.cluster)
            continue
        if game.forth in won:
            yield _Row(a, b, won[game.forth], game.cluster)
        if game.back in won:
            yield _Row(b, a, 1 - won[game.back], game.cluster)


def _scores(
    rows: Sequence[_Row], size: int, counts: NDArray[np.float64] | None = None, ridge: float = RIDGE
) -> NDArray[np.float64]:
    judgements = [Judgement(row.first, row.second, row.won) for row in rows]
    return fit_scores(size, judgements, ridge=ridge, counts=counts).candidates


def _limits(rows: Sequence[_Row], size: int, settings: Uncertainty) -> list[tuple[float, float] | None]:
    """Return the limits of every score by a Bayesian bootstrap over clusters with Jeffreys' prior; None below ten clusters.

    Each resample weighs whole clusters by exponential draws (Rubin 1981) and adds to every pair of contestants that met wins of
    either side, drawn from the prior, worth one cluster a contestant. Without them every resample of games that one side won
    throughout would be the same, and the interval a point. For two contestants and a game a cluster the limits are those of
    Jeffreys' interval of a proportion, Beta(wins + 1/2, losses + 1/2), whose coverage is good near 0 and 1 as well (Brown, Cai,
    DasGupta 2001).
    """
    clusters = sorted({row.cluster for row in rows})
    if len(clusters) < LEAST_CLUSTERS:
        return [None] * size
    kinds = sorted({row._replace(cluster="") for row in rows})
    counts = np.zeros((len(clusters), len(kinds)))
    places = {name: place for place, name in enumerate(clusters)}, {kind: place for place, kind in enumerate(kinds)}
    for row in rows:
        counts[places[0][row.cluster], places[1][row._replace(cluster="")]] += 1
    pairs = sorted({(min(row.first, row.second), max(row.first, row.second)) for row in rows})
    invented = [_Row(*sides, won, "") for low, high in pairs for won in (1.0, 0.0) for sides in ((low, high), (high, low))]
    unit = len(rows) / len({(row.cluster, frozenset(row[:2])) for row in rows})
    random = np.random.default_rng(settings.seed)
    drawn = []
    for _ in range(min(settings.resamples, RESAMPLES)):
        prior = random.gamma(0.5 / (size - 1), size=(len(pairs), 2)) * unit / 2
        # In the order of `invented`; a win is split over both orders, so that no order is preferred.
        won = prior[:, [0, 1, 1, 0]].ravel()
        weights = random.standard_exponential(len(clusters)) @ counts
        drawn.append(_scores([*kinds, *invented], size, np.concatenate([weights, won]), LIMIT_RIDGE))
    tail = (1 - settings.confidence) / 2
    return [
        (float(np.quantile(column, tail)), float(np.quantile(column, 1 - tail))) if not np.isnan(column).any() else None
        for column in np.array(drawn).T
    ]


def _standing(
    source: Source, judge: str, name: str, games: Iterable[ArenaGame], score: float, limits: tuple[float, float] | None
) -> Standing:
    counts: Counter[str] = Counter()
    for game in games:
        if name in (game.first, game.second):
            own = "a" if game.first == name else "b"
            counts["missing" if game.winner is None else game.winner if game.winner in ("tie", "both_bad") else
                   "won" if game.winner == own else "lost"] += 1  # fmt: skip
    known = not np.isnan(score)
    return Standing(
        source=source,
        judge=judge,
        contestant=name,
        score=float(score) if known else None,
        low=limits[0] if limits is not None and known else None,
        high=limits[1] if limits is not None and known else None,
        wins=counts["won"],
        ties=counts["tie"],
        losses=counts["lost"],
        both_bad=counts["both_bad"],
        missing=counts["missing"],
    )


def _first_slot(game: ArenaGame) -> Iterable[float]:
    if game.forth in ("a", "b"):
        yield float(game.forth == "a")
    if game.back in ("a", "b"):
        yield float(game.back == "b")


def fragility(games: Sequence[ArenaGame]) -> int | None:
    """Return the fewest games whose removal gives another leader, found by taking the leader's wins over the second one by one.

    An upper bound: with more than two contestants another choice of games may need fewer.
    """
    decided = [game for game in games if game.winner in ("a", "b", "tie")]
    leader = _leader(decided)
    if leader is None:
        return None
    for removed in range(1, len(decided) + 1):
        against = next((game for game in decided if _beats(game, leader)), None)
        if against is None:
            return None
        decided.remove(against)
        if _leader(decided) != leader:
            return removed
    return None


def _leader(games: Sequence[ArenaGame]) -> str | None:
    names = sorted({name for game in games for name in (game.first, game.second)})
    if len(names) < 2:
        return None
    scores = _scores(list(_rows(games, names)), len(names))
    best = int(np.nanargmax(scores)) if not np.isnan(scores).all() else 0
    ahead = np.sort(scores[~np.isnan(scores)])
    return names[best] if len(ahead) > 1 and ahead[-1] - ahead[-2] > 1e-9 else None


def _beats(game: ArenaGame, name: str) -> bool:
    return (game.first == name and game.winner == "a") or (game.second == name and game.winner == "b")


class PartedJudges(Value):
    """Counts of the games in which the judge with principles and the held-out judge part over one contestant.

    Args:
        pleased: games that the judge with principles gives to the contestant and the held-out judge to the other.
        doubted: games that they give the other way round.
        p: that so many of them are `pleased` by chance, one-sided; `flagged` when it is below .001: the contestant pleases the
            principles and not the reader, as a checkpoint does that learnt to exploit its reward.
    """

    contestant: str
    games: int
    pleased: int
    doubted: int
    p: float
    flagged: bool


def parted_judges(games: Iterable[ArenaGame]) -> list[PartedJudges]:
    """Return for each contestant how the two kinds of judges part over the games that both decided."""
    from scipy.stats import binomtest

    by_game: dict[tuple[str, int, str, str], dict[str, Outcome]] = {}
    for game in games:
        if game.source != "people" and game.winner is not None:
            by_game.setdefault((game.case, game.run, game.first, game.second), {})[game.source] = game.winner
    both = {key: each for key, each in by_game.items() if len(each) == 2}
    found = []
    for name in sorted({name for key in both for name in key[2:]}):
        own = [(key, each) for key, each in both.items() if name in key[2:]]
        sides = [("a" if key[2] == name else "b", each) for key, each in own]
        pleased = sum(each["by_case"] == side and each["held_out"] == _other(side) for side, each in sides)
        doubted = sum(each["held_out"] == side and each["by_case"] == _other(side) for side, each in sides)
        p = float(binomtest(pleased, pleased + doubted, alternative="greater").pvalue) if pleased + doubted else 1.0
        found.append(
            PartedJudges(contestant=name, games=len(own), pleased=pleased, doubted=doubted, p=p, flagged=p < PARTED_LEVEL)
        )
    return found


def _other(side: str) -> str:
    return "b" if side == "a" else "a"
