"""Ask many calls in one pass with bounded memory: recorded answers are read in groups, the rest is asked by tasks."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from her.inference.budget import CostForecast, TokenCount, forecast
from her.inference.call import Answer, Call, CallLimits
from her.inference.caller import Caller
from her.store.ledger import Ledger

_GROUP = 128
"""Calls that are taken from the source and looked up together; the loop is blocked while their prompts are built."""

log = logging.getLogger(__name__)
Executor = Literal["asyncio", "ray"]


@dataclass(slots=True)
class _Slot:
    """One call of the pass; `answer` is None until it comes."""

    call: Call
    answer: Answer | None = None


class Batch:
    """State of one pass; see `ask_all`."""

    def __init__(self, caller: Caller, calls: Iterable[Call] | AsyncIterable[Call], ordered: bool) -> None:
        self._caller, self._ordered = caller, ordered
        self._slots: deque[_Slot] = deque()
        """Ordered: all calls that are held. Unordered: those that are answered."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._feed = _AsyncFeed(calls, self._changed) if isinstance(calls, AsyncIterable) else _Feed(calls)
        # Twice what may be in flight: the next call is there when a place gets free.
        room = 2 * sum(endpoint.limits.max_in_flight for endpoint in caller.endpoints)
        self._ahead = max(caller.limits.ahead, room)

    async def answers(self) -> AsyncIterator[Answer]:
        """Start calls, yield answers, wait for a change, until nothing is left."""
        try:
            while True:
                self._changed.clear()
                self._start_calls()
                yielded = 0
                while (answer := self._next()) is not None:
                    yield answer
                    yielded += 1
                if self._ended():
                    break
                if not yielded:
                    await self._changed.wait()
        finally:  # also when the consumer stops early
            await self._close()
        if self._error is not None:
            raise self._error

    def _ended(self) -> bool:
        """Tell whether no answer can follow: everything is yielded, or an error has left a gap."""
        if self._tasks:
            return False
        return self._error is not None or (self._feed.ended and not self._slots)

    def _next(self) -> Answer | None:
        """Return the next answer that can be yielded."""
        return self._slots.popleft().answer if self._slots and self._slots[0].answer is not None else None

    def _start_calls(self) -> None:
        """Take calls until `_ahead` of them are held, or the source has none ready."""
        while self._error is None:
            # Ordered, calls in flight have a slot as well, since later answers wait there for earlier ones.
            held = len(self._slots) if self._ordered else len(self._slots) + len(self._tasks)
            # Below a quarter of the room no calls are taken: a group of a few would cost a lookup each.
            if self._ahead - held < min(_GROUP, self._ahead // 4 + 1):
                return
            calls = self._feed.take(min(_GROUP, self._ahead - held))
            if not calls:
                return
            self._start_group(calls)

    def _start_group(self, calls: list[Call]) -> None:
        keys = [self._caller.key(call) for call in calls]
        for call, key, recorded in zip(calls, keys, self._caller.recorded_answers(calls, keys), strict=True):
            slot = _Slot(call, recorded)
            if self._ordered or recorded is not None:
                self._slots.append(slot)
            if recorded is None:
                task = asyncio.create_task(self._ask(slot, key))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)  # the set keeps tasks from being garbage collected

    async def _ask(self, slot: _Slot, key: bytes) -> None:
        try:
            slot.answer = await self._caller.ask_endpoint(slot.call, key)
            if not self._ordered:
                self._slots.append(slot)
        except Exception as error:
            self._error = self._error or error  # the first is raised in the end; no further call is started
        finally:
            # Not at once: `_ended` counts `_tasks`, which this task leaves only when it has returned.
            asyncio.get_running_loop().call_soon(self._changed.set)

    async def _close(self) -> None:
        await self._feed.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Feed:
    """Source of calls from a plain iterable."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls: Iterator[Call] = iter(calls)
        self.ended = False

    def take(self, most: int) -> list[Call]:
        """Return the next calls."""
        calls = list(islice(self._calls, most))
        self.ended = len(calls) < most  # asking on would block a source that waits for an answer
        return calls

    async def close(self) -> None:
        """Do nothing: a plain iterable is not open."""


class _AsyncFeed:
    """Source of calls from an asynchronous iterable. A task draws from it, so that answers are yielded while it waits."""

    def __init__(self, calls: AsyncIterable[Call], changed: asyncio.Event) -> None:
        self._queue: asyncio.Queue[Call] = asyncio.Queue(_GROUP)
        self._changed = changed
        self._task = asyncio.create_task(self._draw(calls))

    @property
    def ended(self) -> bool:
        """Tell whether no call will follow."""
        return self._task.done() and self._queue.empty()

    def take(self, most: int) -> list[Call]:
        """Return the calls that are ready; raise what the iterable raised."""
        calls: list[Call] = []
        while len(calls) < most and not self._queue.empty():
            calls.append(self._queue.get_nowait())
        if not calls and self._task.done():
            self._task.result()
        return calls

    async def close(self) -> None:
        """Stop drawing."""
        self._task.cancel()
        await asyncio.wait({self._task})  # unlike `await`, this does not raise what the task raised
        if not self._task.cancelled() and (error := self._task.exception()):
            log.debug("the source of the calls had ended with %r", error)  # `take` raises it where it matters

    async def _draw(self, calls: AsyncIterable[Call]) -> None:
        try:
            async for call in calls:
                await self._queue.put(call)
                self._changed.set()
        finally:
            asyncio.get_running_loop().call_soon(self._changed.set)  # not at once: `ended` asks whether the task is done


def ask_all(caller: Caller, calls: Iterable[Call] | AsyncIterable[Call], *, ordered: bool = False) -> AsyncIterator[Answer]:
    """Yield the answers to all calls, as they come or in order; at most `limits.ahead` calls are held.

    When the budget is spent or no endpoint is left, calls in flight are still answered, recorded and yielded (in order: up
    to the first call without an answer); then the error is raised.

    Raises:
        BudgetSpent, BackendError, StoreError: as `Caller.ask`.
    """
    return Batch(caller, calls, ordered).answers()


async def ask_pilot(caller: Caller, pilot: Iterable[Call], calls: int) -> CostForecast:
    """Ask some typical calls and return the forecast for `calls` of them; their answers are recorded as always."""
    began = time.monotonic()
    answers = [answer async for answer in ask_all(caller, pilot)]
    entries = [answer.entry for answer in answers if answer.entry is not None]
    used = [TokenCount(entry.prompt_tokens, entry.completion_tokens) for entry in entries]
    fresh = any(not answer.recorded for answer in answers)  # reading the ledger says nothing about the endpoints' speed
    seconds = time.monotonic() - began if fresh else 0.0
    return forecast(used, len(answers) - len(used), calls, caller.limits.prices, seconds)


async def run_calls(
    calls: Iterable[Call],
    endpoints: Sequence[str],
    ledger: Ledger | None = None,
    limits: CallLimits | None = None,
    *,
    executor: Executor = "asyncio",
) -> AsyncIterator[Answer]:
    """Yield the answers to all calls in order, asked by this process or by the workers of a Ray cluster.

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
