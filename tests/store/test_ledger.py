"""The ledger: entries are read back as written, one process at a time, and files of other programs stay unchanged."""

import os
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.errors import FormatVersionError, HerError, InputError, StoreError
from her.store.ledger import QUERY_ROWS, Entry, Failure, Ledger, StoredText, Sums
from her.store.ledger_records import pack, unpack

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
"""Also NULs and halves of characters: what a model says is kept as it is."""


def entry(name: str, **changes: object) -> Entry:
    fields = {"content": StoredText(f"said {name}"), "prompt_tokens": 10, "completion_tokens": 5, **changes}
    return Entry(sha256(name.encode()).digest(), str(fields.pop("stage", "plans")), "model", **fields)  # type: ignore[arg-type]


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_texts_survive_packing(text: str, reasoning: str, fixed: str) -> None:
    assert unpack(pack(text, reasoning, fixed)) == (text, reasoning, fixed)


@pytest.mark.parametrize("text", ["", "a", "word " * 500, "话" * 300])
def test_packing_pays_or_is_left(text: str) -> None:
    assert len(pack(text, "", "")) <= len(text.encode()) + 1


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


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Ledger(tmp_path / "nowhere" / "calls.sqlite3")
