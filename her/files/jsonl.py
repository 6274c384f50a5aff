"""Read and write values as JSONL: one value a line, UTF-8, no header. Every error names file and line.

`write` replaces a file atomically; `append` has flushed the lines to disk when it returns.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from her.errors import InputError
from her.files.atomic import replacing

ModelT = TypeVar("ModelT", bound=BaseModel)


def read(path: str | Path, model: type[ModelT]) -> Iterator[ModelT]:
    """Yield the values of a file one at a time; only the end of the file may have empty lines.

    Raises:
        InputError: at the first line that is not a `model`; the message names file and line.
    """
    file = Path(path)
    blank = 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    # An empty line is an error only when a value follows: editors add one at the end.
                    blank = blank or number
                    continue
                if blank:
                    raise InputError(f"{_at(file, blank)} is empty; only the end of a file may have empty lines")
                yield _value(file, number, line, model)
    except OSError as error:
        raise InputError(f"file {str(file)!r} cannot be read: {error.strerror}; give the path of a JSONL file") from error


def append(path: str | Path, values: Iterable[BaseModel]) -> int:
    """Append values to a file, created when missing, and flush them to disk; return the number of values.

    Raises:
        InputError: the file ends inside a line, or a value has no JSON form; the values before it are written.
    """
    file, count = Path(path), 0
    try:
        with file.open("a+b") as out:
            _check_end(file)
            for count, value in enumerate(values, 1):  # noqa: B007
                out.write(_line(file, value))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise InputError(f"file {str(file)!r} cannot be written: {error.strerror}") from error
    return count


def write(path: str | Path, values: Iterable[BaseModel]) -> int:
    """Write a file of these values, replacing an older file once all are written; return the number of values."""
    file, count = Path(path), 0
    with replacing(file) as out:
        for count, value in enumerate(values, 1):  # noqa: B007
            out.buffer.write(_line(file, value))
    return count


def _at(file: Path, number: int) -> str:
    return f"file {str(file)!r} line {number}"


def _value(file: Path, number: int, line: bytes, model: type[ModelT]) -> ModelT:
    where = _at(file, number)
    if b"\x00" in line:
        raise InputError(f"{where} holds a NUL byte; the file is not text or is damaged, restore it")
    if number == 1 and line.startswith(b"\xef\xbb\xbf"):
        raise InputError(f"{where} begins with a byte order mark; save the file as UTF-8 without one")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start}); save it as UTF-8") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problem = _problem(error, model.__name__, truncated=not line.endswith(b"\n"))
        raise InputError(f"{where} {problem}") from error


def _problem(error: ValidationError, name: str, *, truncated: bool) -> str:
    """Return what is wrong with one line, as the end of a sentence."""
    # The other errors of a line often follow from the first one.
    first = error.errors(include_url=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "json_invalid":
        advice = "it is the last line and truncated, delete it" if truncated else "correct it"
        return f"is not JSON ({first['msg']}); {advice}"
    if first["type"] == "extra_forbidden":
        return f"has the unknown key {field!r}; a {name} does not have it, delete it"
    if first["type"] == "missing":
        return f"lacks the key {field!r}, which every {name} needs; add it"
    value = repr(first["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    return f"is not a {name}: {field or 'the value'} is {shown}; {first['msg'][:1].lower()}{first['msg'][1:]}"


def _check_end(file: Path) -> None:
    with file.open("rb") as existing:
        if existing.seek(0, os.SEEK_END) == 0:
            return
        existing.seek(-1, os.SEEK_END)
        if existing.read(1) != b"\n":
            raise InputError(f"file {str(file)!r} ends in the middle of a line; delete that line first")


def _line(file: Path, value: BaseModel) -> bytes:
    try:
        return value.model_dump_json().encode("utf-8") + b"\n"
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InputError(f"file {str(file)!r}: a {type(value).__name__} has no JSON form ({error})") from error
