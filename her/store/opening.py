"""Open the database: refuse a foreign file before a byte of it changes, then migrate it to the newest revision.

At every opening, the folder, permissions, header, schema and revision of a SQLite file are checked. Its pages
(`PRAGMA quick_check`) are checked up to QUICK_CHECK_BYTES only, which takes about 0.1 s, because the time grows with the
file. Damage in a larger file is reported when the damaged page is read.
"""

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.engine import URL

from her.errors import HerError, StoreError
from her.paths import database_url
from her.store.migrations import REVISIONS
from her.store.tables import metadata

log = logging.getLogger(__name__)

QUICK_CHECK_BYTES = 32 * 1024 * 1024
BUSY_MS = 60_000
"""How long SQLite waits for another program's lock."""
MIGRATION_LOCK = 0x484552
"""Key of the PostgreSQL advisory lock held during a migration ('HER')."""
ALEMBIC = threading.Lock()
"""Alembic keeps its state in module globals: one migration at a time in this process."""
_ADVICE = (
    ("is full", "is on a full disk, nothing was saved; free some space and try again"),
    ("no space left", "is on a full disk, nothing was saved; free some space and try again"),
    ("disk i/o error", "is out of reach, the disk refuses to read or write it; free some space or repair the disk"),
    ("readonly", "cannot be written; allow this user to write the file and its folder"),
    ("read-only", "cannot be written; allow this user to write the file and its folder"),
    ("not a database", "is not a SQLite database and was left alone; move it away or set HER_DATABASE_URL"),
    ("malformed", "is damaged and was left alone; move it away and restore a copy"),
    ("locked", "was kept locked by another program for too long, nothing was saved; close that program and try again"),
)
"""Words in a message of SQLite or of the system, and what it means for a person."""


def database_name(url: URL) -> str:
    """Return the database's name for messages of operators: the file, or the URL without its password and its options."""
    if url.get_backend_name() == "sqlite":
        return repr(str(url.database))
    # Options may hold a password as well, so the name is built of the other fields.
    bare = URL.create(url.get_backend_name(), url.username, None, url.host, url.port, url.database)
    return repr(bare.render_as_string())


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turn errors of the database library into a StoreError of one sentence; a HerError passes unchanged."""
    try:
        yield
    except exc.StatementError as error:
        if isinstance(error.orig, HerError):
            raise error.orig from None
        raise StoreError(_message(where, error.orig)) from error
    except (exc.SQLAlchemyError, sqlite3.Error, OSError) as error:  # sqlite3's own where SQLAlchemy is passed by
        raise StoreError(_message(where, error)) from error


def _message(where: str, error: BaseException | None) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for words, advice in _ADVICE:
        if words in reason.lower():
            return f"the database {where} {advice} ({reason})"
    return f"the database {where} cannot be used, nothing was saved: {reason}"


@contextmanager
def writer_lock(lock: Path | None) -> Iterator[None]:
    """Hold the lock of the only writer; the kernel releases it when a process is killed. None: the server has its own.

    SQLite polls for its lock and sleeps up to 100 ms in between, so that with 8 writers some starve; flock(2) queues them
    and wakes the next one at once. The file is opened each time, so that threads and forked children exclude each other.
    """
    if lock is None or sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_engine(address: str | None) -> tuple[Engine, Path | None]:
    """Return the engine, checked and migrated, and the lock file of its writers (None for a database server).

    Args:
        address: URL of the database; None for `her.paths.database_url()`.

    Raises:
        StoreError: nothing was overwritten, and no file was created beside one that was refused.
    """
    url = _url(address)
    where = database_name(url)
    with store_errors(where):
        if url.get_backend_name() == "sqlite":
            return _open_sqlite(url)
        try:
            engine = create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise StoreError(f"the database {where} needs the package {error.name!r}; install it with pip") from error
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                migrate(connection, where)
        except BaseException:
            engine.dispose()
            raise
        return engine, None


def _url(address: str | None) -> URL:
    try:
        url = make_url(address or database_url())
    except exc.ArgumentError as error:
        raise StoreError("the database address is not a URL; write 'sqlite:///FILE' or 'postgresql://...'") from error
    if "@" in (url.host or ""):
        raise StoreError("the password in the database address holds an '@'; write it as %40")
    drivers = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
    url = url.set(drivername=drivers.get(url.drivername, url.drivername))
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"no database of kind {url.drivername!r} is supported; use sqlite or postgresql")
    return url


def _open_sqlite(url: URL) -> tuple[Engine, Path]:
    where = database_name(url)
    if url.database in (None, "", ":memory:"):
        raise StoreError("a database in memory would lose every rating; write 'sqlite:///FILE'")
    file = Path(str(url.database)).expanduser().absolute()
    fresh = _check_file(file, where)
    _keep_private(file)
    engine = sqlite_engine(url.set(database=str(file)))
    lock = file.with_name(file.name + ".lock")
    try:
        if not fresh:
            _check_content(engine, file, where)
        with writer_lock(lock):
            with engine.connect() as connection:  # WAL stays set in the file; it cannot be set inside a transaction
                connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
            with engine.execution_options(write=True).begin() as connection:
                migrate(connection, where)
    except BaseException:
        engine.dispose()
        raise
    return engine, lock


def _keep_private(file: Path) -> None:
    """Let this user alone read the file, and the logs that SQLite makes beside it with the file's own mode: it holds chats."""
    if not file.exists():
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm", ".lock"))):
        with suppress(FileNotFoundError, PermissionError):  # another user's file was opened for both on purpose
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)


