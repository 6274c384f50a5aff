"""Write the changes of the database as segments, and rebuild the database from segments.

A segment is a gzip file of JSON lines. Its first line is a `SegmentHead`; each other line is one row as it was when the segment
was cut, `{"table": "ratings", "row": {...}}`, or the id of one that was deleted, `{"table": "ratings", "gone": "..."}`. Segments
are named by boot and sequence, never by the clock, and each names the one before it, so that a missing one is noticed. Rows are
written by primary key: the last state wins, and applying a segment twice changes nothing.

Triggers note every changed row in the table `outbox`, in the transaction of the change (migrations/versions/0004_outbox.py).
An entry leaves the outbox only after the segments that hold its row are known to be kept.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy import Connection, Table, delete, exc, func, insert, literal, select, update

from her.errors import StoreError
from her.store.core import Core
from her.store.migrations import REVISIONS
from her.store.tables import (
    assignments,
    ballots,
    choices,
    consents,
    conversations,
    durable,
    edits,
    generations,
    nodes,
    outbox,
    ratings,
    tombstones,
    visitors,
    votes,
)
from her.types import Value

TABLES = {
    table.name: table
    for table in (
        visitors,
        conversations,
        generations,
        nodes,
        ratings,
        choices,
        edits,
        ballots,
        votes,
        consents,
        assignments,
        tombstones,
    )
}
"""Tables that are kept, each after those that it refers to."""
PART_CHARACTERS = 8_000_000
"""Characters of JSON after which the next segment begins; compressed this is far below any limit of a repository."""
BATCH = 1_000
"""Rows that are written together when the database is rebuilt."""
REBUILD_CACHE_KB = -131_072
"""Page cache of SQLite while the database is rebuilt; negative numbers are kilobytes."""
_NAME = re.compile(r"boot-(\d{6,})/segment-(\d{6,})\.jsonl\.gz")


class Place(NamedTuple):
    """Place of a segment: number of the start that wrote it, and its number within that; both from 1."""

    boot: int
    sequence: int

    @property
    def name(self) -> str:
        """Return the path of the segment in its repository."""
        return f"boot-{self.boot:06d}/segment-{self.sequence:06d}.jsonl.gz"


def parse_name(name: str) -> Place | None:
    """Return the place that a path names; None for another file."""
    found = _NAME.fullmatch(name)
    return Place(int(found[1]), int(found[2])) if found else None


class SegmentHead(Value):
    """First line of a segment.

    Args:
        segment: its own name.
        after: name of the segment before; empty where everything begins.
        revision: of the tables that wrote it.
        lines: lines that follow.
    """

    segment: str
    after: str
    revision: str
    lines: int


class Keeping(Value):
    """Knowledge of a database about its copy.

    Args:
        repository: where the segments are.
        kept: name of the last segment that is known to be kept; empty for none.
        sending: name of the last segment that was sent without an answer so far; empty for none.
        through: number in the outbox up to which those hold the changes.
    """

    repository: str
    kept: str = ""
    sending: str = ""
    through: int = 0


class CutSegments(NamedTuple):
    """Segments with all changes up to `through` in the outbox, by name, in order."""

    files: Mapping[str, bytes]
    through: int


def keeping(store: Core) -> Keeping | None:
    """Return what the database knows of its copy; None when it has none."""
    with store.reading() as connection:
        row = connection.execute(select(durable)).one_or_none()
    return None if row is None else Keeping(**row._mapping)


def keep(store: Core, state: Keeping, everything: bool = False) -> None:
    """Note changes from now on, for this repository; with `everything`, also all rows that are there already."""
    with store.writing() as connection:
        connection.execute(delete(durable))
        connection.execute(insert(durable).values(state.model_dump()))
        if everything:
            connection.execute(delete(outbox))
            for name, table in TABLES.items():
                connection.execute(insert(outbox).from_select(["table_name", "row_id"], select(literal(name), table.c.id)))


def waiting(store: Core) -> int:
    """Return the number of changes that are not known to be kept."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(outbox)).scalar_one())


def holds_rows(store: Core) -> bool:
    """Return whether anything was ever written."""
    with store.reading() as connection:
        return any(connection.execute(select(table.c.id).limit(1)).first() for table in TABLES.values())


def cut_segments(store: Core, place: Place, after: str, everything: bool = False) -> CutSegments | None:
    """Write all changes since the last confirmation as segments, from this place on; None where there is none.

    Args:
        place: of the first segment.
        after: name of the segment before it; empty with `everything`.
        everything: write all rows, in place of all segments so far.
    """
    with store.reading() as connection:
        through = connection.execute(select(func.max(outbox.c.seq))).scalar_one()
        if through is None and not everything:
            return None
        lines = _all_rows(connection) if everything else _changed_rows(connection)
        files: dict[str, bytes] = {}
        for part in _parts(lines):
            files[place.name] = _pack(part, place.name, after)
            after, place = place.name, Place(place.boot, place.sequence + 1)
    return CutSegments(files, through or 0)


def note_sending(store: Core, sending: str, through: int) -> None:
    """Save, before anything leaves, which changes the segments up to `sending` hold."""
    with store.writing() as connection:
        connection.execute(update(durable).values(sending=sending, through=through))


