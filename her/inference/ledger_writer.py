"""The ledger as asynchronous callers see it: reads of one moment are one query, writes of one moment one transaction.

A write returns when it is on disk. Between two commits lies SHARE times as long as the last one took: a commit a call
would cost more than the call, and what is answered in between is asked again after a kill.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from her.store.ledger import Entry, Failure, Ledger

SHARE, LONGEST = 4, 0.05
"""The longest pause is in seconds."""


class Group:
    """Recorded calls that were found together; all their entries are read when the first is looked at, or never."""

    __slots__ = ("_entries", "_keys", "_ledger")

    def __init__(self, ledger: Ledger | None, keys: Sequence[bytes]) -> None:
        self._ledger, self._keys = ledger, keys
        self._entries: dict[bytes, Entry] | None = None

    def read(self, key: bytes) -> Entry:
        """One of them; the loop waits some milliseconds for the first."""
        if self._entries is None:
            self._entries = self._ledger.read(self._keys) if self._ledger is not None else {}
        return self._entries[key]


class Recorder:
    """Reads and writes one ledger from one event loop; None keeps nothing."""

    def __init__(self, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self._wanted: dict[bytes, asyncio.Future[Entry]] = {}
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._written: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "ledger")

    def __contains__(self, key: bytes) -> bool:
        return self._ledger is not None and key in self._ledger

    def group(self, keys: Sequence[bytes]) -> Group:
        """These keys, all of them recorded; a few hundred at most."""
        return Group(self._ledger, keys)

    async def read(self, key: bytes) -> Entry:
        """The entry of a key that is recorded."""
        if key not in self._wanted:
            loop = asyncio.get_running_loop()
            self._wanted[key] = loop.create_future()
            if len(self._wanted) == 1:
                loop.call_soon(self._fetch)
        return await asyncio.shield(self._wanted[key])

    def _fetch(self) -> None:
        wanted, self._wanted = self._wanted, {}
        try:
            found = self.group(list(wanted))
            for key, place in wanted.items():
                place.set_result(found.read(key))
        except Exception as error:
            for place in wanted.values():
                if not place.done():
                    place.set_exception(error)

    async def write(self, entry: Entry | None = None, failure: Failure | None = None) -> None:
        """Record; returns when it is on disk.

        Raises:
            StoreError: the disk is full, say; nothing of this moment was recorded then.
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
        await asyncio.shield(written)

    async def close(self) -> None:
        """Write what is left."""
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
                written.set_exception(error)
                continue
            written.set_result(None)
            await asyncio.sleep(min(LONGEST, SHARE * (loop.time() - began)))
