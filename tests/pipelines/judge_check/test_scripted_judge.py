"""pipelines/judge_check/scripted_judge.py: it reads the questions of her/judging, and its biases are those of its settings."""

from typing import Any

import pytest

from her.errors import BackendError
from her.judging.judge import pair_messages
from her.judging.pointwise import point_messages, read_score
from her.judging.verdicts import Slot, read_verdict
from her.types import Message, Outcome
from pipelines.judge_check.options import ScriptedOptions
from pipelines.judge_check.planted import planted_pairs
from pipelines.judge_check.scripted_judge import ScriptedJudge

PAIRS = planted_pairs(60, 3)
FAIR = ScriptedOptions(slot=0, length=0, noise=0.001, unreadable=0)
LEFT = FAIR.model_copy(update={"slot": 100.0})


def outcomes(biases: ScriptedOptions, first: Slot, instructions: Any = "full") -> list[Outcome | None]:
    """Return the outcome of each pair, by slot."""
    judge = ScriptedJudge(biases)
    answers = [judge.answer(pair_messages(pair.question, first, "[x] y", instructions)) for pair in PAIRS]
    turns = [(pair.question.a, pair.question.b) if first == "a" else (pair.question.b, pair.question.a) for pair in PAIRS]
    return [
        read_verdict(answer, *(" ".join(part.text for part in turn.parts) for turn in shown)).outcome
        for answer, shown in zip(answers, turns, strict=True)
    ]


@pytest.mark.whole
@pytest.mark.parametrize("instructions", ["full", "bare", "general"])
def test_a_fair_judge_finds_every_fault_in_both_orders(instructions: str) -> None:
    right = [pair.label for pair in PAIRS]
    assert outcomes(FAIR, "a", instructions) == right
    assert outcomes(FAIR, "b", instructions) == ["b" if label == "a" else "a" for label in right]


@pytest.mark.whole
def test_a_judge_of_the_first_slot_takes_it() -> None:
    assert set(outcomes(LEFT, "a")) == {"a"} == set(outcomes(LEFT, "b"))


@pytest.mark.whole
@pytest.mark.parametrize("instructions", ["full", "bare", "general"])
def test_scores_follow_the_fault(instructions: Any) -> None:
    judge = ScriptedJudge(FAIR)
    for pair in PAIRS:
        question = pair.question
        first, second = (
            read_score(judge.answer(point_messages(question.prompt, turn, question.language, "[x] y", instructions))).score
            for turn in (question.a, question.b)
        )
        assert first is not None and second is not None and (first > second) == (pair.label == "a")


def test_an_unreadable_answer_names_no_winner() -> None:
    assert set(outcomes(FAIR.model_copy(update={"unreadable": 0.999999}), "a")) == {None}


def test_another_question_is_refused() -> None:
    messages = [Message(role="system", content="You are Mara."), Message(role="user", content="Tom: Hello.")]
    with pytest.raises(BackendError, match="name a model"):
        ScriptedJudge(FAIR).answer(messages)
