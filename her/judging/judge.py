"""Ask a model to compare two candidate turns by principles, in one order or in both.

The context comes first and the candidates last, so that servers reuse the prefix of all comparisons of one moment; no byte
differs before the first candidate. What models, people and books wrote is quoted line by line, so none of it can pass for a
heading or an instruction, and placeholders in it are never expanded.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, TypeVar

from her.inference.call import Answer, Call
from her.judging.soft import verdict_probability
from her.judging.verdicts import Slot, in_candidates, join_orders, read_verdict
from her.kinds import REPLY_KINDS
from her.prompts import fill
from her.types import Comparison, Language, Message, Outcome, Principle, Sampling, Turn, Verdict
from her.view import Viewer, line

Ask = Callable[[Call], Awaitable[Answer]]
Soft = Callable[[Answer], float | None]
"""Probability that the candidate shown as A wins, of one answer, where its log-probabilities do not come with it."""
STAGE = "judge_pair"
LONGEST_CANDIDATE = 24_000
"""Characters of a candidate that are shown; ten times the longest turn of the HER data set."""
NOTHING = {"en": "(nothing)", "zh": "（空）"}
TRUNCATED = "it was truncated at the token limit; write less"
VIEWER = Viewer(kind="reward_model")
ReadableT = TypeVar("ReadableT", bound="Readable")
Instructions = Literal["full", "short", "bare", "general"]
"""`full` tells a model how to judge; `short` reminds one that was trained to (pipelines/reward/generative.py); `bare` asks for
the verdict alone; so does `general`, by criteria that are the same for every turn. pipelines/judge_check compares them."""
INSTRUCTIONS: dict[Instructions, str] = {"full": "judge", "short": "reward", "bare": "bare", "general": "general"}
"""First word of the names of the prompts: `judge_pair`, `reward_point` and so on."""


class PairQuestion(NamedTuple):
    """Two candidates for one moment.

    Args:
        prompt: the messages from which the candidates were written, system message first.
    """

    id: str
    prompt: tuple[Message, ...]
    a: Turn
    b: Turn
    language: Language = "en"


class Judged(NamedTuple):
    """The verdict on one question, or why there is none: it is missing then, never a number."""

    question: PairQuestion
    verdict: Verdict | None
    problem: str = ""


class PairJudge:
    """A pairwise judge over one model.

    Args:
        ask: usually `Caller.ask`, which records every answer and asks none twice.
        name: of the judge in verdicts; `model` with its revision.
        principles: by language; without any the model names its own, as a reward model does.
        library: sha256 of the principle library, recorded in every verdict.
        instructions: `short` for a reward model that was trained with the short ones.
        choices: likeliest tokens that are asked for at each place, so that verdicts have a probability where the model's server
            gives log-probabilities (soft.py); 0 asks for none.
        soft: gives verdicts their probability instead.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        name: str,
        model: str = "",
        principles: dict[Language, Sequence[Principle]] | None = None,
        library: str = "",
        sampling: Sampling | None = None,
        instructions: Instructions = "full",
        choices: int = 0,
        soft: Soft | None = None,
    ) -> None:
        self._ask, self._instructions, self._choices, self._soft = ask, instructions, choices, soft
        self._name, self._model, self._library = name, model, library
        self._sampling = sampling or Sampling(temperature=0, max_tokens=1500)
        self._principles = {language: principle_lines(rules) for language, rules in (principles or {}).items()}

    async def judge(self, question: PairQuestion, first: Slot = "a") -> Judged:
        """Return the verdict with candidate `first` shown as A. What cannot be read is asked once more, then missing."""
        if (settled := settle(question)) is not None:
            return Judged(question, self._verdict(settled, (), first, "decided without the model"))
        shown = [turn_words(turn) for turn in _in_order(question, first)]
        call = self._call(question, first)
        reading, answer = await ask_readable(self._ask, call, lambda text: read_verdict(text, *shown), question.language)
        if isinstance(reading, str):
            return Judged(question, None, reading)
        if reading.outcome is None:
            return Judged(question, None, reading.problem)
        outcome, comparisons = in_candidates(reading.outcome, reading.comparisons, first)
        return Judged(
            question, self._verdict(outcome, comparisons, first, probability=self._probability(answer, reading.outcome, first))
        )

    def _probability(self, answer: Answer, outcome: Outcome, first: Slot) -> float | None:
        """Return the probability that candidate a wins, of an answer that names an outcome by slot; None without one."""
        given = self._soft(answer) if self._soft is not None else verdict_probability(answer.text, outcome, answer.choices)
        return given if given is None or first == "a" else 1 - given

    async def judge_both(self, question: PairQuestion) -> Judged:
        """Return the verdict of both orders; a disagreement is a tie, and one missing order makes the verdict missing."""
        forth, back = await asyncio.gather(self.judge(question, "a"), self.judge(question, "b"))
        return Judged(question, join_orders(forth.verdict, back.verdict), forth.problem or back.problem)

    def _call(self, question: PairQuestion, first: Slot) -> Call:
        messages = pair_messages(question, first, self._principles.get(question.language, ""), self._instructions)
        name = f"{question.id}:{first}"
        return Call(name, STAGE, messages, self._sampling, version=self._library, choices=self._choices)

    def _verdict(
        self,
        outcome: Outcome,
        comparisons: tuple[Comparison, ...],
        first: Slot,
        reason: str = "",
        probability: float | None = None,
    ) -> Verdict:
        return Verdict(
            comparisons=comparisons,
            winner=outcome,
            reason=reason,
            judge=self._name,
            probability=probability,
            first=first,
            model=self._model,
            principles=self._library,
        )


