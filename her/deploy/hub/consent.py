"""Refuse a run that was made from ratings or votes of which some were withdrawn since."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from her import paths
from her.deploy.hub.lineage import stages
from her.deploy.hub.selection import SentRun
from her.deploy.hub.withdrawing import count_withdrawn
from her.errors import InputError
from her.store import Store

_SKEW = 3600
"""Seconds that the clocks of two machines may be apart."""


def check_withdrawals(run: SentRun) -> None:
    """Look into the databases and the exported files that the settings of a run name, and those of the runs it was made from.

    Raises:
        InputError: something was withdrawn after the run read it, or the database is gone, so nobody can tell.
    """
    _check_clock(run)
    for name, status, settings in stages(run):
        # A data set of ratings with no database named was made from that of this machine.
        own = [paths.database_url()] if status.pipeline == "ratings" and not settings.get("database") else []
        for database in (*databases_of(settings), *own):
            _check_database(name, database, status.started)
    if ids := _withdrawn_here():
        for name, _, settings in stages(run):
            _check_files(name, settings, ids)


def _check_clock(run: SentRun) -> None:
    """Refuse a run that began later than now: withdrawals are found by their times, and one of the clocks was wrong."""
    for name, status, _ in stages(run):
        if status.started > time.time() + _SKEW:
            begun = time.strftime("%Y-%m-%d %H:%M", time.gmtime(status.started))
            raise InputError(
                f"run '{name}' began at {begun} UTC, which is in the future: the clock is wrong now or was wrong then, so nobody "
                "can tell what was withdrawn after it; set the clock and run it again"
            )


def _check_database(name: str, database: str, started: float) -> None:
    url = database
    if "://" not in database or database.startswith("sqlite:///"):
        path = paths.expanded(database.removeprefix("sqlite:///"))
        if not path.is_file():
            raise InputError(f"run '{name}' was made from '{path}', which is gone; withdrawals cannot be looked up, restore it")
        url = f"sqlite:///{path}"
    with closing(Store(url)) as store:
        count = store.withdrawals_since(int(started * 1000))
    if count:
        raise InputError(
            f"{count} ratings, votes or people were withdrawn from {store.where} after run '{name}' read it; "
            "run it again under another name, without them"
        )


def _withdrawn_here() -> frozenset[str]:
    """Return the ids that were withdrawn from the database of this machine, from which ratings are exported to files."""
    url = paths.database_url()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        return frozenset()
    with closing(Store()) as store:
        return store.withdrawn_ids()


def _check_files(name: str, settings: Mapping[str, Any], ids: Collection[str]) -> None:
    """Refuse a file of rows that still holds some which were withdrawn after it was exported."""
    for path in _files_of(settings):
        if count := count_withdrawn(path, ids):
            raise InputError(
                f"{count} rows of '{path}', of which run '{name}' was made, are of people or votes that were withdrawn since; "
                "export them again (her ratings export), and run it again under another name"
            )


def _files_of(settings: Any) -> Iterator[Path]:
    if isinstance(settings, Mapping):
        for value in settings.values():
            yield from _files_of(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _files_of(value)
    elif isinstance(settings, str) and settings.endswith((".jsonl", ".parquet")) and paths.expanded(settings).is_file():
        yield paths.expanded(settings)


def databases_of(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield every setting `database` that is not empty."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from databases_of(value)
        elif key == "database" and value:
            yield str(value)
