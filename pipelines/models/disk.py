"""Folders that appear whole or not at all, and one sentence for a full disk that names the last good checkpoint."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from her.errors import HerError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAID = tuple(f"os error {number})" for number in _FULL) + ("No space left on device", "PytorchStreamWriter failed writing file")
"""What safetensors and torch.save say, which wrap the system's error in their own."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


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
    """The newest folder of a run, at most two deep, that holds all its weights; None where there is none."""
    found = {path.parent for name in _WEIGHTS for depth in ("*/", "*/*/") for path in run.glob(depth + name)}
    whole = [folder for folder in found if not folder.name.endswith((".part", ".old")) and _complete(folder)]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)


def _complete(folder: Path) -> bool:
    """A trainer's checkpoint has its state, which is written last; a finished model has its config, an adapter its own."""
    if folder.name.startswith("checkpoint-"):
        return (folder / "trainer_state.json").is_file()
    return any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))


def _replace(folder: Path, part: Path) -> None:
    """Put `part` where `folder` is; what stood there goes last."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    for path in [*part.rglob("*"), part]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
