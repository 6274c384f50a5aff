"""Folders that appear whole or not at all, and one sentence for a full disk that names the last good checkpoint."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from her.errors import HerError

WHOLE = "whole"
"""Name of the file that a trainer's checkpoint holds once all of it is written."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAID = tuple(f"os error {number})" for number in _FULL) + ("No space left on device", "PytorchStreamWriter failed writing file")
"""What safetensors and torch.save say, which wrap the system's error in their own."""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder `NAME.part` to write into, which takes the place of `folder` when the block ends well, else it is removed.

    Raises:
        HerError: there is no room left; it names the last good checkpoint beside or in `folder`.
    """
    part = folder.with_name(f"{folder.name}.part")
    with naming_last_good(folder.parent):
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            _replace(folder, part)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def naming_last_good(run: Path) -> Iterator[None]:
    """Turn "no room left" of whatever is written in the block into a HerError that names the last good checkpoint of a run."""
    try:
        yield
    except Exception as error:
        if not no_room(error):
            raise
        good = last_good(run)
        kept = f"the last good checkpoint is '{good}'" if good else "no checkpoint was saved before"
        raise HerError(f"there is no room left to save in '{run}'; {kept}. Make room and start the same command again") from error


def no_room(error: BaseException) -> bool:
    """Whether a full disk, a quota or a limit on the size of files is behind an error."""
    if isinstance(error, HerError):
        return False
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    cause = error.__cause__ or error.__context__
    return any(said in str(error) for said in _SAID) or (cause is not None and no_room(cause))


def last_good(run: Path) -> Path | None:
    """The newest folder of a run, at most two deep, that is a whole checkpoint or model; None where there is none."""
    folders = [
        path for depth in ("*", "*/*") for path in run.glob(depth) if path.is_dir() and path.suffix not in (".part", ".old")
    ]
    return max(filter(_complete, folders), key=lambda folder: folder.stat().st_mtime, default=None)


def _complete(folder: Path) -> bool:
    """A trainer's checkpoint is marked when it is; a model has its weights and its config."""
    if folder.name.startswith("checkpoint-"):
        return (folder / WHOLE).is_file()
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


def _replace(folder: Path, part: Path) -> None:
    """Put `part` where `folder` is; what stood there goes last."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    for path in [*part.rglob("*"), part]:
        if path.is_file():  # safetensors writes for the owner alone; readable is what the folder is
            path.chmod(path.stat().st_mode | part.stat().st_mode & 0o044)
        _to_disk(path)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    _to_disk(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """A file's content, or the names in a folder."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
