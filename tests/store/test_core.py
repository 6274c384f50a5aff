"""Transactions of the store, and who may see what."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from her.errors import NotFound, StoreError
from her.store import Store
from her.store.core import add_tombstones, no_chat, no_turn, node_in, now, owned, touch
from her.store.tables import conversations, tombstones
from tests.store.samples import ANNE, BEN, greeted, opened, reply


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def test_now_is_in_milliseconds() -> None:
    assert 0 <= time.time() * 1_000 - now() < 60_000


def test_a_failed_block_changes_nothing(store: Store) -> None:
    chat, _ = greeted(store)
    before = store.conversation(ANNE, chat.id)
    with pytest.raises(ValueError, match="mine"), store.writing() as connection:
        touch(connection, chat.id, 1, title="changed")
        raise ValueError("mine")
    assert store.conversation(ANNE, chat.id) == before


def test_a_reading_block_does_not_see_what_is_written_meanwhile(store: Store) -> None:
    chat, question = greeted(store)
    with store.reading() as connection:
        before = owned(connection, ANNE, chat.id)
        reply(store, question, "one")
        store.rename(ANNE, chat.id, "changed")
        assert owned(connection, ANNE, chat.id) == before
    assert store.conversation(ANNE, chat.id).title == "changed"


def test_a_closed_store_opens_no_file_any_more(store: Store, tmp_path: Path) -> None:
    assert store.where == repr(str(tmp_path / "her.sqlite3"))
    with pytest.raises(StoreError, match="her.sqlite3"), store.reading() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")


def test_only_the_owner_finds_a_chat_and_only_its_nodes_are_in_it(store: Store) -> None:
    chat, question = greeted(store)
    other, elsewhere = greeted(store, BEN)
    with store.reading() as connection:
        assert owned(connection, ANNE, chat.id).id == chat.id and node_in(connection, chat.id, question.id).id == question.id
        for visitor, chat_id in ((BEN, chat.id), (ANNE, other.id), (ANNE, "x" * 100)):
            with pytest.raises(NotFound, match="there is no chat"):
                owned(connection, visitor, chat_id)
        with pytest.raises(NotFound, match="there is no turn"):
            node_in(connection, chat.id, elsewhere.id)


def test_long_ids_are_shortened_in_messages() -> None:
    assert str(no_chat("x" * 100)) == f"there is no chat '{'x' * 40}' here; choose one from your list"
    assert str(no_turn("x" * 100)) == f"there is no turn '{'x' * 40}' in this chat; reload the page"


def test_touch_changes_one_chat_and_its_time(store: Store) -> None:
    chat, _ = greeted(store)
    other, _ = greeted(store)
    with store.writing() as connection:
        touch(connection, chat.id, 5, title="changed")
    with store.reading() as connection:
        rows = {row.id: row for row in connection.execute(select(conversations))}
    assert (rows[chat.id].title, rows[chat.id].updated_at) == ("changed", 5)
    assert (rows[other.id].title, rows[other.id].updated_at > 5) == ("On the ramparts", True)


def test_each_target_gets_a_tombstone(store: Store) -> None:
    with store.writing() as connection:
        add_tombstones(connection, "node", ["a", "b"], "why", 7)
    with store.reading() as connection:
        rows = connection.execute(select(tombstones).order_by(tombstones.c.seq)).all()
        assert connection.execute(select(func.count(tombstones.c.id.distinct()))).scalar_one() == 2
    assert [(row.kind, row.target_id, row.reason, row.created_at) for row in rows] == [
        ("node", "a", "why", 7),
        ("node", "b", "why", 7),
    ]
