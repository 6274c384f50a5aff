"""Put the votes of a researcher into a run's database, and print how far the checks agree with them.

    python -m pipelines.synthesize.votes RUN votes.json
    python -m pipelines.synthesize.votes RUN              # the agreement alone

The file is downloaded from the run's report.html. The database is `votes.sqlite3` in the folder of the run.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from her.errors import HerError, InputError
from her.runs.folder import run_folder
from her.statistics import cohen_kappa
from her.store.reader_votes import ReaderVote, ReaderVotes

log = logging.getLogger(__name__)
FILE = "votes.sqlite3"


def read_votes(path: Path) -> list[ReaderVote]:
    """Read a file of votes.

    Raises:
        InputError: it is not a downloaded file of votes.
    """
    try:
        return TypeAdapter(list[ReaderVote]).validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); give the file that the report's page downloaded") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"'{path}': {where}: {first['msg']}; give the file that the report's page downloaded") from None


def agreement(readings: Sequence[ReaderVote]) -> dict[str, Any]:
    """Return by stage how often checks and readers say the same, in counts of votes; `kappa` is Cohen's, without chance.

    `false_alarms` are answers that the checks refused and a reader calls good, `overlooked` the reverse.
    """
    figures = {}
    for stage in sorted({reading.stage for reading in readings}):
        own = [reading for reading in readings if reading.stage == stage]
        agreed = sum(reading.passed == reading.good for reading in own)
        both = len({reading.passed for reading in own}) == 2 and len({reading.good for reading in own}) == 2
        kappa = cohen_kappa([str(reading.passed) for reading in own], [str(reading.good) for reading in own]) if both else None
        figures[stage] = {
            "votes": len(own),
            "readers": len({reading.reader for reading in own}),
            "agreed": agreed,
            "false_alarms": sum(reading.good and not reading.passed for reading in own),
            "overlooked": sum(reading.passed and not reading.good for reading in own),
            "kappa": None if kappa is None else round(kappa, 3),
        }
    return figures


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0, or 2 after an error that was logged."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.synthesize.votes", description="Votes on turns of a synthesis.")
    parser.add_argument("run", help="name of the run")
    parser.add_argument("votes", nargs="?", type=Path, help="the file that the report's page downloaded")
    chosen = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder = run_folder(chosen.run)
        if not (folder / "report.json").is_file():
            raise InputError(f"run '{chosen.run}' has no report; give the name of a finished synthesis")
        with ReaderVotes(folder / FILE) as readings:
            readings.add(read_votes(chosen.votes) if chosen.votes else [])
            figures = agreement(readings.latest())
    except HerError as error:
        log.error("%s", error)
        return 2
    log.info("%s", json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
