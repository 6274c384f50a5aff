"""A database that cannot be opened is refused in one sentence, unchanged, and with no file left beside it."""

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, StatementError

import her.store.migrations
from her.errors import InputError, StoreError
from her.store import Store, opening
from her.store.migrations import REVISIONS
from her.store.opening import QUICK_CHECK_BYTES, open_engine, store_errors
from her.store.tables import metadata
from tests.store.samples import ANNE, DRAFT, empty_database, greeted, opened, rating, sql, turn


def url(file: Path) -> str:
    return f"sqlite:///{file}"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(file: Path) -> str:
    """The one sentence of a refusal that changed nothing."""
    before = contents(file.parent)
    with pytest.raises(StoreError) as caught:
        Store(url(file))
    assert contents(file.parent) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default_is_a_file_in_the_home_folder(home: Path) -> None:
    store = Store()
    chat, _ = greeted(store)
    store.close()
    assert (home / "her.sqlite3").is_file()
    again = Store()
    assert len(again.path(ANNE, chat.id)) == 2
    again.close()


def test_every_commit_is_on_disk_and_keys_are_checked(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    store.close()
    assert pragmas["journal_mode"] == "wal" and pragmas["synchronous"] == 2, "FULL"
    assert pragmas["foreign_keys"] == 1 and pragmas["busy_timeout"] == 60_000


def test_the_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.close()


def test_the_revisions_listed_are_those_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(her.store.migrations.__file__).parent))
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(revisions)) == REVISIONS


def garbage(file: Path) -> None:
    file.write_bytes(b"not a database " * 1000)


