"""The ground under the store's methods: transactions, the clock, and who owns what."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from her.errors import NotFound
from her.store.opening import open_engine, place, sentences, writers_queue
from her.store.records import TombstoneKind
from her.store.tables import conversations, nodes, tombstones
from her.types import new_id


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Core:
    """A database, open and at the newest revision. Safe to share between threads; calls block."""

    def __init__(self, url: str | None = None) -> None:
        """Open `url`, default `her.paths.database_url()`; StoreError in one sentence when that cannot be."""
        self._engine, self._lock = open_engine(url)
        self._writing = self._engine.execution_options(write=True)
        self.where = place(self._engine.url)

    def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees the database as it stands now, however long it is read."""
        with sentences(self.where), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, on disk when the block is left; do not open another inside it."""
        with sentences(self.where), self._writing.connect() as connection, writers_queue(self._lock), connection.begin():
            yield connection


def no_chat(conversation_id: str) -> NotFound:
    """The one sentence for a chat that is absent, deleted or somebody else's."""
    return NotFound(f"there is no chat {conversation_id[:40]!r} here; choose one from your list")


def no_turn(node_id: str) -> NotFound:
    """The one sentence for a turn that is absent, deleted or of another chat."""
    return NotFound(f"there is no turn {node_id[:40]!r} in this chat; reload the page")


def owned(connection: Connection, visitor_id: str, conversation_id: str) -> Row[Any]:
    """The visitor's conversation; NotFound, in the same words, when it is absent, deleted or somebody else's."""
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
    """The node of this conversation; NotFound when it is absent, deleted or of another one."""
    row = connection.execute(nodes_of(conversation_id).where(nodes.c.id == node_id)).one_or_none()
    if row is None:
        raise no_turn(node_id)
    return row


def nodes_of(conversation_id: str) -> Select[Any]:
    """Query of the nodes of a conversation that are not deleted."""
    return select(nodes).where(nodes.c.conversation_id == conversation_id, nodes.c.deleted_at.is_(None))


def touch(connection: Connection, conversation_id: str, at: int, **changes: Any) -> None:
    """Change a conversation's row and say when."""
    connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(updated_at=at, **changes))


def bury(connection: Connection, kind: TombstoneKind, target_ids: list[str], reason: str, at: int) -> None:
    """Write tombstones: what is under them is left out of every export."""
    stones = [{"id": new_id(), "kind": kind, "target_id": one, "reason": reason, "created_at": at} for one in target_ids]
    connection.execute(insert(tombstones), stones)
