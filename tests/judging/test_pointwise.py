"""her/judging/pointwise.py: scores of candidates over HTTP, and relative rewards of a group."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.format import parse
from her.inference.caller import Caller, CallLimits
from her.judging.judge import principle_lines
from her.judging.pointwise import PointJudge, Scored, point_messages, read_score, relative
from her.judging.principles import load_principles
from her.types import Message
from tests.servers import ModelServer, Script

QUICK = CallLimits(retries=1, timeout=5, cool_down=0.02, longest_cool_down=0.05, patience=1)
PROMPT = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: Was there post?"))
TURN = parse("<system_thinking>Hide it.</system_thinking>Mara: No post today.", "Mara")


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 7", 7),
        ('- [own-voice] "post": dry\n**Score: 8/10**', 8),
        ("分数：6。", 6),
        ("Final score: 6.5", 6.5),
        ("<think>Score: 2</think>Score: 9", 9),
        ("Score: 3\nScore: 3", 3),
    ],
)
def test_a_readable_score(text: str, score: float) -> None:
    assert read_score(text) == (score, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no line"),
        ("I would give it an 8.", "no line"),
        ("Score: high", "no line"),
        ("Score: 11", "is not from 1 to 10"),
        ("Score: 0", "is not from 1 to 10"),
        ("Score: 4\nScore: 9", "contradict"),
    ],
)
def test_an_unreadable_score_is_missing(text: str, problem: str) -> None:
    found = read_score(text)
    assert found.score is None and problem in found.problem


def scored(text: str | Callable[[dict[str, Any]], str], samples: int = 1, turn: Any = TURN) -> tuple[Scored, int]:
    with ModelServer(Script(text=text)) as server:

        async def run() -> Scored:
            async with Caller([f"openai:{server.url}#test-her"], None, QUICK) as caller:
                return await PointJudge(caller.ask, samples=samples).score("c", PROMPT, turn)

        return asyncio.run(run()), len(server.chats)


def test_samples_are_averaged_and_an_unreadable_one_is_asked_once_more() -> None:
    answers = iter(["Score: 4", "Score: 7", "well", "Score: 10"])
    found, asked = scored(lambda body: next(answers), samples=3)
    assert found == (7, 3, "") and asked == 4


def test_what_cannot_be_read_is_missing_and_says_why() -> None:
    found, asked = scored("a fine turn")
    assert found.score is None and "no line" in found.problem and asked == 2


def test_an_empty_turn_gets_the_lowest_score_unasked() -> None:
    assert scored("Score: 9", turn=parse("", "Mara")) == ((1, 0, ""), 0)


async def test_a_group_becomes_relative_rewards() -> None:
    with ModelServer(Script(text=lambda body: f"Score: {body['messages'][1]['content'][-1]}")) as server:
        async with Caller([f"openai:{server.url}#test-her"], None, QUICK) as caller:
            turns = [parse(f"Mara: {number}", "Mara") for number in (3, 9, 6)]
            rewards = await PointJudge(caller.ask).score_group("g", PROMPT, turns)
    assert rewards[1] is not None and rewards[2] is not None and rewards[0] is not None
    assert rewards[1] > rewards[2] > rewards[0]


def test_the_plan_is_hidden_and_principles_are_shown() -> None:
    principles = load_principles()
    system, user = point_messages(PROMPT, TURN, "en", principle_lines(principles))
    assert "Hide it" not in user.content and "No post today." in user.content
    assert all(f"[{principle.id}]" in system.content for principle in principles)


@given(st.lists(st.none() | st.floats(1, 10), min_size=1, max_size=8))
def test_relative_rewards_sum_to_zero_keep_the_order_and_ignore_missing_ones(scores: list[float | None]) -> None:
    found = relative(scores)
    known = [(score, reward) for score, reward in zip(scores, found, strict=True) if score is not None and reward is not None]
    assert [reward is None for reward in found] == [score is None for score in scores]
    assert sum(reward for _, reward in known) == pytest.approx(0, abs=1e-9)
    assert all(first[1] >= second[1] - 1e-12 for first in known for second in known if first[0] >= second[0])
    assert relative([score for score in scores if score is not None]) == pytest.approx([reward for _, reward in known])
