"""The ledger of a run: one row for each call that was answered, in `calls.sqlite3` of the run's folder.

A call is known by the SHA-256 of all that determines its answer (her/inference/caller.py), so a resumed run finds what
 was answered and asks only the rest. Rows are written in groups, each on disk when `write` returns (WAL, FULL), and
never changed. Answers are packed with zlib, which halves prose. One process at a time: the second is refused.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from her.errors import FormatVersionError, InputError, StoreError
from her.store.opening import place, sentences, sqlite_engine

FORMAT = 1
APPLICATION = 0x48455243
"""'HERC' in the header of the file, so that no other database is taken for a ledger."""
AT_ONCE = 400
"""Keys in one query; SQLite takes 999 in its oldest builds."""

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


class StoredText:
    """What a model said: unpacked only when it is looked at, because a run that goes on looks at little of it.

    Args:
        text: byte for byte.
        reasoning: of an API-native field.
        fixed: the JSON that was made of `text` where `text` itself is not that; else empty.
    """

    __slots__ = ("_packed", "_texts")

    def __init__(self, text: str = "", reasoning: str = "", fixed: str = "", *, packed: bytes = b"") -> None:
        self._packed = packed
        self._texts = None if packed else (text, reasoning, fixed)

    @property
    def text(self) -> str:
        return self._all()[0]

    @property
    def reasoning(self) -> str:
        return self._all()[1]

    @property
    def fixed(self) -> str:
        return self._all()[2]

    @property
    def packed(self) -> bytes:
        """As it is stored."""
        return self._packed or pack(*self._all())

    def _all(self) -> tuple[str, str, str]:
        if self._texts is None:
            self._texts = unpack(self._packed)
        return self._texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredText) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"Said{self._all()!r}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered call as recorded. Tokens are those of all its requests together, also of failed ones.

    Args:
        key: SHA-256 of all that determines the answer, 32 bytes.
        tier: how its structure was got (her/inference/structured.py), empty for free text.
        error: why an answer is not usable; such an answer is recorded too, because asking again gives the same.
    """

    key: bytes
    stage: str
    model: str
    said: StoredText
    tier: str = ""
    finish: str = "stop"
    error: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that got no answer; asked again when the run goes on. `name` is the caller's name of the call."""

    key: bytes
    stage: str
    name: str
    reason: str
    error: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """What one stage holds: calls by tier and the tokens they and the failed ones took."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Ledger:
    """An open ledger, its keys in memory (about 100 bytes each). Methods block and may be called from any thread.

    Args:
        path: the file; made when missing.

    Raises:
        InputError: another process has it open; its id is named.
        StoreError: not a database, or it cannot be written.
        FormatVersionError: written by another version.
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
            self._where, self._engine = place(url), sqlite_engine(url)
            with sentences(self._where):
                self._prepare()
                self._numbers = self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; may be called twice."""
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
        """The entries of these keys; absent ones are left out."""
        numbers = [self._numbers[key] for key in keys if key in self._numbers]
        found: dict[bytes, Entry] = {}
        with self._reading() as connection:
            for start in range(0, len(numbers), AT_ONCE):
                # By number and past SQLAlchemy's rows: a run that goes on reads them all, and this is half of the time.
                wanted = ",".join(map(str, numbers[start : start + AT_ONCE]))
                rows = _bare(connection).execute(f"SELECT {_NAMES} FROM calls WHERE number IN ({wanted})")
                found.update((row[0], _entry(row)) for row in rows)
        return found

    def entries(self, stage: str | None = None) -> Iterator[Entry]:
        """All entries, or those of one stage, in the order they were answered; bounded memory."""
        query = select(*_FIELDS).order_by(_calls.c.number).execution_options(yield_per=AT_ONCE)
        with self._reading() as connection:
            for row in connection.execute(query if stage is None else query.where(_calls.c.stage == stage)):
                yield _entry(row)

    def write(self, entries: Iterable[Entry], failures: Iterable[Failure] = ()) -> None:
        """Record answers and failures in one transaction, on disk when it returns."""
        rows = [_row(entry) for entry in entries]
        lost = [{name: getattr(failure, name) for name in Failure.__slots__} for failure in failures]
        with sentences(self._where), self._engine.execution_options(write=True).begin() as connection:
            first = int(connection.execute(select(func.coalesce(func.max(_calls.c.number), 0))).scalar_one()) + 1
            rows = [row | {"number": number} for number, row in enumerate(rows, first)]
            if rows:
                connection.execute(insert(_calls), rows)
            if lost:
                connection.execute(insert(_failures), lost)
        self._numbers.update((row["key"], row["number"]) for row in rows)

    def failures(self) -> list[Failure]:
        """The calls that got no answer and have none since, oldest first."""
        columns = [column for column in _failures.c if column.name != "number"]
        query = select(*columns).where(_failures.c.key.not_in(select(_calls.c.key))).order_by(_failures.c.number)
        with self._reading() as connection:
            return [Failure(*row) for row in connection.execute(query)]

    def sums(self) -> dict[tuple[str, str], Sums]:
        """By stage and tier, what was answered; under tier `unanswered` what the failures took."""
        tokens = [
            (func.count(), func.sum(table.c.prompt_tokens), func.sum(table.c.completion_tokens)) for table in (_calls, _failures)
        ]
        answered = select(_calls.c.stage, _calls.c.tier, *tokens[0]).group_by(_calls.c.stage, _calls.c.tier)
        failed = select(_failures.c.stage, *tokens[1]).group_by(_failures.c.stage)
        with self._reading() as connection:
            sums = {(row[0], row[1]): Sums(*row[2:]) for row in connection.execute(answered)}
            return sums | {(row[0], "unanswered"): Sums(*row[1:]) for row in connection.execute(failed)}

    def _claim(self) -> None:
        """Take the lock. The kernel frees it when its process is killed, so a stale file is taken over without asking."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self._owner.read_text("ascii").strip() if self._owner.exists() else ""
            who = f"process {owner}" if owner else "another process"
            raise InputError(f"run folder {str(self.path.parent)!r} is in use by {who}; wait for it to end or stop it") from None
        self._owner.write_text(f"{os.getpid()}\n", "ascii")

    def _prepare(self) -> None:
        """Make the tables in an empty file; refuse what is no ledger of this version. WAL lasts in the file."""
        with self._engine.connect() as connection:
            bare = _bare(connection)
            application, version = (bare.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            fresh = not inspect(connection).get_table_names()
        if not fresh and application != APPLICATION:
            raise InputError(f"file {str(self.path)!r} is a database of something else; give another run folder")
        if not fresh and version != FORMAT:
            raise FormatVersionError(
                f"ledger {str(self.path)!r} has format {version}, this program reads {FORMAT}; use the program that wrote it"
            )
        with self._engine.connect() as connection:
            _bare(connection).execute("PRAGMA journal_mode=WAL")
        if fresh:
            with self._engine.execution_options(write=True).begin() as connection:
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION}")
                connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")

    def _load(self) -> dict[bytes, int]:
        """Number of each key, from the index alone."""
        with self._engine.connect() as connection:
            return dict(_bare(connection).execute("SELECT key, number FROM calls").fetchall())

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with sentences(self._where), self._engine.connect() as connection:
                _bare(connection).execute(f"PRAGMA cache_size=-{_CACHE_KB}")
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"the ledger {self._where} cannot be read: {error}; restore a copy of it") from error


