"""Reads and writes of one moment are one query and one transaction; an error reaches exactly those it concerns."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from her.errors import StoreError
from her.inference.ledger_writer import LedgerWriter
from her.store.ledger import Entry, Failure, Ledger, StoredText
from tests.inference.virtual_time import VirtualLoop, virtual_time


def entry(number: int) -> Entry:
    return Entry(bytes([number]) * 32, "plans", "m", StoredText(f"said {number}"))


def failure(number: int) -> Failure:
    return Failure(bytes([number]) * 32, "plans", f"t{number}", "timeout", "late")


class Watched(Ledger):
    """A ledger that notes the size of each read and write, and whose writes wait and fail on demand."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[int] = []
        self.writes: list[tuple[int, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def read(self, keys: Any) -> Any:
        self.reads.append(len(keys))
        return super().read(keys)

    def write(self, entries: Any, failures: Any = ()) -> None:
        self.writes.append((len(entries), len(failures)))
        self.gate.wait(60)
        if self.error is not None:
            raise self.error
        super().write(entries, failures)


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    with Watched(tmp_path / "calls.sqlite3") as opened:
        yield opened


async def test_writes_during_a_commit_are_one_transaction(watched: Watched) -> None:
    writer = LedgerWriter(watched)
    watched.gate.clear()
    tasks = [asyncio.create_task(writer.write(entry(1)))]
    while not watched.writes:
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(writer.write(entry(number))) for number in range(2, 10)]
    tasks.append(asyncio.create_task(writer.write(failure=failure(10))))
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "a write returns when it is on disk"
    watched.gate.set()
    await asyncio.gather(*tasks)
    assert watched.writes == [(1, 0), (8, 1)] and len(watched) == 9
    assert [each.name for each in watched.failures()] == ["t10"]
    await writer.close()


async def test_reads_of_one_moment_are_one_query(watched: Watched) -> None:
    watched.write([entry(number) for number in range(5)])
    writer = LedgerWriter(watched)
    entries = await asyncio.gather(*(writer.read(entry(number).key) for number in (0, 1, 2, 2)))
    assert [each.content.text for each in entries] == ["said 0", "said 1", "said 2", "said 2"]
    assert (await writer.read(entry(4).key)).content.text == "said 4"
    assert watched.reads == [3, 1]
    assert entry(4).key in writer and entry(5).key not in writer
    await writer.close()


async def test_an_error_of_a_read_reaches_all_who_wait(watched: Watched) -> None:
    writer = LedgerWriter(watched)
    ended = await asyncio.gather(*(writer.read(entry(number).key) for number in range(2)), return_exceptions=True)
    assert [type(error) for error in ended] == [KeyError, KeyError]
    await writer.close()


async def test_an_error_of_a_write_reaches_its_callers_and_the_next_write_works(watched: Watched) -> None:
    writer = LedgerWriter(watched)
    watched.error = StoreError("the disk is full")
    ended = await asyncio.gather(*(writer.write(entry(number)) for number in range(2)), return_exceptions=True)
    assert [type(error) for error in ended] == [StoreError, StoreError]
    watched.error = None
    await writer.write(entry(3))
    assert [each.content.text for each in watched.entries()] == ["said 3"]
    await writer.close()


async def test_a_cancelled_caller_does_not_cancel_the_write(watched: Watched) -> None:
    writer = LedgerWriter(watched)
    watched.gate.clear()
    task, other = (asyncio.create_task(writer.write(entry(number))) for number in range(2))
    while not watched.writes:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    watched.gate.set()
    await other
    assert task.cancelled() and len(watched) == 2
    await writer.close()


async def test_closing_waits_for_the_last_write(watched: Watched) -> None:
    writer = LedgerWriter(watched)
    watched.gate.clear()
    task = asyncio.create_task(writer.write(entry(1)))
    while not watched.writes:
        await asyncio.sleep(0.001)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    assert not closing.done()
    watched.gate.set()
    await closing
    assert task.done() and len(watched) == 1


class SlowLedger:
    """A ledger whose commits take some seconds of virtual time; notes when each begins."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begins = seconds, []
        self._loop = asyncio.get_running_loop()

    def write(self, entries: Any, failures: Any) -> None:
        self.begins.append(self._loop.time())
        assert isinstance(self._loop, VirtualLoop)
        self._loop.advance(self.seconds)


@pytest.mark.parametrize(("seconds", "pause"), [(0.002, 0.008), (1.0, 0.05)])
@virtual_time
async def test_the_pause_between_commits_is_in_proportion_and_bounded(seconds: float, pause: float) -> None:
    """So commits take at most a fifth of the time, and a slow disk does not delay answers for long."""
    ledger = SlowLedger(seconds)
    writer = LedgerWriter(ledger)  # type: ignore[arg-type]
    await writer.write(entry(1))
    assert asyncio.get_running_loop().time() == seconds
    await writer.write(entry(2))
    await asyncio.sleep(10)
    await writer.write(entry(3))  # after a rest it does not wait
    await writer.close()
    second = seconds + pause
    assert ledger.begins == pytest.approx([0, second, second + seconds + 10])


async def test_without_a_ledger_nothing_is_kept() -> None:
    writer = LedgerWriter(None)
    await writer.write(entry(1))
    assert entry(1).key not in writer
    await writer.close()
