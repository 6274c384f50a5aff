"""Read raw books in any usual encoding and clean their text.

Input is JSONL with `title`, `author`, `content` on each line (CoSER's `data/src`), or one text file per book. Whatever
cannot be used is skipped with its reason; one bad book does not stop the others.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import InputError
from her.types import Language
from pipelines.synthesize.notes import Skip

LONGEST_LINE = 64_000_000
"""Bytes of a JSONL line; the rest of a longer one is read as the next line, which is then no JSON."""
LEAST_CONTENT = 200
"""Letters that a book must have; a shorter one holds no scene."""
NAME_CHARACTERS, NAME_BYTES = 100, 180
"""Maximum length of a file name made from a title; file systems take 255 bytes, suffixes and temporary names included."""
LANGUAGE_SAMPLE = 200_000
"""Characters from the start of a book that decide its language."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b-\u200d\u2060\ud800-\udfff]")


class RawBook(NamedTuple):
    """A book as it was read, its text cleaned; `title` can be used as a file name."""

    title: str
    author: str
    content: str
    language: Language


def read_books(paths: Iterable[Path], skip: Skip) -> Iterator[RawBook]:
    """Read the books of files and folders (`*.jsonl`, `*.txt`), in order; of two with the same title the first is kept.

    Raises:
        InputError: a path does not exist, or a file cannot be read.
    """
    titles: set[str] = set()
    for file in book_files(paths):
        for where, title, author, content in _texts(file, skip):
            name = file_name(title)
            text = clean(content)
            if name in titles:
                skip(where, f"the title {title!r} is a duplicate; the first book is kept")
            elif sum(map(str.isalpha, text)) < LEAST_CONTENT:
                skip(where, f"fewer than {LEAST_CONTENT} letters of text")
            else:
                titles.add(name)
                yield RawBook(name, author, text, language_of(text))


def book_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files among these files and folders; those of a folder are sorted by name.

    Raises:
        InputError: a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in (".jsonl", ".txt"))
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"there is no book file or folder '{path}'; give *.jsonl or *.txt")
    return files


def _texts(file: Path, skip: Skip) -> Iterator[tuple[str, str, str, str]]:
    """Place, title, author and text of each book of a file."""
    try:
        if file.suffix.lower() != ".jsonl":
            yield f"file '{file.name}'", file.stem, "", decode(file.read_bytes())
            return
        with file.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), b""), 1):
                where = f"file '{file.name}' line {number}"
                if not line.strip():
                    continue
                entry = _json_object(line, where, skip)
                if entry is None:
                    continue
                title, content = entry.get("title"), entry.get("content")
                if not isinstance(content, str):
                    skip(where, "no 'content'")
                    continue
                usable = title if isinstance(title, str) and title.strip() else f"{file.stem} {number}"
                yield where, usable, str(entry.get("author") or ""), content
    except OSError as error:
        raise InputError(f"book file '{file}' cannot be read ({error.strerror or error})") from error


def _json_object(line: bytes, where: str, skip: Skip) -> dict[str, Any] | None:
    try:
        # JSON allows no NUL, and a book must not be lost for one.
        entry = json.loads(decode(line.replace(b"\x00", b"")))
    except ValueError as error:
        skip(where, f"not JSON ({str(error)[:80]})")
        return None
    except RecursionError:
        skip(where, "nested too deeply")
        return None
    if not isinstance(entry, dict):
        skip(where, f"{type(entry).__name__} instead of an object")
        return None
    return entry


def decode(raw: bytes) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or a file in which lines of UTF-8 and Windows-1252 are mixed."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "\n".join(_decode_line(line) for line in raw.split(b"\n"))


def _decode_line(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        # Windows-1252 decodes nearly every byte, so it can only be the last guess.
        return line.decode("cp1252", "replace")


def clean(text: str) -> str:
    """Return the text without control and zero-width characters, with `\\n` line ends.

    Tabs are removed where they are more than 5 % of the text, as in CoSER's data construction (docs/protocols.md).
    """
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " "))
    if text.count("\t") * 20 > len(text):
        text = text.replace("\t", "")
    return text.strip()


def file_name(title: str) -> str:
    """Return a title as a file name of at most `NAME_CHARACTERS` characters and `NAME_BYTES` bytes."""
    plain = unicodedata.normalize("NFC", title).replace("/", "-").replace(":", "_").replace("\\", "-")
    name = " ".join(_CONTROL.sub("", plain).strip(". \n\t").split())[:NAME_CHARACTERS]
    # The cut may split a character, whose rest is ignored.
    return name.encode()[:NAME_BYTES].decode("utf-8", "ignore").strip() or "untitled"


def language_of(text: str) -> Language:
    """Return `zh` when a quarter of the letters are Chinese, else `en`."""
    sample = text[:LANGUAGE_SAMPLE]
    return "zh" if sum("\u4e00" <= char <= "\u9fff" for char in sample) * 4 > sum(map(str.isalpha, sample)) else "en"
