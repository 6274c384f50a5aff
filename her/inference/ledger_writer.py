"""Read and write the ledger from an event loop: one query for all reads of a moment, one transaction for all writes.

A write returns when it is on disk. A commit for each call would cost more than the call, so writes gather during a pause
between two commits. After a kill, only the calls whose write had not returned are asked again.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from her.store.ledger import Entry, Failure, Ledger

PAUSE_FACTOR, LONGEST_PAUSE = 4, 0.05
"""The pause is 4 times the duration of the last commit, at most 50 ms: commits take a fifth of the time of one thread."""


class RecordedGroup:
    """Recorded calls that were looked up together; all their entries are read when the first is used, or never."""

    __slots__ = ("_entries", "_keys", "_ledger")

    def __init__(self, ledger: Ledger | None, keys: Sequence[bytes]) -> None:
        self._ledger, self._keys = ledger, keys
        self._entries: dict[bytes, Entry] | None = None

    def read(self, key: bytes) -> Entry:
        """Return one entry of the group; the first call blocks for some milliseconds."""
        if self._entries is None:
            self._entries = self._ledger.read(self._keys) if self._ledger is not None else {}
        return self._entries[key]


class LedgerWriter:
    """Access to one ledger from one event loop; without a ledger nothing is kept."""

    def __init__(self, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self._reads: dict[bytes, asyncio.Future[Entry]] = {}
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._written: asyncio.Future[None] | None = None
        """Done when all that `_entries` and `_failures` hold is on disk."""
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "ledger")  # one: commits exclude each other anyway

    def __contains__(self, key: bytes) -> bool:
        return self._ledger is not None and key in self._ledger

    def group(self, keys: Sequence[bytes]) -> RecordedGroup:
        """Return these keys as one group; all are recorded, a few hundred at most."""
        return RecordedGroup(self._ledger, keys)

    async def read(self, key: bytes) -> Entry:
        """Return the entry of a recorded key."""
        if key not in self._reads:
            loop = asyncio.get_running_loop()
            self._reads[key] = loop.create_future()
            if len(self._reads) == 1:  # the first of a moment: the others come before the loop gets to `_read_all`
                loop.call_soon(self._read_all)
        return await asyncio.shield(self._reads[key])

    def _read_all(self) -> None:
        reads, self._reads = self._reads, {}
        try:
            group = self.group(list(reads))
            for key, place in reads.items():
                place.set_result(group.read(key))
        except Exception as error:
            for place in reads.values():
                if not place.done():
                    place.set_exception(error)

    async def write(self, entry: Entry | None = None, failure: Failure | None = None) -> None:
        """Record an answer or a failure, and return when it is on disk.

        Raises:
            StoreError: nothing of this transaction was recorded, since the disk is full, for example.
        """
        if self._ledger is None:
            return
        if entry is not None:
            self._entries.append(entry)
        if failure is not None:
            self._failures.append(failure)
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(self._ledger))
        await asyncio.shield(written)  # a cancelled caller must not cancel the write of the others

    async def close(self) -> None:
        """Write the rest and end the thread."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])
        self._thread.shutdown()

    async def _write_all(self, ledger: Ledger) -> None:
        loop = asyncio.get_running_loop()
        while self._written is not None:
            entries, failures, written = self._entries, self._failures, self._written
            self._entries, self._failures, self._written = [], [], None
            began = loop.time()
            try:
                await loop.run_in_executor(self._thread, ledger.write, entries, failures)
            except Exception as error:
                written.set_exception(error)  # to those whose rows were in this transaction; the next is tried
                continue
            written.set_result(None)
            await asyncio.sleep(min(LONGEST_PAUSE, PAUSE_FACTOR * (loop.time() - began)))
