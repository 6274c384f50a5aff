"""pipelines/reward/cards.py: trained models get the card of any judge, with what scores and answers say."""

import math

import pytest

from her.statistics import Interval
from her.types import Verdict
from pipelines.reward.cards import generative_model_card, scalar_card
from pipelines.reward.evaluation import Candidate, HeldOutSet, evaluate_scores
from pipelines.reward.generative_evaluation import Answered, HeldOutTests, figures_of
from pipelines.reward.labelled_pairs import from_preferences
from tests.pipelines.reward.pairs_for_tests import preference

PREFERENCES = tuple(
    preference(f"Come in, {number}.", f"Go, {number}.", f"c{number}", decided="warmth" if number % 2 else "")
    for number in range(40)
)
HELD_OUT = HeldOutSet(PREFERENCES, (), 50, 1)


def kindness(candidates: list[Candidate]) -> list[float]:
    """Score what invites; every tenth candidate the wrong way round."""
    return [
        (3.0 if turn.text("speech").startswith("Come") else 0.0) * (-1 if turn.text("speech").endswith("7.") else 1)
        for _, turn in candidates
    ]


def test_a_scalar_model_has_agreement_and_calibration_and_no_order() -> None:
    figures = evaluate_scores("scalar", kindness, HELD_OUT)  # type: ignore[arg-type]
    card = scalar_card(figures, kindness, HELD_OUT, "first", Interval(0.7, 0.6, 0.8))  # type: ignore[arg-type]
    assert card.judge == "first" and card.pairs == 40 and card.agreement.value == figures.accuracy.value == 0.9
    assert card.kappa == pytest.approx(0.8, abs=0.05) and card.ceiling == Interval(0.7, 0.6, 0.8)
    assert set(card.by_dimension) == {"warmth"} and math.isnan(card.first_slot.value) and math.isnan(card.swap_consistency.value)
    given = [part.given for part in card.calibration]
    assert min(given) < 0.1 and max(given) > 0.9 and card.calibration_error == pytest.approx(0.1, abs=0.06)


def test_a_generative_model_that_takes_the_first_slot_shows_it() -> None:
    pairs = from_preferences(PREFERENCES, "t")
    answered = [
        Answered(pair, *(Verdict(winner=side, judge="g", model="g", first=side) for side in ("a", "b"))) for pair in pairs
    ]
    tests = HeldOutTests(pairs, decided={pairs[0].id: "warmth"}, resamples=50)
    card = generative_model_card(figures_of("grpo", answered, tests), answered, tests, "second")
    assert (card.first_slot.value, card.swap_consistency.value, card.tie_rate.value, card.agreement.value) == (1, 0, 1, 0)
    assert set(card.by_dimension) == {"warmth"} and card.adversarial == {}
