"""Store what researchers think of single answers of a teacher: good or bad, in an SQLite file beside the run.

Rows are only added; of several votes of one reader on one answer the last counts.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, Table, Text, insert, make_url, select

from her.store.opening import database_name, sqlite_engine, store_errors
from her.types import NonEmpty, Value

_metadata = MetaData()
_readings = Table(
    "readings",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("reader", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("scene", Text, nullable=False),
    Column("turn", Text, nullable=False),
    Column("good", Boolean, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("at", Float, nullable=False),
)


class ReaderVote(Value):
    """Vote of a reader on what a teacher wrote for one turn in one stage.

    Args:
        good: what the reader thinks of it.
        passed: whether the checks let it through, as the page showed it.
    """

    reader: NonEmpty = Field(max_length=200)
    stage: NonEmpty = Field(max_length=100)
    scene: NonEmpty = Field(max_length=100)
    turn: NonEmpty = Field(max_length=100)
    good: bool
    passed: bool


class ReaderVotes:
    """The votes of one run in a file, which is created if missing.

    Raises:
        StoreError: it is no database, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        url = make_url("sqlite://").set(database=str(path.absolute()))
        self._where, self._engine = database_name(url), sqlite_engine(url)
        with store_errors(self._where):
            _metadata.create_all(self._engine)

    def __enter__(self) -> "ReaderVotes":
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def add(self, readings: Iterable[ReaderVote]) -> None:
        """Save votes, all or none; they are on disk when this returns."""
        at = time.time()
        rows = [reading.model_dump() | {"at": at} for reading in readings]
        with store_errors(self._where), self._engine.execution_options(write=True).begin() as connection:
            if rows:
                connection.execute(insert(_readings), rows)

    def latest(self) -> list[ReaderVote]:
        """Return the last vote of each reader on each answer, in the order in which the answers were first voted on."""
        columns = [_readings.c[name] for name in ReaderVote.model_fields]
        with store_errors(self._where), self._engine.connect() as connection:
            rows = connection.execute(select(*columns).order_by(_readings.c.number)).all()
        last = {row[:4]: ReaderVote(**dict(zip(ReaderVote.model_fields, row, strict=True))) for row in rows}
        return list(last.values())
