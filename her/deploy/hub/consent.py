"""Refuse a run that was made from ratings or votes of which some were withdrawn since."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from her import paths
from her.deploy.hub.selection import SentRun
from her.errors import InputError
from her.store import Store


def check_withdrawals(run: SentRun) -> None:
    """Look into the databases that the settings of a run name.

    Raises:
        InputError: something was withdrawn after the run read it, or the database is gone, so nobody can tell.
    """
    for database in databases_of(run.settings):
        url = database
        if "://" not in database:
            path = paths.expanded(database)
            if not path.is_file():
                raise InputError(
                    f"run '{run.name}' was made from '{path}', which is gone; withdrawals cannot be looked up, restore it"
                )
            url = f"sqlite:///{path}"
        with closing(Store(url)) as store:
            count = store.withdrawals_since(int(run.status.started * 1000))
        if count:
            raise InputError(
                f"{count} ratings, votes or people were withdrawn from {store.where} after run '{run.name}' read it; "
                "run it again under another name, without them"
            )


def databases_of(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield every setting `database` that is not empty."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from databases_of(value)
        elif key == "database" and value:
            yield str(value)
