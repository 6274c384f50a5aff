"""Provide what all store methods use: transactions, the clock, and the check of who owns a chat."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from her.errors import NotFound
from her.store.opening import database_name, open_engine, store_errors, writer_lock
from her.store.records import TombstoneKind
from her.store.tables import conversations, nodes, tombstones
from her.types import new_id


def now() -> int:
    """Return milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Core:
    """An open database at the newest revision. It may be shared between threads; calls block."""

    def __init__(self, url: str | None = None) -> None:
        """Open `url`, by default `her.paths.database_url()`; StoreError if that fails."""
        self._engine, self._lock = open_engine(url)
        self._writing = self._engine.execution_options(write=True)  # BEGIN IMMEDIATE, see opening.py
        self.where = database_name(self._engine.url)

    def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        self._engine.dispose()

    @property
    def is_file(self) -> bool:
        """Tell whether this is a SQLite file, not a database server."""
        return self._lock is not None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads the state of this moment, however long it lasts."""
        with store_errors(self.where), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that is on disk when the block ends. Do not nest it: the inner one would wait forever."""
        # The connection before the lock: waiting for a free one must not keep other writers out.
        with store_errors(self.where), self._writing.connect() as connection, writer_lock(self._lock), connection.begin():
            yield connection


def no_chat(conversation_id: str) -> NotFound:
    """Return the error for a chat that is absent, deleted or another visitor's: the same words, so that it stays secret."""
    return NotFound(f"there is no chat {conversation_id[:40]!r} here; choose one from your list")


def no_turn(node_id: str) -> NotFound:
    """Return the error for a turn that is absent, deleted or of another chat."""
    return NotFound(f"there is no turn {node_id[:40]!r} in this chat; reload the page")


def owned(connection: Connection, visitor_id: str, conversation_id: str) -> Row[Any]:
    """Return the row of a conversation; NotFound if it is absent, deleted or another visitor's."""
    row = connection.execute(
        select(conversations).where(
            conversations.c.id == conversation_id,
            conversations.c.visitor_id == visitor_id,
            conversations.c.deleted_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise no_chat(conversation_id)
    return row


def node_in(connection: Connection, conversation_id: str, node_id: str) -> Row[Any]:
    """Return the row of a node; NotFound if it is absent, deleted or of another conversation."""
    row = connection.execute(nodes_of(conversation_id).where(nodes.c.id == node_id)).one_or_none()
    if row is None:
        raise no_turn(node_id)
    return row


def nodes_of(conversation_id: str) -> Select[Any]:
    """Return the query of the nodes of a conversation that are not deleted."""
    return select(nodes).where(nodes.c.conversation_id == conversation_id, nodes.c.deleted_at.is_(None))


def touch(connection: Connection, conversation_id: str, at: int, **changes: Any) -> None:
    """Change a conversation's row and the time of its last use."""
    connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(updated_at=at, **changes))


def add_tombstones(connection: Connection, kind: TombstoneKind, target_ids: list[str], reason: str, at: int) -> None:
    """Write tombstones: their targets are left out of every export."""
    rows = [{"id": new_id(), "kind": kind, "target_id": target, "reason": reason, "created_at": at} for target in target_ids]
    connection.execute(insert(tombstones), rows)
