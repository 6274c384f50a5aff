"""Write folders atomically, and explain a full disk in one sentence that names the last good checkpoint."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from her.errors import HerError

COMPLETE = "complete"
"""Name of the file that marks a trainer's checkpoint as completely written."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_MESSAGES = (
    *(f"os error {number})" for number in _FULL),
    "No space left on device",
    "PytorchStreamWriter failed writing file",
)
"""safetensors and torch.save wrap the system's error in errors of their own; only the message tells."""


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder `NAME.part` to write into; it replaces `folder` when the block succeeds, and is deleted when it fails.

    Raises:
        HerError: no room left on the disk; names the last good checkpoint beside or in `folder`.
    """
    part = folder.with_name(f"{folder.name}.part")  # beside it: a rename is atomic only within one file system
    with explain_full_disk(folder.parent):
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            _replace(folder, part)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def explain_full_disk(run: Path) -> Iterator[None]:
    """Turn "no space left" in the block into a HerError that names the last good checkpoint of a run."""
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        checkpoint = last_good_folder(run)
        kept = f"the last good checkpoint is '{checkpoint}'" if checkpoint else "no checkpoint was saved before"
        raise HerError(
            f"there is no room left to save in '{run}'; {kept}. Free some space and run the same command again"
        ) from error


def is_disk_full(error: BaseException) -> bool:
    """Return whether a full disk, a quota or a limit on file size caused an error."""
    if isinstance(error, HerError):
        return False
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    cause = error.__cause__ or error.__context__
    return any(message in str(error) for message in _FULL_MESSAGES) or (cause is not None and is_disk_full(cause))


def last_good_folder(run: Path) -> Path | None:
    """Return the newest complete checkpoint or model of a run, at most two folders deep; None when there is none."""
    folders = [
        path for depth in ("*", "*/*") for path in run.glob(depth) if path.is_dir() and path.suffix not in (".part", ".old")
    ]
    return max(filter(_is_complete, folders), key=lambda folder: folder.stat().st_mtime, default=None)


def _is_complete(folder: Path) -> bool:
    """Return whether a checkpoint has its mark, or a model config and weights; the folder of a model appears atomically."""
    if folder.name.startswith("checkpoint-"):
        return (folder / COMPLETE).is_file()
    return (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))


def _replace(folder: Path, part: Path) -> None:
    """Move `part` to `folder`; the earlier content is deleted last, so that a crash always leaves one complete folder."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    # Content is flushed before the rename, or a power failure could leave the new name with empty files.
    for path in [*part.rglob("*"), part]:
        if path.is_file():  # safetensors creates files that only the owner may read; give them the folder's read bits
            path.chmod(path.stat().st_mode | part.stat().st_mode & 0o044)
        _sync(path)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flush a file's content, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
