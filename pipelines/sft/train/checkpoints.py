"""The checkpoints of a run: those that were written to their end, and what is left of others."""

import shutil
from pathlib import Path

from pipelines.models.disk import WHOLE


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end."""
    whole = whole_checkpoints(folder)
    return whole[-1] if whole else None


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run that were written to their end, oldest first."""
    found = [path for path in (folder / "checkpoints").glob("checkpoint-*") if (path / WHOLE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def drop_halves(folder: Path) -> None:
    """Take away what a kill left of checkpoints; nobody goes on from them, and each is as large as a whole one."""
    for made in (folder / "checkpoints").glob("checkpoint-*"):
        if not (made / WHOLE).is_file():
            shutil.rmtree(made)


def drop_old(folder: Path, keep: int) -> None:
    """Take away all but the last `keep` whole checkpoints; the mark goes first, since half of one is none."""
    for old in whole_checkpoints(folder)[:-keep]:
        (old / WHOLE).unlink()
        shutil.rmtree(old)
