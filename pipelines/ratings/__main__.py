"""Make a data set of ratings and votes that may be published: Parquet, preferences of this project, card, pseudonyms.

    python -m pipelines.ratings @pipelines/configs/ratings.toml name=votes-november

The same is `her run ratings @pipelines/configs/ratings.toml`. The run folder is HER_HOME/runs/NAME, what is published stands in
`dataset/`. A run that is done is not made again: ratings that follow need another name, since a publication never changes.
"""

import json
import logging
import secrets
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from her import paths
from her.errors import InputError
from her.files import atomic
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder, stored_status
from her.runs.open_run import Run, open_run
from her.store import Store
from pipelines.ratings.dataset import write_dataset
from pipelines.ratings.options import RatingsOptions

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, RatingsOptions, run, "ratings")


def run(options: RatingsOptions) -> Path:
    """Write the data set and return its card.

    Raises:
        InputError: the database is missing, nobody rated anything, or fewer people did than `least_raters`.
    """
    card = run_folder(options.name) / "dataset" / "README.md"
    earlier = stored_status(run_folder(options.name))
    if earlier is not None and earlier.state == "done":
        log.info("run '%s' is done and stays as it is; give another name for the ratings of today", options.name)
        return card
    with open_run("ratings", options.name, options) as opened, closing(Store(_address(options.database))) as store:
        _write(options, store, opened)
    return card


def _address(database: str) -> str | None:
    """Return the address of the database; None for that of this machine.

    Raises:
        InputError: there is no such file.
    """
    address = database or paths.database_url()
    if "://" not in address:
        address = f"sqlite:///{paths.expanded(address)}"
    file = Path(address.removeprefix("sqlite:///"))
    if address.startswith("sqlite:///") and not file.is_file():
        raise InputError(f"there is no database '{file}'; name that of the playground: database=her.sqlite3")
    return address


def _write(options: RatingsOptions, store: Store, opened: Run) -> None:
    folder = opened.folder / "dataset"
    part = opened.folder / ".dataset"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    counts = write_dataset(store, part, options, salt=secrets.token_hex(16))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    opened.log_metric(saved="dataset", **counts)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    opened.update_status(outputs={str(path.relative_to(opened.folder)): atomic.file_hash(path) for path in written})
    log.info("%s", json.dumps(counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
