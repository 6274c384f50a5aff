"""pipelines/reward/planted.py: the rule decides every pair, and the act alone says nothing without the prompt."""

import pytest

from her.types import Preference, Turn
from pipelines.reward.planted import ACTS, FILLERS, GATES, WEIGHTS, planted_preferences, with_raters

pytestmark = pytest.mark.whole


def utility(preference: Preference, turn: Turn) -> float:
    """Return the utility that the rule gives to a turn, read from its text alone."""
    gate = next(index for index, lines in enumerate(GATES) if any(line in preference.prompt[0].content for line in lines))
    thought = bool(turn.text("role_thinking"))
    filler = any(phrase in turn.text("speech") for phrase in FILLERS)
    return WEIGHTS["thought"] * thought - WEIGHTS["filler"] * filler + WEIGHTS["gate"] * (turn.text("role_action") in ACTS[gate])


def gate_pairs(preferences: tuple[Preference, ...]) -> list[Preference]:
    return [
        each
        for each in preferences
        if [comparison.principle for comparison in each.verdict.comparisons if comparison.winner != "tie"] == ["gate"]
    ]


def test_the_label_follows_from_the_text() -> None:
    preferences = planted_preferences(400, (), seed=1)
    assert preferences == planted_preferences(400, (), seed=1) != planted_preferences(400, (), seed=2)
    assert all(utility(each, each.chosen) > utility(each, each.rejected) for each in preferences)


def test_an_act_wins_and_loses_equally_often() -> None:
    pairs = gate_pairs(planted_preferences(2000, (), seed=1))
    assert len(pairs) > 600
    quiet = sum(each.chosen.text("role_action") in ACTS[0] for each in pairs) / len(pairs)
    longer = sum(len(each.chosen.raw) > len(each.rejected.raw) for each in pairs) / len(pairs)
    assert 0.44 < quiet < 0.56 and 0.4 < longer < 0.6


def test_raters_err_as_often_as_their_probability_says() -> None:
    clean = planted_preferences(2000, (), seed=1)
    voted = with_raters(clean, 0.5, seed=1)
    for kind, right in (("careful", 0.95), ("careless", 0.55)):
        kept = [
            vote.chosen == rule.chosen for vote, rule in zip(voted, clean, strict=True) if vote.rater.startswith(f"rater:{kind}")
        ]
        assert abs(sum(kept) / len(kept) - right) < 0.04
    assert all((vote.verdict.winner == "a") == ((vote.verdict.probability or 0) > 0.5) for vote in voted)
