"""pipelines/rl/alarms.py: planted changes raise their alarm, noise and small samples do not."""

import math
import random
from typing import Any

import pytest

from pipelines.rl.alarms import ComparedRow, LengthChange, LookFigures, TrainingFigures, alarms, divergence, length_change, slope
from pipelines.rl.panel_options import AlarmOptions
from pipelines.rl.turn_figures import TurnFigures

FLAT = LengthChange(ratio=1.0, low=0.9, high=1.1)
START: dict[str, Any] = {
    "turns": 256,
    "words": 40.0,
    "plan_words": 20.0,
    "entropy": 2.4,
    "top_pattern": "think-act-speech",
    "top_share": 0.3,
    "phrase": "as i always say",
    "phrase_share": 0.05,
    "distinct_2": 0.8,
    "self_bleu": 0.01,
    "copied": 0.02,
    "malformed": 0.05,
    "plan_leaks": 0.0,
    "thought_leaks": 0.0,
}


def raised(now: dict[str, Any] | None = None, start: dict[str, Any] | None = None, **look: Any) -> list[str]:
    before = TurnFigures(**{**START, **(start or {})})
    figures = LookFigures(
        TurnFigures(**{**START, **(start or {}), **(now or {})}),
        before,
        look.get("length", FLAT),
        look.get("plan_length", FLAT),
        look.get("divergence"),
        TrainingFigures(**look.get("training", {})),
        TrainingFigures(**look.get("first", {})),
    )
    return [alarm.name for alarm in alarms(figures, AlarmOptions(), 20)]


def test_the_start_itself_raises_nothing() -> None:
    assert raised() == []


@pytest.mark.parametrize(
    ("now", "name"),
    [
        ({"entropy": 1.9}, "patterns"),
        ({"top_share": 0.46}, "top_pattern"),
        ({"phrase_share": 0.31}, "phrase"),
        ({"distinct_2": 0.5}, "diversity"),
        ({"copied": 0.18}, "copying"),
        ({"malformed": 0.21}, "malformed"),
        ({"plan_leaks": 0.11}, "plan_leak"),
        ({"thought_leaks": 0.11}, "thought_leak"),
    ],
)
def test_a_planted_change_raises_its_alarm(now: dict[str, Any], name: str) -> None:
    assert raised(now) == [name]


@pytest.mark.parametrize("now", [{"entropy": 2.0}, {"top_share": 0.44}, {"phrase_share": 0.25}, {"distinct_2": 0.6}])
def test_a_small_change_raises_nothing(now: dict[str, Any]) -> None:
    assert raised(now) == []


@pytest.mark.parametrize(
    ("training", "first", "names"),
    [
        ({"kl": 0.51}, {}, ["kl"]),
        ({"kl": 0.49}, {}, []),
        ({"entropy": 0.19}, {"entropy": 1.0}, ["entropy"]),
        ({"entropy": 0.21}, {"entropy": 1.0}, []),
        ({"entropy": 0.01}, {}, []),
        ({"order_consistency": 0.55}, {"order_consistency": 0.85}, ["order_consistency"]),
        ({"order_consistency": 0.7}, {"order_consistency": 0.85}, []),
    ],
)
def test_figures_of_training_raise_alarms_as_well(training: dict[str, float], first: dict[str, float], names: list[str]) -> None:
    assert raised(training=training, first=first) == names


def test_patterns_of_64_turns_are_not_judged() -> None:
    assert raised({"turns": 64, "entropy": 0.2, "top_share": 0.95, "phrase_share": 0.9, "distinct_2": 0.1}) == []


def test_floors_count_only_when_they_are_crossed() -> None:
    assert raised({"entropy": 1.45}, {"entropy": 1.6}) == ["patterns"]
    assert raised({"entropy": 1.3}, {"entropy": 1.4}) == []
    assert raised({"top_share": 0.72}, {"top_share": 0.65}) == ["top_pattern"]
    assert raised({"top_share": 0.8}, {"top_share": 0.75}) == []


def rows(diverged: int, other: int) -> list[ComparedRow]:
    return [ComparedRow(1.0, -1.0)] * diverged + [ComparedRow(1.0, 1.0)] * other


@pytest.mark.whole
def test_divergence_beyond_that_of_the_start_is_an_alarm_and_its_own_level_is_none() -> None:
    grown = divergence(rows(40, 24), rows(10, 54), 0.05 / 20)
    assert grown and grown.share.low < 40 / 64 < grown.share.high and grown.start == 10 / 64
    assert raised(divergence=grown) == ["divergence"]
    assert raised(divergence=divergence(rows(20, 44), rows(18, 46), 0.05 / 20)) == []


@pytest.mark.whole
def test_missing_rows_count_on_neither_side() -> None:
    now = [*rows(3, 3), ComparedRow(None, -1.0), ComparedRow(1.0, None)]
    found = divergence(now, rows(1, 7), 0.05)
    assert found and found.rows == 6
    assert divergence([ComparedRow(None, None)], [ComparedRow(1, 1)], 0.05) is None


@pytest.mark.whole
def test_twenty_looks_of_pure_noise_raise_at_most_the_planned_share_of_alarms() -> None:
    """At 95 % a look, 64 % of runs of twenty looks would have a false alarm."""
    chance = random.Random(3)

    def noise() -> list[ComparedRow]:
        return [ComparedRow(chance.choice((-1, 1)), chance.choice((-1, 1))) for _ in range(64)]

    runs, spread, plain = 60, 0, 0
    for _ in range(runs):
        null = noise()
        values = [found.p for _ in range(20) if (found := divergence(noise(), null, 0.05))]
        spread += min(values) < 0.05 / 20
        plain += min(values) < 0.05
    assert spread / runs <= 0.1 < plain / runs


@pytest.mark.whole
def test_length_needs_significance_and_size() -> None:
    start = [20.0 + number % 7 for number in range(64)]
    assert raised(length=length_change([2 * each for each in start], start, 0.0025)) == ["length"]
    assert raised(plan_length=length_change([each / 2 for each in start], start, 0.0025)) == ["plan_length"]
    assert raised(length=length_change([1.1 * each for each in start], start, 0.0025)) == []
    two = length_change([100.0, 5.0], [20.0, 21.0], 0.0025)
    assert raised(length=two) == []


def test_the_slope_is_of_the_logarithm_in_100_steps() -> None:
    steps = [0, 50, 100, 150]
    assert slope(steps, [10 * math.exp(0.002 * step) for step in steps]) == pytest.approx(0.2)
    assert math.isnan(slope([0], [10.0])) and math.isnan(slope([0, 5], [0.0, 10.0]))


def test_one_prompt_has_a_ratio_that_is_written_and_read_back_and_no_limits() -> None:
    change = length_change([20.0], [9.0], 0.05)
    assert change.ratio == pytest.approx(2.1) and change.low is None
    assert LengthChange.model_validate_json(change.model_dump_json()) == change  # looks are read when a run resumes