def _bare(connection: Connection) -> Any:
    """The connection below SQLAlchemy."""
    return connection.connection.driver_connection


def _row(entry: Entry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in Entry.__slots__ if name != "said"}
    return row | {"packed": entry.said.packed}


def _entry(row: Any) -> Entry:
    return Entry(row[0], row[1], row[2], StoredText(packed=row[-1]), *row[3:-1])


def pack(text: str, reasoning: str, fixed: str) -> bytes:
    """Three texts as bytes, compressed where that pays. The first byte: 1 compressed, 2 only the first text is not empty."""
    if not reasoning and not fixed:
        mark, plain = 2, text.encode("utf-8", "surrogatepass")
    else:
        mark, plain = 0, json.dumps((text, reasoning, fixed), ensure_ascii=False).encode("utf-8", "surrogatepass")
    small = zlib.compress(plain)
    return bytes((mark | 1,)) + small if len(small) < len(plain) else bytes((mark,)) + plain


def unpack(packed: bytes) -> tuple[str, str, str]:
    """The texts that were packed."""
    mark, plain = packed[0], packed[1:]
    text = (zlib.decompress(plain) if mark & 1 else plain).decode("utf-8", "surrogatepass")
    if mark & 2:
        return text, "", ""
    first, second, third = json.loads(text)
    return first, second, third
