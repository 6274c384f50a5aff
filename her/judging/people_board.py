"""Rank the arms of blind comparisons, or the models where there are none, by the votes of people: raw, and with style held equal.

People prefer long replies whatever they say, so beside the raw Bradley-Terry scores stand scores from a model that has the
differences of length and style as further columns, as public arenas do it (Chiang and others 2024, arXiv:2403.04132).
Catch pairs and repeats measure raters and rank nobody.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.judging.arena_table import ArenaGame, ArenaTable, arena_tables
from her.kinds import VISIBLE_KINDS
from her.statistics import Interval, fit_logistic
from her.store.exports import ExportedReply, VotedPair
from her.types import Outcome, Turn, Value

Floats = NDArray[np.float64]
LEAST_GAMES = 10
"""Decided votes below which an arm has no place in the table: chance alone would rank it."""
FEATURES = ("length", "thoughts", "acts", "marks")
"""Columns of style: characters of speech and acts, characters of thoughts, number of acts, and of ! ? … and stressed words."""
RESAMPLES = 300
RIDGE, ORDER_RIDGE, STYLE_RIDGE = 0.1, 1.0, 0.5
LEAST_CLUSTERS = 10


class StyledGame(NamedTuple):
    """A decided vote: numbers of the arms in the order in which they were shown, whether the first won, and style differences."""

    first: int
    second: int
    won: float
    style: tuple[float, ...]
    cluster: str


class PeopleBoard(Value):
    """Ranking of arms by votes.

    Args:
        table: raw scores with intervals; None without a vote between two arms.
        controlled: score of each arm with length and style held equal.
        effects: what one unit of each style difference, from -1 to 1, adds to the log odds to win.
        games: decided votes of each arm.
    """

    table: ArenaTable | None = None
    controlled: dict[str, Interval] = {}
    effects: dict[str, float] = {}
    games: dict[str, int] = {}

    def placed(self, name: str) -> bool:
        """Tell whether an arm has enough votes for a place."""
        return self.games.get(name, 0) >= LEAST_GAMES


def people_board(pairs: Iterable[VotedPair], *, seed: int = 0) -> PeopleBoard:
    """Return the ranking; votes on two replies of one arm say nothing and are left out."""
    votes = [pair for pair in pairs if pair.ballot.worse is None and pair.ballot.repeat_of is None]
    named = [(pair, _names(pair)) for pair in votes]
    named = [(pair, names) for pair, names in named if names[0] != names[1]]
    if not named:
        return PeopleBoard()
    games = [_game(pair, names) for pair, names in named]
    arms = sorted({name for game in games for name in (game.first, game.second)})
    rows = [_styled(pair, game, arms) for (pair, _), game in zip(named, games, strict=True) if game.winner != "both_bad"]
    counts = {name: sum(arms[place] == name for row in rows for place in (row.first, row.second)) for name in arms}
    controlled, effects = _controlled(rows, arms, seed)
    return PeopleBoard(table=arena_tables(games)[0], controlled=controlled, effects=effects, games=counts)


def style_of(turn: Turn) -> tuple[float, ...]:
    """Return the style of a reply in the order of FEATURES; the plan is seen by nobody who reads the reply alone."""
    visible, thoughts = turn.text(*VISIBLE_KINDS), turn.text("role_thinking")
    acts = sum(part.kind == "role_action" for part in turn.parts)
    return (float(len(visible)), float(len(thoughts)), float(acts), float(sum(visible.count(mark) for mark in "!?…*！？")))


def _names(pair: VotedPair) -> tuple[str, str]:
    if pair.ballot.arms is not None:
        return pair.ballot.arms[0].name, pair.ballot.arms[1].name
    return _model(pair.a), _model(pair.b)


def _model(reply: ExportedReply) -> str:
    if reply.edited or reply.generation is None:
        return "written by hand"
    return reply.generation.model or "unnamed model"


def _game(pair: VotedPair, names: tuple[str, str]) -> ArenaGame:
    """Return a vote as a game whose first side is the one that was shown first, so that the advantage of it is estimated."""
    winner: Outcome = pair.vote.winner
    if pair.ballot.first == "b":
        names = names[::-1]
        winner = "b" if winner == "a" else "a" if winner == "b" else winner
    chat = pair.ballot.conversation_id
    return ArenaGame(
        source="people", judge="people", case=pair.ballot.pair, cluster=chat, first=names[0], second=names[1], winner=winner
    )


def _styled(pair: VotedPair, game: ArenaGame, arms: Sequence[str]) -> StyledGame:
    sides = (pair.a, pair.b) if pair.ballot.first == "a" else (pair.b, pair.a)
    one, two = (style_of(side.node.turn) for side in sides)
    won = {"a": 1.0, "b": 0.0}.get(str(game.winner), 0.5)
    style = tuple(_share(left, right) for left, right in zip(one, two, strict=True))
    return StyledGame(arms.index(game.first), arms.index(game.second), won, style, game.cluster)


def _share(left: float, right: float) -> float:
    """Return the difference of two counts by their sum, from -1 to 1."""
    return (left - right) / (left + right) if left + right else 0.0


def _controlled(rows: Sequence[StyledGame], arms: Sequence[str], seed: int) -> tuple[dict[str, Interval], dict[str, float]]:
    """Return scores with style held equal, with limits of a Bayesian bootstrap over chats, and the effects of style."""
    if not rows:
        return {}, {}
    size = len(arms)
    design = np.zeros((len(rows), size + 1 + len(FEATURES)))
    for place, row in enumerate(rows):
        design[place, row.first] += 1
        design[place, row.second] -= 1
        design[place, size] = 1
        design[place, size + 1 :] = row.style
    labels = np.array([row.won for row in rows])
    precision = np.array([RIDGE] * size + [ORDER_RIDGE] + [STYLE_RIDGE] * len(FEATURES))

    def fit(counts: Floats | None) -> Floats:
        weights = fit_logistic(design, labels, precision, counts)
        weights[:size] -= weights[:size].mean()
        return weights

    best = fit(None)
    names = sorted({row.cluster for row in rows})
    codes = np.array([names.index(row.cluster) for row in rows])
    random = np.random.default_rng(seed)
    limits = np.full((2, size), math.nan)
    if len(names) >= LEAST_CLUSTERS:
        drawn = np.array([fit(random.standard_exponential(len(names))[codes])[:size] for _ in range(RESAMPLES)])
        limits = np.quantile(drawn, [0.025, 0.975], axis=0)
    scores = {name: Interval(float(best[k]), float(limits[0][k]), float(limits[1][k])) for k, name in enumerate(arms)}
    return scores, {name: float(best[size + 1 + k]) for k, name in enumerate(FEATURES)}
