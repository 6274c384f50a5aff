"""Ask the teacher and the judge of a run; every answer is in the run's ledger, so a killed run asks nothing twice."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from pydantic import BaseModel

from her.inference.batch import ask_all
from her.inference.call import Answer, Call
from her.inference.caller import Caller, Ledger
from her.judging.preference_pairs import pair_language
from her.prompts import prompt_messages
from her.types import Language, Preference, Sampling
from pipelines.principles.options import PrinciplesOptions

Json = dict[str, Any]


class PrincipleCallers:
    """The callers of a run: one that names and distils, one that applies. They share ledger and budget."""

    def __init__(self, options: PrinciplesOptions, ledger: Ledger) -> None:
        self.teacher = Caller(options.endpoints, ledger, options.calls.limits(len(options.endpoints)))
        self.judge = self.teacher
        if options.judges:
            self.judge = Caller(options.judges, ledger, options.calls.limits(len(options.judges)), self.teacher.budget)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for caller in self.callers:
            await self._stack.enter_async_context(caller)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Every caller once."""
        return (self.teacher,) if self.judge is self.teacher else (self.teacher, self.judge)


def question(task: str, number: str, language: Language, payload: Json, schema: type[BaseModel], sampling: Sampling) -> Call:
    """Return one call: the prompt of a task, and its payload as JSON."""
    return Call(f"{task} {number}", task, prompt_messages(task, language, payload), sampling, schema)


def moment(preference: Preference) -> Json:
    """Return the fields of a payload that describe the moment of a pair, first in every question so that servers reuse them."""
    system, *history = preference.prompt or (None,)
    return {
        "situation": system.content if system else "",
        "conversation": [message.content for message in history if message is not None],
    }


def language_of(preference: Preference) -> Language:
    """Return the language in which a pair is asked about."""
    return pair_language(preference)


async def answers(caller: Caller, calls: Iterable[Call]) -> AsyncIterator[Answer]:
    """Yield the answers in the order of the calls; a failed one has an `error`."""
    async for answer in ask_all(caller, calls, ordered=True):
        yield answer


def first_reasons(reasons: Sequence[str], most: int = 3) -> str:
    """Return the most frequent reasons of failed answers, for a message."""
    frequent = [reason for reason, _ in Counter(reasons).most_common(most)]
    return "; ".join(frequent) or "none"
