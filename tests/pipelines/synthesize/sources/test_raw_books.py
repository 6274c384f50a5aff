"""Raw books are read in any encoding, and whatever cannot be used is skipped with its reason."""

import json
from pathlib import Path

import pytest

from her.files.atomic import replacing
from pipelines.synthesize.sources.raw_books import RawBook, decode, file_name, read_books

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 40


def read(*paths: Path) -> tuple[list[RawBook], list[str]]:
    skipped: list[str] = []
    return list(read_books(paths, lambda where, reason: skipped.append(f"{where}: {reason}"))), skipped


def test_books_are_read_whatever_they_look_like(tmp_path: Path) -> None:
    lines = [
        {"title": "A/B: Book", "author": "X", "content": PROSE},
        {"title": "Empty", "content": ""},
        {"title": "No content"},
        {"title": "a/b: Book", "content": PROSE},
        {"title": "A/B: Book", "content": PROSE},
        {"content": f"{PROSE}\x00\ufeff"},
        ["a list"],
    ]
    file = tmp_path / "books.jsonl"
    file.write_bytes(
        b"\n".join(json.dumps(line).encode() for line in lines) + b"\nnot json\n\n" + b'{"title": "NUL\x00", "content": "x"}'
    )
    books, skipped = read(tmp_path)
    assert [book.title for book in books] == ["A-B_ Book", "a-b_ Book", "books 6"]
    assert all("\x00" not in book.content and "\ufeff" not in book.content for book in books)
    assert [reason.split(": ", 1)[1][:24] for reason in skipped] == [
        "fewer than 200 letters o",
        "no 'content'",
        "the title 'A/B: Book' is",
        "list instead of an objec",
        "not JSON (Expecting valu",
        "fewer than 200 letters o",
    ]
    assert all("line" in reason for reason in skipped)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("A/B: C\\D", "A-B_ C-D"),
        ("../..", "-"),
        (". \n", "untitled"),
        ("\x00\ud800", "untitled"),
        ("x" * 300, "x" * 100),
        ("红楼梦" * 100, "红楼梦" * 20),
        ("📖" * 100, "📖" * 45),
    ],
)
def test_a_title_of_any_length_and_script_names_a_file(tmp_path: Path, title: str, name: str) -> None:
    assert file_name(title) == name
    with replacing(tmp_path / f"{file_name(title)}.json") as file:
        file.write("{}")
    assert (tmp_path / f"{name}.json").is_file()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("déjà vu".encode(), "déjà vu"),
        (b"\xef\xbb\xbfmark", "mark"),
        ("déjà\nвсё".encode() + b"\nd\xe9j\xe0", "déjà\nвсё\ndéjà"),
        ("tout".encode("utf-16"), "tout"),
        (b"\x93quoted\x94", "“quoted”"),
    ],
)
def test_mixed_encodings_are_told_apart_line_by_line(raw: bytes, text: str) -> None:
    assert decode(raw) == text
