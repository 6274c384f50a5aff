"""How the stages work: what they note, how they ask, and how many scenes are on the way at once.

A stage reads scenes and writes scenes, in order, one JSON line each. It is gone through again after a kill: whatever was
answered comes from the ledger, so the file it writes is the same, byte for byte.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel

from her.errors import HerError
from her.prompts import fill
from her.types import Defect, Language, Message, NonEmpty, Sampling, Value

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
Fate = Literal["changed", "as_it_was", "kept", "missing"]
"""What became of a turn: better; answered and left alone; kept in its original form after a failure; without what it needs."""


class TurnRecord(Value):
    """What one stage did to one turn. `problems` are those of the last answer, also when it was not used.

    Args:
        asked: how often this turn was asked for.
        first: names of the problems of the first answer.
        error: why there was no answer, one sentence.
    """

    stage: NonEmpty
    scene: NonEmpty
    turn: NonEmpty
    speaker: str
    fate: Fate
    asked: int = 1
    first: tuple[str, ...] = ()
    problems: tuple[Defect, ...] = ()
    error: str = ""


class Skipped(Value):
    """Something that was left out, where it stands and why."""

    stage: NonEmpty
    where: str
    reason: NonEmpty


@dataclass
class StageAnswer:
    """What came back for one question; exactly one of `value`, `text` and `error` speaks.

    Args:
        value: the answer as the schema asks for, when there was one.
        text: the answer as it stands, when there was no schema; `reasoning` beside it.
        error: why there is no answer.
    """

    text: str = ""
    reasoning: str = ""
    value: BaseModel | None = None
    error: str = ""


class Asker(Protocol):
    """Asks models: `pipelines/synthesize/models.py` with endpoints and a ledger, or a test."""

    async def ask(
        self, stage: str, messages: tuple[Message, ...], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> StageAnswer:
        """One question. A failed call is a Reply with `error`; nothing is raised for it."""
        ...


@dataclass
class Notes:
    """Where a stage leaves what it did; the pipeline writes it into the run folder after each scene."""

    turns: list[TurnRecord] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, stage: str, where: str, reason: str) -> None:
        """Note something left out."""
        log.warning("%s: %s left out: %s", stage, where, reason)
        self.skipped.append(Skipped(stage=stage, where=where, reason=reason))


def question(prompt: str, language: Language, payload: Mapping[str, Any], **fields: str) -> tuple[Message, ...]:
    """A question of a stage: the prompt as the system's message, the payload as JSON in the user's."""
    asked = json.dumps(payload, ensure_ascii=False, indent=1)
    return (
        Message(role="system", content=fill(prompt, language, fields)),
        Message(role="user", content=asked.encode("utf-8", "replace").decode("utf-8")),
    )


async def together(works: Iterable[Awaitable[R]]) -> list[R]:
    """All of them at once. When one raises, the others are first brought to their end, for their answers are paid for."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], width: int) -> AsyncIterator[R]:
    """`work` of every item, at most `width` of them on the way, in the order of the items.

    The first exception ends it. When it is the house's (a budget, no endpoint left), what is on the way is first brought
    to its end, so that no answer that was paid for is lost; otherwise it is cancelled.
    """
    source = iter(items)
    waiting: deque[asyncio.Task[R]] = deque()
    try:
        while True:
            for item in source:
                waiting.append(asyncio.ensure_future(work(item)))
                if len(waiting) >= width:
                    break
            if not waiting:
                return
            yield await waiting.popleft()
    except HerError:
        await asyncio.gather(*waiting, return_exceptions=True)
        raise
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
