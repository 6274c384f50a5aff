"""Run many coroutines at once without losing an answer that was paid for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from her.errors import HerError

T = TypeVar("T")
R = TypeVar("R")


async def gather_all(coroutines: Iterable[Awaitable[R]]) -> list[R]:
    """Run all at once and return what they return, in order.

    When one raises, the others are finished first, because their answers are paid for; then the first error is raised.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await asyncio.gather(*tasks, return_exceptions=True)
    # `result` raises the first error in the order of the coroutines, so that equal runs fail with the same one.
    return [task.result() for task in tasks]


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], width: int) -> AsyncIterator[R]:
    """Run `work` for every item, at most `width` at once, and yield what it returns in the order of the items.

    The first exception ends it. After a `HerError` (budget spent, no endpoint left) the tasks in flight are finished first,
    so that their answers reach the ledger; after any other exception they are cancelled.
    """
    source = iter(items)  # one iterator for all refills: each `for` below continues where the last one broke off
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
        # Also reached when the consumer stops early; after a HerError all tasks are done and this does nothing.
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
