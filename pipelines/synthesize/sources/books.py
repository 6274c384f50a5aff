"""Raw books: read whatever they are encoded in, cut into chapters where these are marked, and into pieces for a model.

JSONL with `title`, `author`, `content` a line (CoSER `data/src`), or one text file a book. What cannot be used is named
with its reason; one bad book stops no other.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import InputError
from her.types import Language

Skip = Callable[[str, str], None]
"""Told of everything that is left out: where, and why."""

LONGEST_LINE = 64_000_000
LEAST_CONTENT = 200
"""Letters that a book must have; shorter ones hold no scene."""
LEAST_CHAPTERS, LEAST_CHAPTER = 6, 2_000
"""Chapters count when there are more than five; a shorter one is joined to the next, in characters (benchmarks.md 6.1)."""
_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    "twenty|thirty|forty|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|last"
)
_HEADING = re.compile(
    rf"^[ \t#*_]*(?:(?:chapter|part|book|act|scene|canto|volume|letter)[ \t]+(?:the )?(?:\d{{1,3}}|[ivxlcdm]{{1,7}}|{_WORDS})\b"
    r".{0,40}|(?:prologue|epilogue|preface)\b.{0,30}|第[零〇一二三四五六七八九十百千\d]{1,5}[章回卷节幕场].{0,40}|[楔引]子.{0,20})"
    r"[ \t*_]*$",
    re.I | re.M,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b-\u200d\u2060\ud800-\udfff]")
_COPYRIGHT = re.compile(r"copyright|all rights reserved|isbn|published by|publisher|printed in|edition|©", re.I)
_WIDE = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?。！？…][\"”’」』]?\s*"), re.compile(r"\s"))


class RawBook(NamedTuple):
    """A book as it came, its text cleaned of what is no text."""

    title: str
    author: str
    content: str
    language: Language


class Piece(NamedTuple):
    """A stretch of a book for one question: its number, the heading of its first chapter, its text."""

    number: int
    chapter: str
    text: str


def read_books(paths: Iterable[Path], skip: Skip) -> Iterator[RawBook]:
    """The books of files and folders (`*.jsonl`, `*.txt`), in order; of two with one title the first is kept.

    Raises:
        InputError: a path is neither, or cannot be read.
    """
    titles: set[str] = set()
    for file in book_files(paths):
        for where, title, author, content in _texts(file, skip):
            name = file_name(title)
            text = clean(content)
            if name in titles:
                skip(where, f"the title {title!r} stands twice; the first is kept")
            elif sum(map(str.isalpha, text)) < LEAST_CONTENT:
                skip(where, f"fewer than {LEAST_CONTENT} letters of text")
            else:
                titles.add(name)
                yield RawBook(name, author, text, language_of(text))


def book_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are meant, those of folders sorted by name."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.suffix.lower() in (".jsonl", ".txt"))
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"there is no book file or folder '{path}'; give *.jsonl or *.txt")
    return found


def _texts(file: Path, skip: Skip) -> Iterator[tuple[str, str, str, str]]:
    """Where, title, author and text of each book of a file."""
    try:
        if file.suffix.lower() != ".jsonl":
            yield f"file '{file.name}'", file.stem, "", decode(file.read_bytes())
            return
        with file.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), b""), 1):
                where = f"file '{file.name}' line {number}"
                if not line.strip():
                    continue
                entry = _entry(line, where, skip)
                if entry is not None:
                    title = entry.get("title")
                    content = entry.get("content")
                    if not isinstance(content, str):
                        skip(where, "no 'content'")
                        continue
                    named = title if isinstance(title, str) and title.strip() else f"{file.stem} {number}"
                    yield where, named, str(entry.get("author") or ""), content
    except OSError as error:
        raise InputError(f"book file '{file}' cannot be read ({error.strerror or error})") from error


def _entry(line: bytes, where: str, skip: Skip) -> dict[str, Any] | None:
    try:
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
    """Text of bytes that may be UTF-8, UTF-16 with a mark, or lines of UTF-8 and of Windows-1252 side by side."""
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
        return line.decode("cp1252", "replace")


def clean(text: str) -> str:
    """The text without NULs, other controls and marks, with plain line ends; tabs go where they are more than 5 %."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " "))
    if text.count("\t") * 20 > len(text):
        text = text.replace("\t", "")
    return text.strip()