async def judge_pairs(
    judge: PairJudge, questions: Iterable[PairQuestion], *, both: bool = True, at_once: int = 128
) -> AsyncIterator[Judged]:
    """Yield the verdicts of many questions in their order, with `at_once` of them in flight."""
    waiting: list[asyncio.Task[Judged]] = []
    ask = judge.judge_both if both else judge.judge
    try:
        for question in questions:
            waiting.append(asyncio.create_task(ask(question)))
            if len(waiting) >= at_once:
                yield await waiting.pop(0)
        while waiting:
            yield await waiting.pop(0)
    finally:
        for task in waiting:
            task.cancel()


class Readable(Protocol):
    """An answer as a reader understood it; a `problem` says in one sentence why it cannot be used."""

    @property
    def problem(self) -> str:
        """The sentence; empty when the answer can be used."""
        ...


async def ask_readable(
    ask: Ask, call: Call, read: Callable[[str], ReadableT], language: Language
) -> tuple[ReadableT | str, Answer]:
    """Return the reading of an answer and that answer, asked once more with the problem named when it cannot be used.

    A failed call is returned as its error. The second reading is returned whatever it is.
    """
    answer = await ask(call)
    reading = None if answer.error or answer.truncated else read(answer.text)
    if not answer.error and (reading is None or reading.problem):
        problem = reading.problem if reading is not None else TRUNCATED
        again = fill("judge_again", language, {"problem": problem})
        messages = (*call.messages, Message(role="assistant", content=answer.text or "-"), Message(role="user", content=again))
        answer = await ask(replace(call, id=f"{call.id}:again", messages=messages))
        reading = None if answer.error or answer.truncated else read(answer.text)
    if answer.error:
        return answer.error, answer
    return (TRUNCATED if reading is None else reading), answer


def pair_messages(
    question: PairQuestion, first: Slot, principles: str = "", instructions: Instructions = "full"
) -> tuple[Message, Message]:
    """Return the system and user message of one comparison, with candidate `first` as A.

    Judging, training and evaluation all call this, so a reward model is trained on the prompts that it is asked later, byte for
    byte. The short instructions show no principles: a model that was trained with them names its own.
    """
    name, shown_principles = f"{INSTRUCTIONS[instructions]}_pair", {"principles": principles}
    shown = [shown_turn(turn, question.language) for turn in _in_order(question, first)]
    fields = {**context_fields(question.prompt), "first": shown[0], "second": shown[1]}
    return (
        Message(role="system", content=fill(name, question.language, shown_principles)),
        Message(role="user", content=fill("judge_pair_question", question.language, fields)),
    )


def principle_lines(principles: Iterable[Principle]) -> str:
    """Return the library as the judge reads it: negative principles first, one line each."""
    ordered = sorted(principles, key=lambda principle: principle.polarity != "negative")
    return "\n".join(
        f"[{principle.id}] {principle.polarity}, weight {principle.weight:g}: {principle.name}. {principle.definition}"
        for principle in ordered
    )


def settle(question: PairQuestion) -> Outcome | None:
    """Return the outcome that needs no judge: a tie of equal turns, a loss of an empty one; None for all others."""
    a, b = (line(turn, VIEWER) for turn in (question.a, question.b))
    if a == b:
        return "tie" if a else "both_bad"
    if not a or not b:
        return "a" if a else "b"
    return None


def quoted(text: str) -> str:
    """Return the text with every line quoted, so that none can be read as a heading of the prompt."""
    return "\n".join(f"> {row}" for row in text.splitlines())


def context_fields(prompt: Sequence[Message]) -> dict[str, str]:
    """Return the fields of a question that describe the moment: the system message, and the conversation."""
    system, *history = prompt
    return {"situation": quoted(system.content), "history": quoted("\n".join(message.content for message in history))}


def shown_turn(turn: Turn, language: Language) -> str:
    """Return a candidate as a judge sees it: without its plan, quoted, cut where it is huge."""
    text = line(turn, VIEWER) or NOTHING[language]
    if len(text) > LONGEST_CANDIDATE:
        text = f"{text[:LONGEST_CANDIDATE]} [... {len(text) - LONGEST_CANDIDATE}]"
    return quoted(text)


def turn_words(turn: Turn) -> str:
    """Return the words of a turn that a judge can quote."""
    return " ".join(part.text for part in turn.parts if part.kind in REPLY_KINDS)


def _in_order(question: PairQuestion, first: Slot) -> tuple[Turn, Turn]:
    return (question.a, question.b) if first == "a" else (question.b, question.a)