def confirm(store: Core) -> None:
    """Note that what was sent is kept: its changes leave the outbox."""
    with store.writing() as connection:
        row = connection.execute(select(durable)).one()
        if row.sending:
            connection.execute(delete(outbox).where(outbox.c.seq <= row.through))
            connection.execute(update(durable).values(kept=row.sending, sending="", through=0))


def _changed_rows(connection: Connection) -> Iterator[str]:
    """Yield the lines of all changed rows as they are now, deletions first: a number may have gone to another row since."""
    ids = "SELECT DISTINCT row_id FROM outbox WHERE table_name = ?"
    for name in TABLES:
        gone = f"SELECT row_id FROM ({ids}) WHERE row_id NOT IN (SELECT id FROM {name})"
        for (row_id,) in connection.exec_driver_sql(gone, (name,)):
            yield json.dumps({"table": name, "gone": row_id})
    for name in TABLES:
        # Ordered, so that equal changes are written as equal bytes.
        yield from _rows(connection, name, f"SELECT * FROM {name} WHERE id IN ({ids}) ORDER BY rowid", (name,))


def _all_rows(connection: Connection) -> Iterator[str]:
    for name in TABLES:
        yield from _rows(connection, name, f"SELECT * FROM {name} ORDER BY rowid", ())


def _rows(connection: Connection, name: str, query: str, values: tuple[str, ...]) -> Iterator[str]:
    # By the driver: the values as they are stored, which is exact, and ten times faster than reading and writing them.
    rows = connection.exec_driver_sql(query, values)
    columns = list(rows.keys())
    for row in rows:
        yield json.dumps({"table": name, "row": dict(zip(columns, row, strict=True))}, ensure_ascii=False)


def _parts(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the lines in groups of about PART_CHARACTERS; one empty group where there are none."""
    part: list[str] = []
    size = 0
    for line in lines:
        if part and size + len(line) > PART_CHARACTERS:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    yield part


def _pack(lines: list[str], name: str, after: str) -> bytes:
    head = SegmentHead(segment=name, after=after, revision=REVISIONS[-1], lines=len(lines))
    text = "\n".join([head.model_dump_json(), *lines]) + "\n"
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)  # no time in it: equal content has equal bytes


# Rebuilding


def rebuild(store: Core, segments: Iterable[tuple[str, bytes]], state: Keeping) -> int:
    """Fill an empty database from segments, in one transaction; return the number of lines.

    Args:
        store: a database without rows.
        segments: name and content, in order.
        state: what the database knows of its copy afterwards.

    Raises:
        StoreError: a segment is missing, damaged, or from a newer version; nothing was changed.
    """
    count, last = 0, ""
    with store.writing() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # a row may refer to one in a later segment
        connection.exec_driver_sql(f"PRAGMA cache_size={REBUILD_CACHE_KB}")  # else random pages go to the disk and back
        connection.execute(delete(durable))  # what follows is no change
        connection.execute(delete(outbox))
        for name, content in segments:
            head, lines = _unpack(name, content)
            if head.after != last:
                raise StoreError(f"segment '{name}' follows '{head.after}', which is missing; restore it in the repository")
            try:
                _apply(connection, lines)
            except (exc.IntegrityError, KeyError, TypeError, AttributeError) as error:
                raise StoreError(f"segment '{name}' does not fit the ones before it ({_reason(error)})") from error
            count, last = count + head.lines, name
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise StoreError(f"the segments lack a row of '{broken[2]}' that one of '{broken[0]}' needs; nothing was rebuilt")
        connection.execute(insert(durable).values(state.model_dump()))
        connection.exec_driver_sql("PRAGMA cache_size=-2000")  # the default of SQLite
    return count


def _reason(error: Exception) -> str:
    text = str(error.orig) if isinstance(error, exc.IntegrityError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0][:200]


def _unpack(name: str, content: bytes) -> tuple[SegmentHead, list[Any]]:
    """Return head and lines of a segment; StoreError for one that is damaged, renamed or newer than this program."""
    try:
        first, *rest = gzip.decompress(content).decode().split("\n")
        head = SegmentHead.model_validate_json(first)
        lines = [from_json(line) for line in rest if line]
    except (OSError, EOFError, zlib.error, ValueError, ValidationError) as error:
        raise StoreError(f"segment '{name}' is damaged ({type(error).__name__}); restore it in the repository") from error
    if head.segment != name or head.lines != len(lines):
        raise StoreError(f"segment '{name}' is that of '{head.segment}' with {head.lines} lines; restore it in the repository")
    if head.revision not in REVISIONS:
        raise StoreError(f"segment '{name}' was written by a newer version of HER (revision '{head.revision}'); update HER")
    return head, lines


def _apply(connection: Connection, lines: list[Any]) -> None:
    for (name, columns), some in groupby(lines, key=_shape):
        table = TABLES[name]
        rows = list(some)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            if not columns:
                connection.exec_driver_sql(f"DELETE FROM {name} WHERE id = ?", [(line["gone"],) for line in batch])
            else:
                statement = _upsert(table, columns)
                connection.exec_driver_sql(statement, [tuple(line["row"].values()) for line in batch])


def _shape(line: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the table of a line and the columns of its row; no columns for a deletion."""
    return line["table"], () if "gone" in line else tuple(line["row"])


def _upsert(table: Table, columns: tuple[str, ...]) -> str:
    """Return the statement that writes a row by its id; KeyError for a column that the table does not have."""
    names = [f'"{table.c[column].name}"' for column in columns]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    places = ", ".join("?" * len(names))
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {changes}"
