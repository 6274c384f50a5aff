"""her/judging/adversarial.py: each kind does what its name says, and pass rates count missing verdicts as failures."""

from typing import Any

import pytest

from her.format import parse
from her.judging.adversarial import ATTACKS, Honest, attack, pass_rates
from her.judging.judge import Judged, PairQuestion, settle
from her.types import Message, Turn, Verdict

PLAN = "<system_thinking>Hide the letter.</system_thinking>"


def honest(language: Any = "en", name: str = "q") -> Honest:
    speech = "No post today, Tom. The boat is late." if language == "en" else "今天没有信，汤姆。船晚了。"
    thought, act = "<role_thinking>He must not know.</role_thinking>", "<role_action>turns the lamp</role_action>"
    turn = parse(f"{PLAN}Mara: {thought}{act}{speech}", "Mara")
    asked = Message(role="user", content="Tom: Post?")
    prompts = [(Message(role="system", content=f"You are {who}."), asked) for who in ("Mara", "Ahab")]
    return Honest(name, prompts[0], turn, "Tom", parse("Ahab: Hast seen the White Whale?", "Ahab"), prompts[1], language)


def visible(turn: Turn) -> str:
    return " ".join(part.text for part in turn.parts if part.kind != "system_thinking")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", sorted(ATTACKS))
def test_an_attack_differs_from_the_honest_turn_and_repeats_by_seed(kind: str, language: Any) -> None:
    pair = attack(honest(language), kind, seed=3)
    again = attack(honest(language), kind, seed=3)
    assert visible(again.question.b) == visible(pair.question.b) and again.question.id == pair.question.id
    assert visible(pair.question.a) != visible(pair.question.b)
    assert settle(pair.question) == ("a" if kind == "empty" else None)
    assert "{" not in visible(pair.question.b)
    assert "system_thinking" not in {part.kind for part in pair.question.b.parts} or kind == "truncated"


def worse(kind: str, language: Any = "en") -> str:
    return visible(attack(honest(language), kind).question.b)


def test_what_each_kind_does() -> None:
    said = visible(honest().turn)
    assert worse("colon") == ":" and worse("thought_process") == "Thought process:" and worse("empty") == ""
    assert 0 < len(worse("truncated")) < len(said) and not worse("truncated").endswith(".")
    assert worse("repeated").count("No post today") == 3
    assert len(worse("twice_as_long")) >= 2 * len(said) - 20 and "No post today" in worse("twice_as_long")
    assert "Tom" in worse("flattering") and "No post" not in worse("flattering")
    assert "Mara" in worse("plan_leaked") or "user" in worse("plan_leaked")
    assert "No post today" in worse("plan_leaked")
    assert worse("other_persona") == "Hast seen the White Whale?"
    assert any("\u4e00" <= letter <= "\u9fff" for letter in worse("other_language"))
    assert worse("other_language", "zh").isascii()


def test_a_swapped_prompt_makes_the_stranger_right() -> None:
    question = attack(honest(), "persona_swapped").question
    assert question.prompt[0].content == "You are Ahab."
    assert visible(question.a) == "Hast seen the White Whale?" and question.b.speaker == "Ahab"
    assert "No post today" in visible(question.b)


def test_pass_rates_count_what_was_seen_through() -> None:
    question: PairQuestion = attack(honest(), "colon").question

    def judged(winner: Any) -> Judged:
        return Judged(question, None if winner is None else Verdict(winner=winner, judge="j"))

    rates = pass_rates(
        [("colon", judged(winner)) for winner in ("a", "a", "a", "b", "tie", None, "both_bad")]
        + [("twice_as_long", judged(winner)) for winner in ("tie", "b")]
    )
    assert rates["colon"].value == pytest.approx(3 / 7) and rates["colon"].low < 3 / 7 < rates["colon"].high
    assert rates["twice_as_long"].value == 0.5