def file_name(title: str) -> str:
    """A title as it may stand in a file's name: at most 100 characters and 180 bytes, of the 255 that file systems take."""
    plain = unicodedata.normalize("NFC", title).replace("/", "-").replace(":", "_").replace("\\", "-")
    named = " ".join(_CONTROL.sub("", plain).strip(". \n\t").split())[:100]
    return named.encode()[:180].decode("utf-8", "ignore").strip() or "untitled"


def language_of(text: str) -> Language:
    """`zh` when a quarter of the letters are Chinese."""
    shown = text[:200_000]
    return "zh" if sum("\u4e00" <= char <= "\u9fff" for char in shown) * 4 > sum(map(str.isalpha, shown)) else "en"


def tokens(text: str) -> int:
    """An estimate, by the rule of `her.backends.base.estimate_tokens`."""
    wide = len(_WIDE.findall(text))
    return wide + math.ceil((len(text) - wide) / 3.6)


def pieces(content: str, size: int) -> list[Piece]:
    """The whole book in pieces of about `size` tokens: whole chapters where they fit, else cut between paragraphs.

    Joined they are the book; in the first, lines of a copyright page are left out.
    """
    found: list[Piece] = []
    heading, text = "", ""
    for title, chapter in _chapters(content) or [("", content)]:
        heading = heading if text else title
        text += chapter
        if tokens(text) >= size // 2:
            found += [Piece(0, heading, cut) for cut in _cut(text, size)]
            text = ""
    if text.strip():
        found += [Piece(0, heading, cut) for cut in _cut(text, size)]
    numbered = [piece._replace(number=number) for number, piece in enumerate(found)]
    return [numbered[0]._replace(text=_without_imprint(numbered[0].text)), *numbered[1:]] if numbered else []


def _chapters(content: str) -> list[tuple[str, str]]:
    """Heading and text of every chapter, the text before the first among them; none when five or fewer are marked."""
    marks = [found for found in _HEADING.finditer(content) if len(found[0].strip()) <= 60]
    if len(marks) < LEAST_CHAPTERS:
        return []
    bounds = [0, *(mark.start() for mark in marks), len(content)]
    titles = ["", *(" ".join(mark[0].strip(" \t#*_\n").split()) for mark in marks)]
    merged: list[tuple[str, str]] = []
    for title, start, end in zip(titles, bounds, bounds[1:], strict=False):
        if merged and len(merged[-1][1]) < LEAST_CHAPTER:
            earlier, text = merged[-1]
            kept = title if len(text.strip()) <= len(earlier) + 2 else earlier  # a table of contents is all headings
            merged[-1] = (kept or title, text + content[start:end])
        else:
            merged.append((title, content[start:end]))
    return [(title, text) for title, text in merged if text]


def _cut(text: str, size: int) -> list[str]:
    """The text in stretches of at most `size` tokens, at most twice that when it is whole."""
    if tokens(text) <= 2 * size:
        return [text]
    step = max(1, round(len(text) * size / tokens(text)))
    cuts, start = [], 0
    while len(text) - start > 1.5 * step:
        end = _break(text, start + step * 4 // 5, start + step)
        cuts.append(text[start:end])
        start = end
    return [*cuts, text[start:]]


def _break(text: str, low: int, high: int) -> int:
    """The last good place to cut between two positions; `high` where there is none."""
    for pattern in _BREAKS:
        ends = [found.end() for found in pattern.finditer(text, low, high)]
        if ends:
            return ends[-1]
    return high


def _without_imprint(text: str) -> str:
    """The first piece without short lines that speak of copyright twice."""
    return "\n".join(line for line in text.split("\n") if len(line.split()) >= 50 or len(_COPYRIGHT.findall(line)) < 2)
