"""Keep the ledger of a run: one row for each answered call, in `calls.sqlite3` of the run's folder.

The key of a call is the SHA-256 of all that determines its answer (`her.inference.call.call_key`), so a resumed run finds
the answers and asks only the rest. Rows are written in groups, each on disk when `write` returns (WAL, synchronous FULL),
and never changed. Answers are compressed with zlib, which halves prose. One process at a time: a second one is refused.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
    inspect,
    make_url,
    select,
)

from her.errors import FormatVersionError, InputError
from her.store.ledger_records import Entry, Failure, StoredText, Sums
from her.store.opening import database_name, sqlite_engine, store_errors

__all__ = ["UNANSWERED", "Entry", "Failure", "Ledger", "StoredText", "Sums"]
FORMAT = 1
APPLICATION = 0x48455243
"""'HERC' as SQLite's application id, in the header of the file: no other database is taken for a ledger."""
QUERY_ROWS = 400
"""Rows that one query reads."""
UNANSWERED = "unanswered"
"""Tier under which `sums` counts the failures."""

_metadata = MetaData()
_calls = Table(
    "calls",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("key", LargeBinary(32), nullable=False, unique=True),
    Column("stage", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    Index("calls_sums", "stage", "tier", "prompt_tokens", "completion_tokens"),
)
_failures = Table(
    "failures",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("key", LargeBinary(32), nullable=False),
    Column("stage", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
)
_FIELDS = [column for column in _calls.c if column.name != "number"]
_NAMES = ", ".join(column.name for column in _FIELDS)
_CACHE_KB = 32_000
"""Page cache of a reading connection; SQLite's default is 2 MB, and a resumed run reads every entry."""


class Ledger:
    """An open ledger, its keys in memory (about 100 bytes each). Methods block and may be called from any thread.

    Args:
        path: the file; created if missing.

    Raises:
        InputError: another process has it open (the message names its id), or it is another program's database.
        StoreError: it is not a database, or cannot be written.
        FormatVersionError: it was written by another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        if not self.path.parent.is_dir():
            raise InputError(f"the folder {str(self.path.parent)!r} does not exist; make it or name another run folder")
        self._lock = FileLock(str(self.path) + ".lock")
        self._owner = self.path.with_name(self.path.name + ".pid")
        self._claim()
        try:
            url = make_url("sqlite://").set(database=str(self.path))
            self._where, self._engine = database_name(url), sqlite_engine(url)
            with store_errors(self._where):
                self._prepare()
                self._numbers = self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the file; may be called twice."""
        if engine := getattr(self, "_engine", None):
            engine.dispose()
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of these keys; absent keys are left out."""
        numbers = [self._numbers[key] for key in keys if key in self._numbers]
        entries: dict[bytes, Entry] = {}
        with self._reading() as connection:
            for start in range(0, len(numbers), QUERY_ROWS):
                # By row number and without SQLAlchemy's row objects, which take as long as the rest: a resumed run reads
                # all entries. The numbers are ours, so putting them into the SQL text is safe.
                wanted = ",".join(map(str, numbers[start : start + QUERY_ROWS]))
                rows = _driver_connection(connection).execute(f"SELECT {_NAMES} FROM calls WHERE number IN ({wanted})")
                entries.update((row[0], _entry(row)) for row in rows)
        return entries

    def entries(self, stage: str | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of one stage, in the order of their writing; memory stays bounded."""
        query = select(*_FIELDS).order_by(_calls.c.number).execution_options(yield_per=QUERY_ROWS)
        with self._reading() as connection:
            for row in connection.execute(query if stage is None else query.where(_calls.c.stage == stage)):
                yield _entry(row)

    def write(self, entries: Iterable[Entry], failures: Iterable[Failure] = ()) -> None:
        """Record answers and failures in one transaction, which is on disk when this returns.

        Raises:
            StoreError: nothing was recorded; a key that is recorded already is such an error.
        """
        rows = [_row(entry) for entry in entries]
        failure_rows = [{name: getattr(failure, name) for name in Failure.__slots__} for failure in failures]
        with store_errors(self._where), self._engine.execution_options(write=True).begin() as connection:
            # Numbered here and not by SQLite: the key of each row is then known to this process without a query.
            first = int(connection.execute(select(func.coalesce(func.max(_calls.c.number), 0))).scalar_one()) + 1
            rows = [row | {"number": number} for number, row in enumerate(rows, first)]
            if rows:
                connection.execute(insert(_calls), rows)
            if failure_rows:
                connection.execute(insert(_failures), failure_rows)
        self._numbers.update((row["key"], row["number"]) for row in rows)  # after the commit, which may fail

    def failures(self) -> list[Failure]:
        """Return the calls that failed and have no answer since, oldest first."""
        columns = [column for column in _failures.c if column.name != "number"]
        query = select(*columns).where(_failures.c.key.not_in(select(_calls.c.key))).order_by(_failures.c.number)
        with self._reading() as connection:
            return [Failure(*row) for row in connection.execute(query)]

    def sums(self) -> dict[tuple[str, str], Sums]:
        """Return the answered calls by stage and tier, and the failures of each stage under tier `UNANSWERED`."""
        tokens = [
            (func.count(), func.sum(table.c.prompt_tokens), func.sum(table.c.completion_tokens)) for table in (_calls, _failures)
        ]
        answered = select(_calls.c.stage, _calls.c.tier, *tokens[0]).group_by(_calls.c.stage, _calls.c.tier)
        failed = select(_failures.c.stage, *tokens[1]).group_by(_failures.c.stage)
        with self._reading() as connection:
            sums = {(row[0], row[1]): Sums(*row[2:]) for row in connection.execute(answered)}
            return sums | {(row[0], UNANSWERED): Sums(*row[1:]) for row in connection.execute(failed)}

    def _claim(self) -> None:
        """Take the lock. The kernel releases it when its process is killed, so a lock file left behind does not matter."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self._owner.read_text("ascii").strip() if self._owner.exists() else ""
            who = f"process {owner}" if owner else "another process"
            raise InputError(f"run folder {str(self.path.parent)!r} is in use by {who}; wait for it to end or stop it") from None
        self._owner.write_text(f"{os.getpid()}\n", "ascii")

    def _prepare(self) -> None:
        """Create the tables in an empty file; refuse a file that is not a ledger of this version."""
        with self._engine.connect() as connection:
            driver = _driver_connection(connection)
            application, version = (driver.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            fresh = not inspect(connection).get_table_names()
        if not fresh and application != APPLICATION:
            raise InputError(f"file {str(self.path)!r} is a database of something else; give another run folder")
        if not fresh and version != FORMAT:
            raise FormatVersionError(
                f"ledger {str(self.path)!r} has format {version}, this program reads {FORMAT}; use the program that wrote it"
            )
        with self._engine.connect() as connection:
            _driver_connection(connection).execute("PRAGMA journal_mode=WAL")  # stays set in the file
        if fresh:
            with self._engine.execution_options(write=True).begin() as connection:
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION}")
                connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")

    def _load(self) -> dict[bytes, int]:
        """Return the row number of each key, read from the index alone."""
        with self._engine.connect() as connection:
            return dict(_driver_connection(connection).execute("SELECT key, number FROM calls").fetchall())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with store_errors(self._where), self._engine.connect() as connection:
            _driver_connection(connection).execute(f"PRAGMA cache_size=-{_CACHE_KB}")
            yield connection


def _driver_connection(connection: Connection) -> Any:
    """Return the connection of the sqlite3 module that SQLAlchemy uses."""
    return connection.connection.driver_connection


def _row(entry: Entry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in Entry.__slots__ if name != "content"}
    return row | {"packed": entry.content.packed}


def _entry(row: Any) -> Entry:
    return Entry(row[0], row[1], row[2], StoredText(packed=row[-1]), *row[3:-1])
