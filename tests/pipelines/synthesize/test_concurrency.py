"""Many coroutines at once: order, width, and what happens to the others when one fails."""

import asyncio

import pytest

from her.errors import HerError
from pipelines.synthesize.concurrency import gather_all, in_order


class Work:
    """Coroutines that record when they run; item 3 fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.running = self.most = 0
        self.finished: list[int] = []

    async def __call__(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(10 - item):  # later items are faster
                await asyncio.sleep(0)
            if self.error and item == 3:
                raise self.error
            self.finished.append(item)
            return item
        finally:
            self.running -= 1


async def test_values_come_in_the_order_of_the_items_and_at_most_width_run() -> None:
    work = Work()
    assert [value async for value in in_order(range(9), work, 4)] == list(range(9))
    assert work.most == 4 and work.finished != sorted(work.finished)


async def test_after_a_her_error_what_is_in_flight_is_finished() -> None:
    work = Work(HerError("the budget is spent"))
    with pytest.raises(HerError, match="budget"):
        async for _ in in_order(range(9), work, 4):
            pass
    assert set(work.finished) >= {0, 1, 2, 4, 5, 6} and not work.running


async def test_after_any_other_error_what_is_in_flight_is_cancelled() -> None:
    work = Work(ValueError("a bug"))
    with pytest.raises(ValueError, match="bug"):
        async for _ in in_order([3, 0], work, 2):
            pass
    assert work.finished == [] and not work.running


async def test_gather_all_finishes_the_others_before_it_raises() -> None:
    work = Work(HerError("lost"))
    with pytest.raises(HerError, match="lost"):
        await gather_all(work(item) for item in (3, 0, 1))
    assert sorted(work.finished) == [0, 1]
    assert await gather_all(Work()(item) for item in (3, 0, 1)) == [3, 0, 1]
