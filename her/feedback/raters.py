"""Measure how reliable each rater is, and find camps of taste among reliable ones.

Two people agree on about half of single role-play turns, and much of that is taste. So a rater is never weighted by agreement
with the others: reliability comes from catch pairs (one side is planted to be bad) and from pairs shown again with sides
swapped. Raters who are reliable and still disagree are two camps, and both are kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.statistics import Interval, cluster_bootstrap
from her.types import Outcome, Value, Winner

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
PRIOR = (6.0, 3.0)
"""Beta prior of the share of passed checks: two thirds, worth nine checks, so that five lucky checks do not make an expert."""
LEAST_WEIGHT = 0.2
"""Raters below this take no part in the search for camps: dividing by their reliability would only amplify chance."""
LEAST_CAMP = 2
"""Raters of a camp: one rater apart from the rest may be in a bad mood."""
LEAST_GAP = 0.15
"""Least difference of agreement within and between camps. Errors of the weights alone, sd 0.1 to 0.2, look like 0.02 to 0.08."""
CONFIDENCE = 0.98
RESAMPLES = 400
SIDES: dict[Outcome, float] = {"a": 1.0, "tie": 0.0, "both_bad": 0.0, "b": -1.0}


class RaterVote(Value):
    """One vote of one rater on a pair of candidates.

    Args:
        pair: id of the pair; a repeat has the id of the pair that it repeats.
        winner: in terms of the pair's candidates a and b, not of the sides on which they were shown.
        left: candidate that was shown on the left.
        worse: candidate planted to be bad in a catch pair; None elsewhere.
        repeat: whether this is the second showing, with sides swapped.
        conversation: of the candidates; cluster of the bootstrap.
        arms: names of the arms that wrote a and b; None where the two were no comparison of arms.
    """

    rater: str
    pair: str
    winner: Outcome
    left: Winner = "a"
    worse: Winner | None = None
    repeat: bool = False
    conversation: str = ""
    arms: tuple[str, str] | None = None


class Reliability(NamedTuple):
    """Checks of one rater. `weight`, from 0 to 1, is the shrunken share of votes that are more than chance."""

    passed: float
    checks: int
    left_share: float
    weight: float


def reliabilities(votes: Iterable[RaterVote], prior: tuple[float, float] = PRIOR) -> dict[str, Reliability]:
    """Return the reliability of each rater from catch pairs and swapped repeats.

    A catch pair is passed when the planted side loses. A repeat is passed when the same candidate wins again, and half
    passed when one of the two votes is a tie. Chance passes half of both, so the weight is 2 p - 1, cut at 0, where p is the
    posterior mean under a Beta prior. A rater who always takes the left side fails every repeat.
    """
    by_rater: dict[str, list[RaterVote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    return {rater: _reliability(own, prior) for rater, own in by_rater.items()}


def _reliability(votes: Sequence[RaterVote], prior: tuple[float, float]) -> Reliability:
    first = {vote.pair: vote.winner for vote in votes if not vote.repeat and vote.worse is None}
    catches = [_caught(vote) for vote in votes if vote.worse is not None]
    repeats = [same_choice(first[vote.pair], vote.winner) for vote in votes if vote.repeat and vote.pair in first]
    passed, checks = sum(catches) + sum(repeats), len(catches) + len(repeats)
    share = (passed + prior[0]) / (checks + sum(prior))
    decided = [vote.winner == vote.left for vote in votes if SIDES[vote.winner]]
    left = sum(decided) / len(decided) if decided else float("nan")
    return Reliability(passed, checks, left, max(0.0, 2 * share - 1))


def _caught(vote: RaterVote) -> float:
    return float(vote.winner != vote.worse) if SIDES[vote.winner] else 0.5


def same_choice(first: Outcome, second: Outcome) -> float:
    """Return 1 for the same winner, 0 for the other one and 0.5 when one of the two votes names none; two such agree."""
    return 1 - abs(SIDES[first] - SIDES[second]) / 2


class Camp(NamedTuple):
    """Raters of one taste, sorted. `gap` is how much more they agree among themselves than with the camp they split from."""

    raters: tuple[str, ...]
    gap: Interval | None = None


def find_camps(votes: Iterable[RaterVote], weights: Mapping[str, float], seed: int = 0) -> list[Camp]:
    """Return the camps of taste among raters of weight at least `LEAST_WEIGHT`, the largest first; one when there is one taste.

    Pairs are cut into two halves at random. Raters are clustered by their agreement on one half (average linkage), and the
    split is kept only if agreement within the clusters exceeds agreement between them on the other half, by a bootstrap
    over pairs. Each camp is then searched again. Agreement is corrected for attenuation by the weights (Spearman 1904), so
    that careful and careless raters of one taste are no camps.
    """
    names, _, table = _opinions(votes, {rater for rater, weight in weights.items() if weight >= LEAST_WEIGHT})
    reliable = np.array([weights[name] for name in names])
    if not names:
        return []
    found = list(_split(np.arange(len(names)), table, reliable, np.random.default_rng(seed), None))
    camps = [Camp(tuple(names[index] for index in members), gap) for members, gap in found]
    return sorted(camps, key=lambda camp: (-len(camp.raters), camp.raters))


def _opinions(votes: Iterable[RaterVote], raters: set[str]) -> tuple[list[str], list[str], Floats]:
    """Return rater names, pair ids and opinions, shape (raters, pairs): from -1 (b) to 1 (a), the mean over repeats.

    NaN where a rater has not voted on a pair.
    """
    cast: dict[tuple[str, str], list[float]] = defaultdict(list)
    for vote in votes:
        if vote.rater in raters and vote.worse is None:
            cast[vote.rater, vote.pair].append(SIDES[vote.winner])
    names = sorted({rater for rater, _ in cast})
    pairs = sorted({pair for _, pair in cast})
    row, column = {name: at for at, name in enumerate(names)}, {pair: at for at, pair in enumerate(pairs)}
    table = np.full((len(names), len(pairs)), np.nan)
    for (rater, pair), opinions in cast.items():
        table[row[rater], column[pair]] = np.mean(opinions)
    return names, pairs, table


def _split(
    members: Indices, table: Floats, weights: Floats, random: np.random.Generator, gap: Interval | None
) -> Iterator[tuple[Indices, Interval | None]]:
    """Yield the camps among some raters: themselves, or the camps of both halves of a split that holds on held-out pairs."""
    if len(members) >= 2 * LEAST_CAMP:
        columns = random.permutation(table.shape[1])
        learned, held_out = np.array_split(columns, 2)
        sides = _clustered(table[np.ix_(members, learned)], weights[members])
        if min(np.bincount(sides, minlength=2)) >= LEAST_CAMP:
            found = _gap(table[np.ix_(members, held_out)], weights[members], sides)
            if found.low > LEAST_GAP:
                for side in (0, 1):
                    yield from _split(members[sides == side], table, weights, random, found)
                return
    yield members, gap


def _clustered(table: Floats, weights: Floats) -> Indices:
    """Return the cluster of each rater: 0 or 1; raters too few to be a camp join the cluster they agree with most."""
    similarity = _similarity(table, weights)
    labels = np.zeros(len(weights), dtype=np.intp)
    kept = np.arange(len(weights))
    while len(kept) >= 2 * LEAST_CAMP:
        sides = _two_clusters(similarity[np.ix_(kept, kept)])
        if min(np.bincount(sides)) >= LEAST_CAMP:
            labels[kept] = sides
            for loner in np.setdiff1d(np.arange(len(weights)), kept):
                means = [similarity[loner, kept[sides == side]].mean() for side in (0, 1)]
                labels[loner] = int(means[1] > means[0])
            break
        kept = kept[sides == np.bincount(sides).argmax()]
    return labels


def _similarity(table: Floats, weights: Floats) -> Floats:
    """Return agreement corrected for attenuation, from -1 to 1, shape (raters, raters)."""
    products, shared = _agreement(table)
    similarity = np.full(products.shape, np.nan)
    np.divide(products, shared * np.outer(weights, weights), out=similarity, where=shared > 0)
    # two raters without a shared pair get the mean, which decides nothing
    mean = np.nanmean(similarity) if (shared > 0).any() else 0.0
    clipped: Floats = np.clip(np.where(np.isnan(similarity), mean, similarity), -1, 1)
    return clipped


def _two_clusters(similarity: Floats) -> Indices:
    from sklearn.cluster import AgglomerativeClustering

    distance = 1 - similarity
    np.fill_diagonal(distance, 0)
    sides: Indices = AgglomerativeClustering(2, metric="precomputed", linkage="average").fit_predict(distance)
    return sides


def _gap(table: Floats, weights: Floats, sides: Indices) -> Interval:
    """Return the agreement within clusters less that between them, corrected for attenuation, with its interval over pairs."""
    within = sides[:, None] == sides[None, :]
    np.fill_diagonal(within, False)
    between = sides[:, None] != sides[None, :]
    expected = np.outer(weights, weights)

    def difference(columns: Indices) -> float:
        products, shared = _agreement(table[:, columns])
        inside, outside = (_slope(products, shared, expected, which) for which in (within, between))
        return inside - outside

    return cluster_bootstrap(difference, list(range(table.shape[1])), resamples=RESAMPLES, confidence=CONFIDENCE)


def _slope(products: Floats, shared: Floats, expected: Floats, which: NDArray[np.bool_]) -> float:
    """Return c of the least squares fit: agreement of two raters = c x product of their weights."""
    size = float((shared * expected**2)[which].sum())
    return float((products * expected)[which].sum()) / size if size else float("nan")


def _agreement(table: Floats) -> tuple[Floats, Floats]:
    """Return sums of products of opinions and numbers of shared pairs, each of shape (raters, raters)."""
    voted = ~np.isnan(table)
    values = np.where(voted, table, 0.0)
    return values @ values.T, voted.astype(float) @ voted.astype(float).T


class PairLabel(NamedTuple):
    """Label of one pair by one camp: probability that candidate a is the better one, and the number of raters behind it."""

    probability: float
    raters: int


def label_pairs(votes: Iterable[RaterVote], weights: Mapping[str, float], raters: Iterable[str]) -> dict[str, PairLabel]:
    """Return the label of each pair that some of `raters` voted on; catch pairs are left out.

    Votes are independent readings of the camp's opinion, right with probability p = (1 + weight) / 2, so their log odds add
    (Nitzan and Paroush 1982). A tie and a vote of weight 0 add nothing; repeats of one rater count once, as their mean.
    """
    names, pairs, table = _opinions(votes, set(raters))
    share = np.clip(np.array([(1 + weights.get(name, 0.0)) / 2 for name in names]), 0.5, 0.99)
    odds = np.log(share / (1 - share)) if len(names) else np.zeros(0)
    totals = np.nansum(table * odds[:, None], axis=0) if len(names) else np.zeros(0)
    counts = (~np.isnan(table)).sum(axis=0)
    return {
        pair: PairLabel(float(1 / (1 + np.exp(-total))), int(count))
        for pair, total, count in zip(pairs, totals, counts, strict=True)
    }
