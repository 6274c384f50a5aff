"""JSONL: every slip is named with its file and line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from her.errors import InputError
from her.files.jsonl import append, read, write
from her.types import Message, Part

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
GOOD = b'{"role": "user", "content": "Hi"}\n'

BAD = {
    "not JSON": (GOOD + b"{'role': 1}\n", "line 2 is not JSON .*; correct it"),
    "cut off": (GOOD + b'{"role": "us', "line 2 is not JSON .*; it is the last line and truncated, delete it"),
    "unknown key": (b'{"role": "user", "content": "Hi", "name": "x"}\n', "line 1 has the unknown key 'name'; a Message"),
    "missing key": (b'{"role": "user"}\n', "line 1 lacks the key 'content'"),
    "wrong type": (b'{"role": "user", "content": 3}\n', "line 1 is not a Message: content is 3; input should be a valid string"),
    "wrong word": (b'{"role": "robot", "content": ""}\n', "line 1 is not a Message: role is 'robot'"),
    "not an object": (b"[]\n", r"line 1 is not a Message: the value is \[\]"),
    "NUL": (GOOD + b'{"role": "user", "content": "\x00"}\n', "line 2 holds a NUL byte"),
    "not UTF-8": (GOOD + b'{"role": "user", "content": "\xff"}\n', r"line 2 is not UTF-8 \(byte 0xff at 29\)"),
    "half a character": (b'{"role": "user", "content": "\\ud83d"}\n', "line 1 is not JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "line 1 begins with a byte order mark"),
    "empty line": (GOOD + b"\n" + GOOD, "line 2 is empty; only the end"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        list(read(file, Message))
    assert repr(str(file)) in str(caught.value) and "\n" not in str(caught.value)


def test_lines_before_a_bad_one_are_given(tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_bytes(GOOD + b"?\n")
    lines = read(file, Message)
    assert next(lines) == Message(role="user", content="Hi")
    with pytest.raises(InputError):
        next(lines)


@pytest.mark.parametrize("content", [b"", b"\n\n", GOOD + b"\n \r\n", GOOD.rstrip()])
def test_empty_lines_and_no_line_end_are_fine_at_the_end(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_bytes(content)
    assert len(list(read(file, Message))) == content.count(b"role")


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent.jsonl' cannot be read: No such file"):
        list(read(tmp_path / "absent.jsonl", Message))
    with pytest.raises(InputError, match="cannot be written"):
        append(tmp_path, [Message(role="user", content="x")])


def test_append_adds_and_never_joins_a_line_that_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    values = [Message(role="user", content=text) for text in ("a", "b", "c")]
    assert append(file, values[:1]) == 1 and append(file, values[1:]) == 2 and append(file, []) == 0
    assert list(read(file, Message)) == values
    file.write_bytes(file.read_bytes()[:-5])
    before = file.read_bytes()
    with pytest.raises(InputError, match="ends in the middle of a line"):
        append(file, values)
    assert file.read_bytes() == before


def test_write_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    assert write(file, [Part(kind="speech", text="old")]) == 1
    with pytest.raises(InputError, match="a Part has no JSON form"):
        write(file, [Part(kind="speech", text="new"), Part(kind="speech", text="\ud83d")])
    assert [part.text for part in read(file, Part)] == ["old"] and [path.name for path in tmp_path.iterdir()] == [file.name]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT))
def test_what_is_written_is_read(tmp_path: Path, texts: list[str]) -> None:
    file = tmp_path / "parts.jsonl"
    parts = [Part(kind="speech", text=text) for text in texts]
    assert write(file, parts) == len(parts)
    assert list(read(file, Part)) == parts
    assert file.read_bytes().count(b"\n") == len(parts)
