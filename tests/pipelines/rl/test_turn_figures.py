"""pipelines/rl/turn_figures.py: figures of turns whose values are known."""

import math
from collections import Counter

import pytest

from her.format import parse
from her.types import Message
from pipelines.rl.turn_figures import SampledAnswer, corrected_entropy, turn_figures

PROMPT = (Message(role="system", content="You are Mara, keeper of the lamp on the northern rock."),)


def answers(*texts: str, fault: str = "") -> list[SampledAnswer]:
    return [SampledAnswer(PROMPT, parse(text, "Mara"), fault) for text in texts]


def test_miller_madow_takes_the_bias_of_small_samples_off() -> None:
    assert corrected_entropy(Counter({"a": 2, "b": 2})) == pytest.approx(1 + 1 / (8 * math.log(2)))
    assert corrected_entropy(Counter()) == 0


def test_patterns_phrases_copies_and_leaks() -> None:
    plan = "<system_thinking>She must hide the second key from the visitor tonight.</system_thinking>"
    leak = plan + "Mara: She must hide the second key from the visitor tonight."
    said = plan + "Mara: <role_action>nods</role_action>I am keeper of the lamp on the northern rock."
    phrase = [plan + f"Mara: Number {number}: as the old sea always told me." for number in ("one", "two")]
    found = turn_figures([*answers(leak, said, *phrase), *answers("Mara: No.", fault="plan_missing")])
    assert (found.turns, found.top_pattern, found.top_share, found.malformed) == (5, "speech", 0.8, 0.2)
    assert found.phrase_share == 0.4 and "the old sea" in found.phrase
    assert found.plan_leaks == 0.2 and 0 < found.copied < 0.3


def test_a_repeated_text_has_self_bleu_1_and_different_ones_near_0() -> None:
    same = turn_figures(answers(*["Mara: The lamp burns brighter than the moon tonight."] * 5))
    other = turn_figures(answers("Mara: The lamp burns brighter than any moon.", "Mara: Come in, sit down and dry your coat."))
    assert same.self_bleu == pytest.approx(1) and other.self_bleu < 0.1 and same.distinct_2 < other.distinct_2


def test_no_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        turn_figures([])