def _check_file(file: Path, where: str) -> bool:
    """Return whether the file has to be created, without opening it; StoreError if it cannot become a database."""
    if not file.parent.is_dir():
        raise StoreError(f"the folder of the database {where} does not exist; make it or set HER_HOME to another")
    if file.exists() and not file.is_file():
        raise StoreError(f"the database {where} is not a file; give the path of a file")
    for path in (file, file.parent) if file.exists() else (file.parent,):  # SQLite writes its log beside the file
        if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreError(f"the database {where} cannot be written; allow this user to write {str(path)!r}")
    fresh = not file.exists() or file.stat().st_size == 0
    log_file = file.with_name(file.name + "-wal")
    # SQLite would delete the log of a new file, and with it the last commits of the lost one.
    if fresh and log_file.exists() and log_file.stat().st_size:
        raise StoreError(f"the database {where} is gone but its log {log_file.name!r} is not; put the file back beside it")
    return fresh


def _check_content(engine: Engine, file: Path, where: str) -> None:
    """Check header, schema and revision, and the pages of a small file; nothing is written."""
    with engine.connect() as connection:
        check_revision(connection, where)
        if file.stat().st_size <= QUICK_CHECK_BYTES:
            verdict = str(connection.execute(text("PRAGMA quick_check(1)")).scalar())
            if verdict != "ok":
                raise StoreError(
                    f"the database {where} is damaged and was left alone; restore a copy ({' '.join(verdict.split())})"
                )


def check_revision(connection: Connection, where: str) -> str | None:
    """Return the revision of the tables, None for an empty database; StoreError if they have no known revision."""
    present = set(inspect(connection).get_table_names())
    if "alembic_version" not in present:
        if present & set(metadata.tables) or (present and connection.dialect.name == "sqlite"):
            names = ", ".join(sorted(present)[:5])
            raise StoreError(f"the database {where} belongs to another program (tables: {names}); set HER_DATABASE_URL")
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision is not None and revision not in REVISIONS:
        raise StoreError(
            f"the database {where} was written by a newer version of HER (revision {revision!r}, "
            f"this one knows up to {REVISIONS[-1]!r}); update HER or set HER_DATABASE_URL"
        )
    return revision


def migrate(connection: Connection, where: str) -> None:
    """Migrate the tables to the newest revision, in the transaction of `connection`: completely or not at all."""
    if check_revision(connection, where) == REVISIONS[-1]:
        return
    from alembic import command  # 0.3 s to import, needed only here
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells at INFO about each of its plugins
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    with ALEMBIC:
        command.upgrade(config, "head")
    log.debug("database %s is at revision %s", where, REVISIONS[-1])


def sqlite_engine(url: URL) -> Engine:
    """Return an engine with SQLite's own transactions: BEGIN for reading, BEGIN IMMEDIATE with the option `write`.

    IMMEDIATE takes the write lock at once: a transaction that reads first and writes later may fail with "locked" in between.
    """
    arguments = {"isolation_level": None, "timeout": BUSY_MS / 1000}
    engine = create_engine(url, connect_args=arguments, pool_size=8, max_overflow=56)  # more than anyio's 40 threads

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in (f"busy_timeout={BUSY_MS}", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
