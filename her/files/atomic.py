"""Write a file atomically, and hash files."""

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
    """Open a UTF-8 file that replaces `path` when the block ends without an error; after an error `path` is unchanged.

    Raises:
        InputError: the folder cannot be created or the file cannot be written, for example on a full disk.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates 0600. The umask cannot be read without changing it for all threads, so take the usual mode.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"'{path}' cannot be written ({why}); nothing was changed; free disk space or choose another path"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; the file is read in chunks.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"file '{path}' cannot be read ({error.strerror or error}); give the path of a file") from error


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of each file by its name; of two files with one name, the second is listed by its path."""
    hashes: dict[str, str] = {}
    for path in files:
        hashes[path.name if path.name not in hashes else str(path)] = file_hash(path)
    return hashes


def sampled_hash(files: Iterable[Path]) -> str:
    """Return a hash of names, sizes and up to 64 blocks of each file, spread evenly: weights of any size in a moment.

    Training changes weights everywhere, so another checkpoint has another hash. It is no proof against one who alters single
    bytes; `file_hash` is.

    Raises:
        InputError: a file cannot be read.
    """
    digest, block, blocks = hashlib.sha256(), 65_536, 64
    for path in sorted(files):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{path.name}\0{size}\0".encode())
                for place in range(0, size, max(block, -(-size // blocks))):
                    file.seek(place)
                    digest.update(file.read(block))
        except OSError as error:
            raise InputError(f"file '{path}' cannot be read ({error.strerror or error}); give the path of a file") from error
    return digest.hexdigest()
