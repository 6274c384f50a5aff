"""Ask a model to rate one candidate turn by principles: one call a candidate, and no order to be biased by.

Whole numbers tie, so a score is the expectation over the token that names it where log-probabilities are given (soft.py), and the
mean of k samples; a group becomes relative rewards by Bradley-Terry between its scores
(each candidate's mean probability to beat the others), as pointwise generative reward models are used (arXiv:2601.00677).
"""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from her.inference.call import Answer, Call
from her.judging.judge import (
    INSTRUCTIONS,
    Ask,
    Instructions,
    ask_readable,
    context_fields,
    principle_lines,
    shown_turn,
    turn_words,
)
from her.judging.soft import expected_score
from her.judging.verdicts import strip_thinking
from her.prompts import fill
from her.types import Language, Message, Principle, Sampling, Turn

STAGE = "judge_point"
LOWEST, HIGHEST = 1, 10
TEMPERATURE = 1.5
"""Score points that make one logit between two candidates: about the deviation of a judge's repeated scores."""
_SCORE = re.compile(
    r"^[\W_]*(?:(?:final|overall)\s+)?(?:score|rating|分数|评分)[\W_]*?[:：=]\s*\**\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?[\s*。.]*$",
    re.IGNORECASE,
)


class ReadScore(NamedTuple):
    """Score of one answer, from 1 to 10; None exactly when `problem` says why, in a sentence for the judge."""

    score: float | None
    problem: str = ""


class Scored(NamedTuple):
    """Mean score of one candidate over `samples` answers; None when none could be read."""

    score: float | None
    samples: int
    problem: str = ""


def read_score(text: str) -> ReadScore:
    """Return the score of the last line that names one; never a guess."""
    said = [float(match[1]) for row in strip_thinking(text).splitlines() if (match := _SCORE.match(row.strip()))]
    if not said:
        return ReadScore(None, "no line 'Score: 1' to 'Score: 10' ends the answer")
    if len(set(said)) > 1:
        return ReadScore(None, "the score lines contradict each other; end with exactly one")
    if not LOWEST <= said[0] <= HIGHEST:
        return ReadScore(None, f"the score {said[0]:g} is not from {LOWEST} to {HIGHEST}")
    return ReadScore(said[0])


class PointJudge:
    """A pointwise judge over one model; arguments as `her.judging.judge.PairJudge`.

    Args:
        samples: answers for each candidate; more than one needs a temperature above 0.
        choices: likeliest tokens that are asked for at each place; 0 for none.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        principles: dict[Language, Sequence[Principle]] | None = None,
        library: str = "",
        sampling: Sampling | None = None,
        samples: int = 1,
        instructions: Instructions = "full",
        choices: int = 0,
    ) -> None:
        self._ask, self._library, self._samples, self._instructions = ask, library, samples, instructions
        self._choices = choices
        self._sampling = sampling or Sampling(temperature=0 if samples == 1 else 0.8, max_tokens=1000)
        self._principles = {language: principle_lines(rules) for language, rules in (principles or {}).items()}

    async def score(self, name: str, prompt: Sequence[Message], turn: Turn, language: Language = "en") -> Scored:
        """Return the score of one candidate; an empty one gets the lowest without being asked about."""
        if not turn_words(turn).strip():
            return Scored(LOWEST, 0)
        messages = point_messages(prompt, turn, language, self._principles.get(language, ""), self._instructions)
        calls = [
            Call(
                f"{name}:{number}",
                STAGE,
                messages,
                self._sampling,
                version=self._library,
                number=number,
                choices=self._choices,
            )
            for number in range(self._samples)
        ]
        readings = await asyncio.gather(*(ask_readable(self._ask, call, read_score, language) for call in calls))
        scores = [score for reading, answer in readings if (score := _soft_score(reading, answer)) is not None]
        problems = [reading if isinstance(reading, str) else reading.problem for reading, _ in readings]
        if not scores:
            return Scored(None, 0, next(filter(None, problems), ""))
        return Scored(float(np.mean(scores)), len(scores))

    async def score_group(
        self, name: str, prompt: Sequence[Message], turns: Sequence[Turn], language: Language = "en"
    ) -> tuple[float | None, ...]:
        """Return the relative rewards of a group, None for a candidate without a score."""
        scored = await asyncio.gather(
            *(self.score(f"{name}:{index}", prompt, turn, language) for index, turn in enumerate(turns))
        )
        return relative([each.score for each in scored])


def _soft_score(reading: ReadScore | str, answer: Answer) -> float | None:
    """Return the score of one answer, its expectation where it is known; None without a score."""
    if isinstance(reading, str) or reading.score is None:
        return None
    expected = expected_score(answer.text, reading.score, answer.choices, LOWEST, HIGHEST)
    return reading.score if expected is None else expected


def relative(scores: Sequence[float | None], temperature: float = TEMPERATURE) -> tuple[float | None, ...]:
    """Return each candidate's mean probability to beat the others, less one half; None where its score is missing."""
    known = np.array([score for score in scores if score is not None])
    if known.size < 2:
        return tuple(None if score is None else 0.0 for score in scores)

    def reward(score: float) -> float:
        wins = 1 / (1 + np.exp((known - score) / temperature))
        return float((wins.sum() - 0.5) / (known.size - 1) - 0.5)  # less the half against itself

    return tuple(None if score is None else reward(score) for score in scores)


def point_messages(
    prompt: Sequence[Message], turn: Turn, language: Language, principles: str = "", instructions: Instructions = "full"
) -> tuple[Message, Message]:
    """Return the system and user message of one rating; instructions as in `her.judging.judge.pair_messages`."""
    name = f"{INSTRUCTIONS[instructions]}_point"
    fields = {**context_fields(prompt), "candidate": shown_turn(turn, language)}
    return (
        Message(role="system", content=fill(name, language, {"principles": principles})),
        Message(role="user", content=fill("judge_point_question", language, fields)),
    )
