"""Choose which pairs of a group to ask a judge about, and turn the answers into one score a candidate.

A judge prefers the first slot: a strong one chose it in 84 % of role-play pairs. So each design states how often a
candidate stands first, and the scores come from a Bradley-Terry model with an order term:

    logit P(first wins) = score[first] - score[second] + order
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.errors import InputError
from her.statistics import fit_logistic

Floats = NDArray[np.float64]
DesignName = Literal["circulant", "all_pairs", "member", "reference"]
RIDGE = 0.3
"""Precision of the normal prior on scores. Of 0.03, 0.1, 0.3 and 1 the best correlation with true quality at 16 calls
(benchmarks/pair_design.py); the difference between them is below 0.02."""
ORDER_RIDGE = 0.05
"""Precision of the prior on the order term: nearly flat, as slot preference is large and unknown."""
REFERENCE = -1
"""Index of the frozen reference answer, which is no member of the group."""


class Pair(NamedTuple):
    """Indices of two candidates in the order in which the judge reads them."""

    first: int
    second: int


class Judgement(NamedTuple):
    """An answered pair: probability that `first` wins; 1, 0.5 and 0 where the judge gives a label only."""

    first: int
    second: int
    probability: float


def circulant(size: int, rounds: int) -> list[Pair]:
    """Return `size * rounds` pairs in which each candidate stands `rounds` times first and `rounds` times second.

    Candidate i is compared with i+1, i+2, ... around a circle; neighbours at every distance up to `rounds`.

    Raises:
        InputError: the group is too small for so many rounds without asking an ordered pair twice.
    """
    if not 1 <= rounds < size:
        raise InputError(f"a group of {size} allows 1 to {max(size - 1, 1)} rounds of the circulant design, not {rounds}")
    return [Pair(index, (index + step) % size) for step in range(1, rounds + 1) for index in range(size)]


def all_pairs(size: int, rounds: int = 1) -> list[Pair]:
    """Return every unordered pair once (`rounds` 1, alternating which stands first) or in both orders (2)."""
    if size < 2 or rounds not in (1, 2):
        raise InputError(f"all pairs of a group of {size} in {rounds} orders cannot be asked; give two or more and 1 or 2")
    pairs = [Pair(low, high) for low in range(size) for high in range(low + 1, size)]
    turned = [pair if (pair.first + pair.second) % 2 else Pair(pair.second, pair.first) for pair in pairs]
    return turned if rounds == 1 else turned + [Pair(pair.second, pair.first) for pair in turned]


def against_reference(size: int, rounds: int = 1, reference: int = REFERENCE) -> list[Pair]:
    """Return each candidate against the reference, second (`rounds` 1) or in both orders (2)."""
    if size < 1 or rounds not in (1, 2):
        raise InputError(f"a group of {size} against a reference in {rounds} orders cannot be asked; give 1 or 2 orders")
    others = [index for index in range(size) if index != reference]
    return [Pair(reference, index) for index in others] + [Pair(index, reference) for index in others if rounds == 2]


def against_member(size: int, rounds: int = 1) -> list[Pair]:
    """Return each candidate against the first one of the group, the cheapest design without a reference answer."""
    return against_reference(size, rounds, reference=0)


DESIGNS: dict[DesignName, Callable[[int, int], list[Pair]]] = {
    "circulant": circulant,
    "all_pairs": all_pairs,
    "member": against_member,
    "reference": against_reference,
}


class GroupScores(NamedTuple):
    """Scores of a group, in logits.

    Args:
        candidates: shape (size,), mean 0 over those that were judged; NaN for a candidate that no judgement names.
        reference: score of the frozen reference on the same scale; NaN when it was not asked about.
        order: advantage of standing first.
    """

    candidates: Floats
    reference: float
    order: float


def fit_scores(
    size: int,
    judgements: Iterable[Judgement],
    *,
    ridge: float = RIDGE,
    order_ridge: float = ORDER_RIDGE,
    counts: Floats | None = None,
) -> GroupScores:
    """Return the Bradley-Terry scores of one group with an order term: the maximum a posteriori estimate.

    Judgements that are missing are left out and move no other score. scikit-learn's LogisticRegression has one penalty for
    all columns; scores and order need two. `counts` says how often each judgement counts.

    Raises:
        InputError: a judgement names a candidate outside the group, or a probability outside [0, 1].
    """
    rows = list(judgements)
    _check(size, rows)
    # Columns: candidates, order, reference. So the index -1 of the reference names its column.
    design = np.zeros((len(rows), size + 2))
    design[:, size] = 1
    for row, (first, second, _) in enumerate(rows):
        design[row, first] += 1
        design[row, second] -= 1
    precision = np.full(size + 2, ridge)
    precision[size] = order_ridge
    weights = fit_logistic(design, np.array([row.probability for row in rows]), precision, counts)
    named = np.abs(design).sum(axis=0) > 0
    candidates = np.where(named[:size], weights[:size], np.nan)
    middle = float(np.nanmean(candidates)) if named[:size].any() else 0.0
    return GroupScores(candidates - middle, float(weights[-1] - middle) if named[-1] else float("nan"), float(weights[size]))


def _check(size: int, rows: Sequence[Judgement]) -> None:
    for first, second, probability in rows:
        if first == second or not (REFERENCE <= first < size and REFERENCE <= second < size):
            raise InputError(f"judgement of {first} and {second} does not fit a group of {size}; give two different members")
        if not 0 <= probability <= 1:
            raise InputError(f"judgement of {first} and {second} has probability {probability}; give a number from 0 to 1")
