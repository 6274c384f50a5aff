"""One pass over many calls in bounded memory: what the ledger has is read in groups, the rest is asked by tasks."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from her.inference.budget import CostForecast, Tokens, forecast
from her.inference.call import Answer, Call, CallLimits
from her.inference.caller import Caller
from her.store.ledger import Ledger

_TOGETHER = 128
"""Calls that are taken from the source and looked up together; the loop waits for their prompts to be written."""

log = logging.getLogger(__name__)
Executor = Literal["asyncio", "ray"]


@dataclass(slots=True)
class _Slot:
    """A call of a run; `answer` once it is there."""

    call: Call
    answer: Answer | None = None


class Batch:
    """One pass; see `ask_all`."""

    def __init__(self, caller: Caller, calls: Iterable[Call] | AsyncIterable[Call], ordered: bool) -> None:
        self._caller, self._ordered = caller, ordered
        self._slots: deque[_Slot] = deque()
        """Ordered: all calls that are held. Unordered: the answered ones."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._source = _Pump(calls, self._news) if isinstance(calls, AsyncIterable) else _Tap(calls)
        room = 2 * sum(endpoint.pace.max_in_flight for endpoint in caller.endpoints)
        self._ahead = max(caller.limits.ahead, room)

    async def answers(self) -> AsyncIterator[Answer]:
        """Fill, give out, wait for news, until nothing is left."""
        try:
            while True:
                self._news.clear()
                self._fill()
                given = 0
                while (answer := self._next()) is not None:
                    yield answer
                    given += 1
                if self._over():
                    break
                if not given:
                    await self._news.wait()
        finally:
            await self._stop()
        if self._error is not None:
            raise self._error

    def _over(self) -> bool:
        """Nothing on its way, nothing to give out, nothing to ask; or a gap that nobody will fill."""
        if self._tasks:
            return False
        return self._error is not None or (self._source.ended and not self._slots)

    def _next(self) -> Answer | None:
        """The next answer that can be given out."""
        return self._slots.popleft().answer if self._slots and self._slots[0].answer is not None else None

    def _fill(self) -> None:
        """Take calls until as many are held as may be, or the source has none at hand."""
        while self._error is None:
            held = len(self._slots) if self._ordered else len(self._slots) + len(self._tasks)
            if self._ahead - held < min(_TOGETHER, self._ahead // 4 + 1):
                return
            calls = self._source.take(min(_TOGETHER, self._ahead - held))
            if not calls:
                return
            self._begin(calls)

    def _begin(self, calls: list[Call]) -> None:
        keys = [self._caller.key(call) for call in calls]
        for call, key, known in zip(calls, keys, self._caller.known(calls, keys), strict=True):
            slot = _Slot(call, known)
            if self._ordered or known is not None:
                self._slots.append(slot)
            if known is None:
                task = asyncio.create_task(self._ask(slot, key))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ask(self, slot: _Slot, key: bytes) -> None:
        try:
            slot.answer = await self._caller.ask_anew(slot.call, key)
            if not self._ordered:
                self._slots.append(slot)
        except Exception as error:
            self._fail(error)
        finally:
            asyncio.get_running_loop().call_soon(self._news.set)  # after the task has left `_tasks`

    def _fail(self, error: Exception) -> None:
        """Ask nothing more; the first error is the one that is raised in the end."""
        self._error = self._error or error

    async def _stop(self) -> None:
        await self._source.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Tap:
    """Calls of a plain iterable."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls: Iterator[Call] = iter(calls)
        self.ended = False

    def take(self, most: int) -> list[Call]:
        """The next ones."""
        taken = list(islice(self._calls, most))
        self.ended = len(taken) < most
        return taken

    async def close(self) -> None:
        """Nothing is open."""


class _Pump:
    """Calls of an asynchronous iterable, drawn by a task of its own, so that answers are given out while it waits."""

    def __init__(self, calls: AsyncIterable[Call], news: asyncio.Event) -> None:
        self._queue: asyncio.Queue[Call] = asyncio.Queue(_TOGETHER)
        self._news = news
        self._task = asyncio.create_task(self._draw(calls))

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._task.done() and self._queue.empty()

    def take(self, most: int) -> list[Call]:
        """Those at hand; raises what the iterable raised."""
        taken: list[Call] = []
        while len(taken) < most and not self._queue.empty():
            taken.append(self._queue.get_nowait())
        if not taken and self._task.done():
            self._task.result()
        return taken

    async def close(self) -> None:
        """Stop drawing."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()):
            log.debug("what draws the calls had ended with %r", error)  # `take` raises it where it matters

    async def _draw(self, calls: AsyncIterable[Call]) -> None:
        try:
            async for call in calls:
                await self._queue.put(call)
                self._news.set()
        finally:
            asyncio.get_running_loop().call_soon(self._news.set)


def ask_all(caller: Caller, calls: Iterable[Call] | AsyncIterable[Call], *, ordered: bool = False) -> AsyncIterator[Answer]:
    """Return the answers to all calls, as they come or in order; at most `limits.ahead` calls are held.

    When the budget ends or no endpoint is left, what is in flight is still answered, recorded and yielded (in order: up to
    the first call without an answer); then the error is raised.
    """
    return Batch(caller, calls, ordered).answers()


async def ask_pilot(caller: Caller, pilot: Iterable[Call], calls: int) -> CostForecast:
    """Ask some typical calls and forecast what `calls` of them will take. Their answers are recorded as always."""
    began = time.monotonic()
    answers = [answer async for answer in ask_all(caller, pilot)]
    took = [Tokens(one.entry.prompt_tokens, one.entry.completion_tokens) for one in answers if one.entry is not None]
    fresh = any(not one.recorded for one in answers)
    seconds = time.monotonic() - began if fresh else 0.0
    return forecast(took, len(answers) - len(took), calls, caller.limits.prices, seconds)


async def run_calls(
    calls: Iterable[Call],
    endpoints: Sequence[str],
    ledger: Ledger | None = None,
    limits: CallLimits | None = None,
    *,
    executor: Executor = "asyncio",
) -> AsyncIterator[Answer]:
    """Yield the answers to all calls, in order: asked by this process, or by the workers of a Ray cluster.

    Raises:
        BudgetSpent, BackendError, StoreError: as `Caller.ask`.
        InputError: `executor` is ray and the package is not installed.
    """
    async with Caller(endpoints, ledger, limits) as caller:
        if executor == "ray":
            from her.inference.ray import run_on_ray

            answers = run_on_ray(caller, calls, list(endpoints))
        else:
            answers = ask_all(caller, calls, ordered=True)
        async for answer in answers:
            yield answer
