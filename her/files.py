"""Write a file whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
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
