"""her/judging/report_card.py: planted biases are found, and an honest judge shows none."""

import math
from typing import Any

import numpy as np
import pytest

from her.errors import InputError
from her.judging.report_card import CardSettings, JudgedPair, ScoredTurn, report_card
from her.statistics import Interval
from her.types import Outcome, Verdict

QUICK = CardSettings(resamples=50)


def verdict(winner: Outcome | None, first: Any, probability: float | None = None) -> Verdict | None:
    return None if winner is None else Verdict(winner=winner, judge="j", model="m@1", first=first, probability=probability)


def planted(
    count: int = 400, *, slot: float = 0, length: float = 0, own: float = 0, missing: float = 0, seed: int = 1
) -> list[JudgedPair]:
    """Pairs whose label follows quality; the judge adds a bias for the first slot, for length and for its own family."""
    random = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        quality, sizes = random.normal(), tuple(int(size) for size in random.integers(50, 500, 2))
        families = ("ours", "theirs") if random.random() < 0.5 else ("theirs", "ours")
        label: Outcome = "a" if quality > 0 else "b"
        liking = 3 * quality + length * math.log(sizes[0] / sizes[1]) + own * (1 if families[0] == "ours" else -1)
        winners = []
        for order in (1, -1):
            winner: Outcome | None = "a" if random.random() < 1 / (1 + math.exp(-liking - order * slot)) else "b"
            winners.append(None if random.random() < missing else winner)
        pairs.append(
            JudgedPair(
                f"p{number}",
                f"c{number // 4}",
                verdict(winners[0], "a"),
                verdict(winners[1], "b"),
                label,
                (sizes[0], sizes[1]),
                "en" if number % 3 else "zh",
                families,
            )  # fmt: skip
        )
    return pairs


def test_an_honest_judge_shows_no_bias() -> None:
    card = report_card(planted(), CardSettings(family="ours", resamples=100, ceiling=Interval(0.8, 0.7, 0.9)))
    assert (card.judge, card.model, card.pairs) == ("j", "m@1", 400)
    assert card.agreement.value > 0.65 and card.agreement.low < card.agreement.value < card.agreement.high
    assert card.kappa > 0.4 and card.ceiling == Interval(0.8, 0.7, 0.9)
    for figure, neutral in ((card.first_slot, 0.5), (card.verbosity, 0), (card.self_preference, 0)):
        assert not figure.excludes(neutral), figure
    assert card.swap_consistency.value > 0.7
    assert card.missing.value == 0 and set(card.by_language) == {"en", "zh"} and card.calibration == ()
    assert card.tie_rate.value == pytest.approx(1 - card.swap_consistency.value) and card.label_tie_rate == 0


@pytest.mark.parametrize(
    ("bias", "figure", "neutral"),
    [({"slot": 2}, "first_slot", 0.5), ({"length": 2}, "verbosity", 0), ({"own": 1.5}, "self_preference", 0)],
    ids=["first slot", "length", "own family"],
)
def test_a_planted_bias_is_found(bias: dict[str, float], figure: str, neutral: float) -> None:
    card = report_card(planted(**bias), CardSettings(family="ours", resamples=100))
    found: Interval = getattr(card, figure)
    assert found.low > neutral
    if "slot" in bias:
        assert card.swap_consistency.value < 0.6


def test_missing_verdicts_are_counted_and_not_scored() -> None:
    whole, gappy = report_card(planted(), QUICK), report_card(planted(missing=0.2), QUICK)
    assert 0.25 < gappy.missing.value < 0.5 and gappy.agreement.value > whole.agreement.value - 0.1
    nothing = report_card([pair._replace(forth=None, back=None) for pair in planted(8)], QUICK)
    assert nothing.missing.value == 1 and math.isnan(nothing.agreement.value) and math.isnan(nothing.kappa)


def test_given_probabilities_make_a_calibration_curve() -> None:
    pairs = []
    for number in range(200):
        probability = 0.9 if number % 2 else 0.2
        label: Outcome = "a" if number % 20 < (18 if number % 2 else 4) else "b"
        forth, back = verdict("a", "a", probability), verdict("a", "b", probability)
        pairs.append(JudgedPair(f"p{number}", f"c{number}", forth, back, label, (10, 10)))
    low, high = report_card(pairs, QUICK).calibration
    assert low.given == pytest.approx(0.2) and low.rows == 100 and 0.1 < low.found < 0.3
    assert high.given == pytest.approx(0.9) and 0.8 < high.found <= 1


def test_pairs_of_two_judges_are_no_card() -> None:
    pairs = planted(4)
    other = pairs[0]._replace(forth=Verdict(winner="a", judge="other", first="a"))
    with pytest.raises(InputError, match="4 pairs of 2 judges"):
        report_card([other, *pairs[1:]])
    with pytest.raises(InputError, match="0 pairs"):
        report_card([])


def test_agreement_is_told_by_dimension_and_the_votes_of_people_are_the_ceiling() -> None:
    pairs = [
        pair._replace(dimension="layers" if number % 2 else "", votes=(pair.label, pair.label, "tie") if pair.label else ())
        for number, pair in enumerate(planted(200))
    ]
    card = report_card(pairs, QUICK)
    assert set(card.by_dimension) == {"layers"} and card.by_dimension["layers"].value > 0.6
    assert card.ceiling is not None and card.ceiling.value == pytest.approx(1 / 3)
    assert card.people is not None and 0.5 < card.people.value < 0.8
    assert report_card(planted(8), QUICK).people is None and report_card(planted(8), QUICK).ceiling is None


def test_scores_are_compared_with_peoples_scores_by_rank() -> None:
    random = np.random.default_rng(3)
    turns = [
        ScoredTurn(f"t{number}", f"c{number % 20}", label**3 + random.normal(), label, "en", "empathy" if number % 2 else "style")
        for number, label in enumerate(random.integers(1, 6, 100).astype(float))
    ]
    card = report_card([], QUICK, [*turns, turns[0]._replace(id="gone", given=None)])
    assert set(card.correlation) == {"all", "empathy", "style", "en"} and card.correlation["all"].low > 0.8
    assert (card.pairs, card.turns) == (0, 101) and card.missing.value == pytest.approx(1 / 101)
    flat = report_card([], QUICK, [turn._replace(given=5.0) for turn in turns])
    assert math.isnan(flat.correlation["all"].value)
