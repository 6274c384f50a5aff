"""Many writers at once, and writers that are killed: no rating that was acknowledged is lost.

The same code as the benchmark, smaller (`python -m benchmarks.store`).
"""

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from her.store import Store
from tests.store.samples import ANNE, greeted, opened, rating, reply, sql

pytestmark = pytest.mark.whole


@pytest.fixture
def benchmark() -> Any:
    """Return the module of the benchmark."""
    return importlib.import_module("benchmarks.store")


def test_processes_lose_nothing_and_meet_no_lock(tmp_path: Path, benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "PROCESSES", 4)
    monkeypatch.setattr(benchmark, "EACH", 50)
    together = benchmark.crowd(tmp_path)
    assert (together["ratings"], together["lost"], together["errors"]) == (200, 0, 0)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "KILLS", 3)
    monkeypatch.setattr(benchmark, "WRITERS", 2)
    killed = benchmark.kills(tmp_path)
    assert killed["acknowledged"] >= 15 and (killed["lost"], killed["damaged"]) == (0, 0)


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = opened(tmp_path)
    chat, question = greeted(store)

    def talk(number: int) -> None:
        node = reply(store, question, str(number))
        store.rate(ANNE, chat.id, node.id, rating(1, comment=str(number)))
        assert store.ratings(ANNE, chat.id)[node.id].rating.comment == str(number)
        assert store.path(ANNE, chat.id)[0].turn.raw == "Who goes there?"

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(talk, range(64)))
    assert len(store.ratings(ANNE, chat.id)) == 64
    assert len(store.siblings(ANNE, chat.id, store.path(ANNE, chat.id)[-1].id)) == 64
    store.close()


def test_stores_that_make_one_database_at_once_agree(tmp_path: Path) -> None:
    """Each with an engine of its own, as two processes would."""
    address = f"sqlite:///{tmp_path / 'her.sqlite3'}"
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(Store, [address] * 4))
    chats = [greeted(store)[0] for store in stores]
    assert {summary.id for summary in stores[0].conversations(ANNE)} == {chat.id for chat in chats}
    for store in stores:
        store.close()
    assert sql(tmp_path / "her.sqlite3", "PRAGMA integrity_check") == [("ok",)]