def half(file: Path) -> None:
    """Pages are missing at the end."""
    whole = empty_database()
    file.write_bytes(whole[: len(whole) // 2])


def holed(file: Path) -> None:
    """Pages in the middle are overwritten, as by a bad disk; the header is whole."""
    whole = bytearray(empty_database())
    whole[8192:40960] = b"\xa5" * (40960 - 8192)
    file.write_bytes(bytes(whole))


def strange(file: Path) -> None:
    sql(file, "CREATE TABLE songs (id)")


def newer(file: Path) -> None:
    file.write_bytes(empty_database())
    sql(file, "UPDATE alembic_version SET version_num = '9999'")


def unmigrated(file: Path) -> None:
    sql(file, "CREATE TABLE ratings (id)")


def folder_instead(file: Path) -> None:
    file.mkdir()


def log_of_an_empty_file(file: Path) -> None:
    file.touch()
    log_alone(file)


def log_alone(file: Path) -> None:
    file.with_name(file.name + "-wal").write_bytes(b"x" * 100)


def test_forty_threads_and_more_may_read_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(store.reading())
    store.close()


def test_only_one_writes_at_a_time_and_the_lock_file_is_not_inherited(tmp_path: Path) -> None:
    store, lock = opened(tmp_path), tmp_path / "her.sqlite3.lock"
    order: list[str] = []

    def write() -> None:
        with store.writing():
            order.append("second")

    with store.writing():
        thread = threading.Thread(target=write)
        thread.start()
        opened_files = [os.open(lock, os.O_RDWR)]
        with pytest.raises(BlockingIOError):
            fcntl.flock(opened_files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = [int(name) for name in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{name}") == str(lock)]
        assert not any(os.get_inheritable(descriptor) for descriptor in held if descriptor not in opened_files)
        order.append("first")
    thread.join(60)
    os.close(opened_files[0])
    assert order == ["first", "second"] and lock.stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_large_file_is_opened_without_reading_all_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "her.sqlite3"
    store = opened(tmp_path)
    store.create_conversation(ANNE, DRAFT, [(turn("x" * 200), "book") for _ in range(300)])
    store.close()
    damaged = bytearray(file.read_bytes())
    damaged[-8_192:] = b"\xa5" * 8_192
    file.write_bytes(bytes(damaged))
    monkeypatch.setattr("her.store.opening.QUICK_CHECK_BYTES", len(damaged))
    assert "is damaged and was left alone" in refused(file)
    monkeypatch.setattr("her.store.opening.QUICK_CHECK_BYTES", len(damaged) - 1)
    Store(url(file)).close()


def test_the_pages_of_small_files_are_checked() -> None:
    assert QUICK_CHECK_BYTES == 32 * 2**20


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (garbage, "is not a SQLite database and was left alone"),
    "half": (half, "is damaged and was left alone"),
    "holed": (holed, "is damaged and was left alone"),
    "another program's": (strange, r"belongs to another program \(tables: songs\)"),
    "tables without a revision": (unmigrated, r"belongs to another program \(tables: ratings\)"),
    "newer": (newer, r"was written by a newer version of HER \(revision '9999'"),
    "a folder": (folder_instead, "is not a file"),
    "a log without its file": (log_alone, "is gone but its log 'her.sqlite3-wal' is not"),
    "a log of an empty file": (log_of_an_empty_file, "is gone but its log 'her.sqlite3-wal' is not"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_and_left_alone(tmp_path: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    file = tmp_path / "her.sqlite3"
    spoil(file)
    message = refused(file)
    assert re.search(sentence, message) and str(file) in message


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who is not root, for whom the rights of files count."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o644), (0o755, 0o444), (0o555, 0o444)])
def test_a_read_only_database_is_refused(public: Path, folder_mode: int, file_mode: int) -> None:
    file = public / "her.sqlite3"
    file.write_bytes(empty_database())
    if not os.geteuid():
        os.chown(public, 65534, 65534)
        os.chown(file, 65534, 65534)
    os.chmod(file, file_mode)
    os.chmod(public, folder_mode)
    with unprivileged():
        message = refused(file)
        os.chmod(public, 0o755)
    assert "cannot be written; allow this user to write" in message


def test_a_new_database_in_a_read_only_folder_is_refused(public: Path) -> None:
    os.chmod(public, 0o555)
    with unprivileged():
        message = refused(public / "her.sqlite3")
    assert "cannot be written; allow this user to write" in message and contents(public) == {}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist; make it or set HER_HOME"):
        Store(url(tmp_path / "absent" / "her.sqlite3"))
    assert not (tmp_path / "absent").exists()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("HER_HOME", str(tmp_path / "taken" / "her"))
    with pytest.raises(InputError, match="HER_HOME is '.*taken/her', which cannot be created"):
        Store()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nonsense", "is not a URL; write 'sqlite:///FILE'"),
        ("sqlite://", "in memory would lose every rating"),
        ("sqlite:///:memory:", "in memory would lose every rating"),
        ("mysql://anne:secret@localhost/her", "no database of kind 'mysql'"),
        ("postgresql://anne:top@secret@127.0.0.1:1/her", "holds an '@'; write it as %40"),
    ],
)
def test_a_bad_address_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as caught:
        Store(address)
    assert "secret" not in str(caught.value)


class FakeServer:
    """An engine of PostgreSQL that only notes what it is told."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, object]] = []
        self.disposed = False

    @contextmanager
    def begin(self) -> Iterator["FakeServer"]:
        yield self

    def execute(self, statement: object, values: object = None) -> None:
        self.statements.append((str(statement), values))

    def dispose(self) -> None:
        self.disposed = True


@pytest.mark.parametrize("fails", [False, True])
def test_a_server_is_migrated_under_its_own_lock(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    server, addresses = FakeServer(), []

    def create(address: object, **options: object) -> FakeServer:
        addresses.append((str(address), options))
        return server

    def migrate(connection: object, where: str) -> None:
        server.statements.append(("migrate", where))
        if fails:
            raise OSError("the network is down")

    monkeypatch.setattr("her.store.opening.create_engine", create)
    monkeypatch.setattr("her.store.opening.migrate", migrate)
    if fails:
        with pytest.raises(StoreError, match="cannot be used, nothing was saved: the network is down"):
            open_engine("postgres://anne:secret@host/her")
    else:
        assert open_engine("postgres://anne:secret@host/her") == (server, None)
    assert addresses == [("postgresql+psycopg://anne:***@host/her", {"pool_pre_ping": True})] and server.disposed == fails
    assert server.statements == [
        ("SELECT pg_advisory_xact_lock(:key)", {"key": 0x484552}),
        ("migrate", "'postgresql://anne@host/her'"),
    ]


@pytest.mark.parametrize(
    ("address", "driver"),
    [
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg"),
        ("sqlite:///f", "sqlite"),
    ],
)
def test_the_driver_of_an_address(address: str, driver: str) -> None:
    assert opening._url(address).drivername == driver


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs the package 'psycopg'|needs the package"):
        open_engine("postgresql://anne:secret@host/her")


def test_a_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store("sqlite:///~/her.sqlite3").close()
    assert (tmp_path / "her.sqlite3").is_file()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError("No space left on device"), "is on a full disk"),
        (OSError("Read-only file system"), "cannot be written"),
        (OSError("database is locked"), "was kept locked by another program"),
        (OSError(""), "cannot be used, nothing was saved: OSError"),
        (OSError("first line\nsecond line"), "nothing was saved: first line$"),
        (ArgumentError("disk I/O error"), "is out of reach"),
        (StatementError("s", "SELECT 1", {}, sqlite3.OperationalError("readonly")), r"cannot be written.*\(readonly\)"),
        (StatementError("s", "SELECT 1", {}, None), "cannot be used, nothing was saved: NoneType|nothing was saved: None"),
    ],
)
def test_errors_of_the_database_are_sentences(error: Exception, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as caught, store_errors("'file'"):
        raise error
    assert str(caught.value).startswith("the database 'file' ") and caught.value.__cause__ is error


def test_errors_of_this_program_pass_unchanged() -> None:
    mine = InputError("mine")
    with pytest.raises(InputError) as caught, store_errors("'file'"):
        raise StatementError("s", "SELECT 1", {}, mine)
    assert caught.value is mine
    with pytest.raises(ValueError, match="other"), store_errors("'file'"):
        raise ValueError("other")


@pytest.mark.parametrize("login", ["anne:secret@127.0.0.1:1/her", "127.0.0.1:1/her?user=anne&password=secret"])
def test_the_password_of_a_server_is_never_shown(login: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(f"postgresql://{login}")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    """New files, and those that an earlier version left readable; SQLite gives its logs the mode of the file."""

    def modes() -> set[int]:
        return {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name.startswith("her.sqlite3")}

    before = os.umask(0)
    try:
        store = Store(url(tmp_path / "her.sqlite3"))
        greeted(store)
        assert len(list(tmp_path.iterdir())) >= 3 and modes() == {0o600}
        store.close()
        (tmp_path / "her.sqlite3").chmod(0o644)
        Store(url(tmp_path / "her.sqlite3")).close()
        assert modes() == {0o600}
    finally:
        os.umask(before)


def test_a_full_disk_refuses_the_rating_and_keeps_the_rest(tmp_path: Path) -> None:
    store = opened(tmp_path)
    chat, question = greeted(store)
    store.rate(ANNE, chat.id, question.id, rating(1))

    @event.listens_for(store._engine, "checkout")
    def fill(connection: sqlite3.Connection, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreError, match="is on a full disk, nothing was saved; free some space"):
        for _ in range(100):
            store.rate(ANNE, chat.id, question.id, rating(-1, comment="x" * 4_000))
    event.remove(store._engine, "checkout", fill)
    store.close()
    again = opened(tmp_path)
    kept = again.ratings(ANNE, chat.id)[question.id].rating
    assert kept.thumb in (1, -1) and len(again.path(ANNE, chat.id)) == 2
    again.rate(ANNE, chat.id, question.id, rating(0))
    assert again.ratings(ANNE, chat.id)[question.id].rating.thumb == 0
    again.close()


@pytest.mark.whole
def test_a_disk_that_is_full_from_the_start_is_named(tmp_path: Path) -> None:
    """The limit of the shell on file sizes stands for the disk."""
    command = (
        "import resource, sys; from her.store import Store; from her.errors import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: Store(sys.argv[1])\nexcept StoreError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", command, url(tmp_path / "her.sqlite3")], capture_output=True, text=True, check=True
    )
    assert "the disk refuses to read or write it" in ended.stdout and ended.stdout.count("\n") == 1


@pytest.mark.whole
def test_a_migration_that_is_cut_short_leaves_nothing_half_made(tmp_path: Path) -> None:
    command = (
        "import os, sys; from sqlalchemy import event; from sqlalchemy.engine import Engine; from her.store import Store\n"
        "@event.listens_for(Engine, 'before_cursor_execute')\n"
        "def cut(connection, cursor, statement, *rest):\n"
        "    if 'CREATE TABLE ratings' in statement: os.kill(os.getpid(), 9)\n"
        "Store(sys.argv[1])"
    )
    file = tmp_path / "her.sqlite3"
    assert subprocess.run([sys.executable, "-c", command, url(file)], check=False).returncode == -9
    assert sql(file, "SELECT name FROM sqlite_master") == []
    store = opened(tmp_path)
    assert store.create_conversation(ANNE, DRAFT, [(turn("Who?"), "greeting")])
    store.close()
