"""her/judging/designs.py: which pairs are asked, and scores that no slot preference moves."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.errors import InputError
from her.judging.designs import (
    DESIGNS,
    REFERENCE,
    Judgement,
    Pair,
    against_member,
    against_reference,
    all_pairs,
    circulant,
    fit_scores,
)

GROUP = st.integers(2, 12)


@given(size=GROUP, rounds=st.integers(1, 4))
def test_circulant_places_each_candidate_equally_often_first_and_second(size: int, rounds: int) -> None:
    if rounds >= size:
        with pytest.raises(InputError, match=f"a group of {size} allows"):
            circulant(size, rounds)
        return
    pairs = circulant(size, rounds)
    assert Counter(pair.first for pair in pairs) == Counter(pair.second for pair in pairs)
    assert set(Counter(pair.first for pair in pairs).values()) == {rounds}
    assert len(set(pairs)) == len(pairs) and all(first != second for first, second in pairs)


@given(size=GROUP)
def test_all_pairs_are_asked_once_and_nobody_stands_first_throughout(size: int) -> None:
    pairs = all_pairs(size)
    assert {frozenset(pair) for pair in pairs} == {frozenset((a, b)) for a in range(size) for b in range(a)}
    first = Counter(pair.first for pair in pairs)
    assert all(abs(2 * first[index] - (size - 1)) <= 2 for index in range(size))
    assert sorted(all_pairs(size, 2)) == sorted(Pair(a, b) for a in range(size) for b in range(size) if a != b)


def test_reference_designs() -> None:
    assert against_reference(2) == [Pair(REFERENCE, 0), Pair(REFERENCE, 1)]
    assert against_reference(2, 2) == [Pair(REFERENCE, 0), Pair(REFERENCE, 1), Pair(0, REFERENCE), Pair(1, REFERENCE)]
    assert against_member(3) == [Pair(0, 1), Pair(0, 2)]
    assert against_member(3, 2)[2:] == [Pair(1, 0), Pair(2, 0)]


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_no_design_asks_about_an_empty_group(name: str) -> None:
    with pytest.raises(InputError):
        DESIGNS[name](0, 1)  # type: ignore[index]


@given(
    quality=st.lists(st.floats(-2, 2), min_size=4, max_size=8),
    order=st.floats(-2, 2),
    name=st.sampled_from(["circulant", "all_pairs"]),
)
def test_exact_probabilities_give_the_ranking_back_whatever_the_slot_preference(
    quality: list[float], order: float, name: str
) -> None:
    size = len(quality)
    pairs = circulant(size, 2) if name == "circulant" else all_pairs(size)
    judgements = [Judgement(a, b, float(1 / (1 + np.exp(quality[b] - quality[a] - order)))) for a, b in pairs]
    found = fit_scores(size, judgements, ridge=1e-6, order_ridge=1e-6)
    assert np.allclose(found.candidates, np.array(quality) - np.mean(quality), atol=1e-3)
    assert found.order == pytest.approx(order, abs=1e-3)
    assert np.isnan(found.reference)


def test_scores_against_a_reference_keep_its_place() -> None:
    wins = [
        Judgement(REFERENCE, 0, 0.0),
        Judgement(0, REFERENCE, 1.0),
        Judgement(REFERENCE, 1, 1.0),
        Judgement(1, REFERENCE, 0.0),
    ]
    found = fit_scores(2, wins)
    assert found.candidates[0] > found.reference > found.candidates[1]
    assert found.candidates.sum() == pytest.approx(0)


def test_a_judge_that_always_takes_the_first_slot_says_nothing() -> None:
    found = fit_scores(6, [Judgement(a, b, 1.0) for a, b in circulant(6, 2)])
    assert np.allclose(found.candidates, 0, atol=1e-9) and found.order > 2


def test_a_missing_candidate_has_no_score_and_moves_no_other() -> None:
    judged = [Judgement(0, 1, 1.0), Judgement(1, 0, 0.0)]
    found = fit_scores(3, judged)
    assert np.isnan(found.candidates[2])
    assert np.allclose(found.candidates[:2], fit_scores(2, judged).candidates)
    assert np.isnan(fit_scores(2, []).candidates).all()


@pytest.mark.parametrize(
    ("judgement", "sentence"),
    [
        (Judgement(0, 0, 1.0), "does not fit a group of 2"),
        (Judgement(0, 2, 1.0), "does not fit a group of 2"),
        (Judgement(-2, 0, 1.0), "does not fit a group of 2"),
        (Judgement(0, 1, 1.5), "has probability 1.5"),
        (Judgement(0, 1, float("nan")), "has probability nan"),
    ],
)
def test_a_judgement_that_does_not_fit_is_refused(judgement: Judgement, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fit_scores(2, [judgement])
