"""The ledger: entries are read back as written, one process at a time, and files of other programs stay unchanged."""

import os
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from her.errors import FormatVersionError, HerError, InputError, StoreError
from her.store.ledger import QUERY_ROWS, UNANSWERED, Entry, Failure, Ledger, StoredText, Sums
from tests.store.samples import sql


def entry(name: str, **changes: object) -> Entry:
    fields = {"content": StoredText(f"said {name}"), "prompt_tokens": 10, "completion_tokens": 5, **changes}
    return Entry(sha256(name.encode()).digest(), str(fields.pop("stage", "plans")), "model", **fields)  # type: ignore[arg-type]


def test_entries_are_read_back_whole(tmp_path: Path) -> None:
    full = entry(
        "a", content=StoredText("t\0\ud800", "r", "{}"), tier="repaired", finish="length", error="no", requests=3, seconds=1.5
    )
    many = [entry(str(number)) for number in range(QUERY_ROWS + 7)]
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([full])
        ledger.write(many)
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        assert len(ledger) == QUERY_ROWS + 8
        assert full.key in ledger and b"x" * 32 not in ledger
        assert ledger.read([full.key, b"x" * 32]) == {full.key: full}
        assert ledger.read([each.key for each in many]) == {each.key: each for each in many}
        assert list(ledger.entries()) == [full, *many]
        assert list(ledger.entries("other")) == []


def test_a_failure_counts_until_it_is_answered(tmp_path: Path) -> None:
    lost = Failure(entry("a").key, "plans", "turn 1", "timeout", "too late", 7, 0)
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([entry("b", tier="server")], [lost])
        assert ledger.failures() == [lost]
        ledger.write([entry("a")])
        assert ledger.failures() == []
        assert ledger.sums() == {
            ("plans", ""): Sums(1, 10, 5),
            ("plans", "server"): Sums(1, 10, 5),
            ("plans", "unanswered"): Sums(1, 7, 0),
        }


def test_one_call_is_recorded_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([entry("a")])
        with pytest.raises(StoreError, match="UNIQUE"):
            ledger.write([entry("b"), entry("a")])
        assert len(ledger) == 1
        assert list(ledger.entries()) == [entry("a")]


def test_the_second_run_on_a_folder_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([entry("a")])
        with pytest.raises(InputError, match=f"in use by process {os.getpid()}"):
            Ledger(tmp_path / "calls.sqlite3")
        assert len(ledger) == 1
    Ledger(tmp_path / "calls.sqlite3").close()


@pytest.mark.whole
def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path) -> None:
    program = (
        "import sys; from her.store.ledger import *; ledger = Ledger(sys.argv[1]); "
        "ledger.write([Entry(b'k' * 32, 's', 'm', StoredText('kept'))]); print('written', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "calls.sqlite3"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "written\n"
        with pytest.raises(InputError, match=f"process {other.pid};"):
            Ledger(path)
        other.send_signal(signal.SIGKILL)
    with Ledger(path) as ledger:
        assert [each.content.text for each in ledger.entries()] == ["kept"]


def text_file(path: Path) -> None:
    path.write_text("not a database, but long enough to be looked at\n" * 100)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()


def newer_ledger(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (text_file, StoreError, "not a SQLite database"),
        (other_database, InputError, "something else"),
        (newer_ledger, FormatVersionError, "format 99"),
    ],
)
def test_what_is_no_ledger_is_left_alone(tmp_path: Path, make: object, error: type[HerError], said: str) -> None:
    path = tmp_path / "calls.sqlite3"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(error, match=said):
        Ledger(path)
    assert path.read_bytes() == before
    with pytest.raises(error, match=said):  # and the lock was let go
        Ledger(path)


SCHEMA = {
    "calls": (
        "number INTEGER NOT NULL, key BLOB NOT NULL, stage TEXT NOT NULL, model TEXT NOT NULL, tier TEXT NOT NULL, "
        "finish TEXT NOT NULL, error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, "
        "requests INTEGER NOT NULL, seconds FLOAT NOT NULL, packed BLOB NOT NULL, PRIMARY KEY (number), UNIQUE (key)"
    ),
    "failures": (
        "number INTEGER NOT NULL, key BLOB NOT NULL, stage TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL, "
        "error TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, PRIMARY KEY (number)"
    ),
    "calls_sums": "CREATE INDEX calls_sums ON calls (stage, tier, prompt_tokens, completion_tokens)",
}
"""Of format 1. Another schema needs another format."""


def test_the_file_is_of_format_one(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite3"
    with Ledger(path) as ledger:
        ledger.write([entry("a"), entry("b")])
        ledger.write([entry("c")])
    for name, expected in SCHEMA.items():
        ((text,),) = sql(path, f"SELECT sql FROM sqlite_master WHERE name = '{name}'")
        assert expected in " ".join(text.replace(chr(34), "").split())
    assert sql(path, "PRAGMA application_id") == [(0x48455243,)] and sql(path, "PRAGMA user_version") == [(1,)]
    assert sql(path, "SELECT number FROM calls ORDER BY number") == [(1,), (2,), (3,)]
    assert sql(path, "PRAGMA journal_mode") == [("wal",)]


def test_every_commit_is_on_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3") as ledger, ledger._reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"


def test_the_lock_is_released_with_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "calls.sqlite3")
    assert (tmp_path / "calls.sqlite3.pid").read_text() == f"{os.getpid()}\n"
    ledger.close()
    ledger.close()
    assert not (tmp_path / "calls.sqlite3.pid").exists()


def test_a_lock_without_its_owner_is_refused_as_well(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3"):
        (tmp_path / "calls.sqlite3.pid").unlink()
        with pytest.raises(InputError, match="in use by another process"):
            Ledger(tmp_path / "calls.sqlite3")


@pytest.mark.parametrize("part", ["index", "rows"])
def test_damage_is_one_sentence(tmp_path: Path, part: str) -> None:
    """At opening, which reads the index of the keys, or when the damaged rows are read."""
    path = tmp_path / "calls.sqlite3"
    with Ledger(path) as ledger:
        ledger.write([entry(str(number), content=StoredText(f"{number}" * 4_000)) for number in range(100)])
        keys = [each.key for each in ledger.entries()]
    name = "sqlite_autoindex_calls_1" if part == "index" else "calls"
    ((page,),) = sql(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")
    damaged = bytearray(path.read_bytes())
    damaged[(page - 1) * 4_096 : page * 4_096] = b"\xa5" * 4_096
    path.write_bytes(bytes(damaged))
    message = "is damaged and was left alone; move it away and restore a copy"
    if part == "index":
        with pytest.raises(StoreError, match=message):
            Ledger(path)
    else:
        with Ledger(path) as ledger, pytest.raises(StoreError, match=message):
            ledger.read(keys)


def test_entries_of_one_stage_and_sums_of_each(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([entry("a", stage="one"), entry("b", stage="two"), entry("c", stage="two", tier="plain")])
        ledger.write([], [Failure(entry("d").key, "two", "turn", "timeout", "late", 1, 2)] * 2)
        assert [each.key for each in ledger.entries("two")] == [entry("b").key, entry("c").key]
        assert ledger.sums() == {
            ("one", ""): Sums(1, 10, 5),
            ("two", ""): Sums(1, 10, 5),
            ("two", "plain"): Sums(1, 10, 5),
            ("two", UNANSWERED): Sums(2, 2, 4),
        }
        assert [each.key for each in ledger.failures()] == [entry("d").key] * 2


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Ledger(tmp_path / "nowhere" / "calls.sqlite3")
