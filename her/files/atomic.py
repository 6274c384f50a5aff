"""Files written whole or not at all, and what is in them in a few characters."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from her.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file to write, which takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    Raises:
        InputError: when the folder cannot be made or the file cannot be written, for example on a full disk.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives 0600; the umask cannot be asked without changing it, so take what most have.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"'{path}' cannot be written ({why}); nothing was changed, give another place or make room") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def file_hash(path: Path) -> str:
    """sha256 of a file, read in pieces; InputError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"file '{path}' cannot be read ({error.strerror or error}); give the path of a file") from error


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Name -> sha256 of files; of two with one name the second goes by its whole path."""
    hashes: dict[str, str] = {}
    for path in files:
        hashes[path.name if path.name not in hashes else str(path)] = file_hash(path)
    return hashes
