"""pipelines/reward/evaluation.py: accuracy, deciding principles, calibration, attacks and the length baseline."""

import numpy as np
import pytest

from her.judging.adversarial import AdversarialPair
from her.judging.judge import PairQuestion
from pipelines.reward.evaluation import (
    Candidate,
    HeldOutSet,
    calibration,
    evaluate_scores,
    expected_error,
    length_scores,
)
from tests.pipelines.reward.pairs_for_tests import preference, turn

PREFERENCES = (
    preference("Good one.", "Bad one.", "c1", decided="manners"),
    preference("Good two.", "Bad two.", "c2", decided="manners"),
    preference("Bad three.", "Good three.", "c3", decided="wit"),
    preference("Even.", "Evenly.", "c4"),
)


def goodness(candidates: list[Candidate]) -> list[float]:
    """Score 2 for a good line, -1 for a bad one, 0 for others."""
    texts = [turn.text("speech") for _, turn in candidates]
    return [2.0 if text.startswith("Good") else -1.0 if text.startswith("Bad") else 0.0 for text in texts]


def test_accuracy_counts_equal_scores_as_half_and_splits_by_principle() -> None:
    found = evaluate_scores("good", goodness, HeldOutSet(PREFERENCES, (), 50, 0))  # type: ignore[arg-type]
    assert found.accuracy.value == pytest.approx(2.5 / 4)
    assert {name: interval.value for name, interval in found.by_principle.items()} == {"manners": 1.0, "wit": 0.0}
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high


@pytest.mark.whole
def test_an_attack_is_passed_when_the_honest_turn_scores_higher() -> None:
    def pair(kind: str, bad: str) -> AdversarialPair:
        return AdversarialPair(kind, PairQuestion(kind, PREFERENCES[0].prompt, turn("Good."), turn(bad)))

    attacks = (pair("colon", ":"), pair("repeated", "Good. Good."), pair("twice_as_long", "Good, so good."))
    found = evaluate_scores("good", goodness, HeldOutSet(PREFERENCES, attacks, 50, 0))  # type: ignore[arg-type]
    assert {kind: interval.value for kind, interval in found.attacks.items()} == {"colon": 1, "repeated": 0, "twice_as_long": 1}


def test_calibration_is_exact_for_exact_probabilities() -> None:
    exact = np.log(0.8 / 0.2) * np.array([1.0] * 80 + [-1.0] * 20)
    assert expected_error(calibration(exact)) == pytest.approx(0, abs=1e-9)
    assert expected_error(calibration(exact * 10)) == pytest.approx(0.2, abs=1e-4)


def test_the_length_baseline_takes_the_direction_of_the_training_pairs() -> None:
    short = [preference("No.", "No, I will not."), preference("Yes.", "Yes, at once.")]
    score = length_scores(short)
    assert score([((), turn("Hm."))]) > score([((), turn("Hm, let me think."))])
