"""Read a file only if it is one: a link may lead anywhere, a pipe or a device may never end or change what is behind it."""

import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# A file may become a link or a pipe between the look and the opening: a link is not followed, a pipe does not wait.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NotRegular(OSError):
    """The path names something that is no regular file."""


class TooLarge(OSError):
    """The file is larger than what is read."""


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; nothing else is opened.

    Raises:
        NotRegular: it is a link, folder, pipe, device or socket.
        TooLarge: it has more than `most` bytes.
        OSError: it cannot be read.
    """
    _require_regular(path.lstat())
    with open(os.open(path, _FLAGS), "rb") as file:
        _require_regular(os.fstat(file.fileno()))
        content = file.read(most + 1)  # not by the size: the file may grow meanwhile
        if len(content) > most:
            size = os.fstat(file.fileno()).st_size
            raise TooLarge(f"{size:,} bytes; at most {most:,} are read")
    return content


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}, not a file")
