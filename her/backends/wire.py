"""Bytes of a response to JSON values: limits on bytes, decompression, server-sent events (WHATWG HTML, section 9.2), and above
the events a tolerant layer for what servers send instead.

Framing is by the standard: lines end with CR, LF or CRLF only, the text is UTF-8 whatever the header says, one BOM is skipped,
comments are skipped, `data` lines of one event are joined. Tolerated above it: an event with several JSON values, with comments
or a second `data:` inside, JSON without `data:` on a line of its own or over many lines, `error: {...}` as a field. All limits
are counted before anything is parsed (tests/backends/test_wire.py; benchmarks/hostile_server.py).
"""

import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

_FIELD = re.compile(rb"(data|event|id|retry)(?:: ?(.*))?", re.DOTALL)
_ERROR_FIELD = re.compile(r"error\s*:\s*(?=[\{\"\w])")
_BETWEEN = re.compile(r"(?:\s|,|data:|:[^\n]*(?:\n|$))*")
"""What may stand between two JSON values of one event: blanks, a second `data:`, a comment."""
_END = "[DONE]"
_ENDED = object()
"""Stands for `[DONE]` among values."""
_DECODER = json.JSONDecoder()
_PIECE = 65_536
"""Bytes that one step of decompression returns at most."""
_DEEPEST = 200
"""Depth of brackets above which a text is not parsed; no answer has ten."""


class TooManyBytes(Exception):
    """The server sent more than the limit; the connection is closed."""


class Unreadable(ValueError):
    """An event is no JSON."""


class Arrival(NamedTuple):
    """One JSON value of an answer, with the name of its event; `end` is the `[DONE]` of the protocol."""

    value: Any = None
    event: str = ""
    end: bool = False


class Inflater:
    """Decompression of a body in pieces, so that a small block never becomes a large one at once.

    Raises:
        Unreadable: the encoding is unknown, or the bytes do not follow it.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Unreadable(f"the encoding {name[:20]!r} was not asked for")
        # 47: zlib and gzip headers are told apart by their first bytes.
        self._inflate = None if name in ("", "identity") else zlib.decompressobj(47)

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of one block, at most 64 KiB at a time."""
        if self._inflate is None:
            yield block
            return
        try:
            while block:
                yield self._inflate.decompress(block, _PIECE)
                block = self._inflate.unconsumed_tail
        except zlib.error:
            raise Unreadable("the compressed body is broken") from None


async def read_blocks(blocks: AsyncIterator[bytes], encoding: str, limit: int) -> AsyncIterator[bytes]:
    """Yield the decompressed blocks of a body.

    Raises:
        TooManyBytes: more than `limit` bytes, compressed or not.
        Unreadable: see `Inflater`.
    """
    inflater, received, size = Inflater(encoding), 0, 0
    async for block in blocks:
        received += len(block)
        for piece in inflater.feed(block):
            size += len(piece)
            if max(size, received) > limit:
                raise TooManyBytes
            yield piece


async def read_body(blocks: AsyncIterator[bytes], encoding: str, limit: int) -> bytes:
    """Return a whole body; raises as `read_blocks`."""
    return b"".join([block async for block in read_blocks(blocks, encoding, limit)])


class ValueReader:
    """Reader of the JSON values in a body that arrives in blocks: call `feed` for each, then `close` once.

    Args:
        line: most bytes of one line, and of one event.
    """

    def __init__(self, line: int) -> None:
        self._limit = line
        self._held: list[bytes] = []  # the beginning of a line
        self._size = 0  # bytes in `_held` and `_data`
        self._begun = self._after_cr = False
        self._event = ""
        self._pieces: list[str] = []
        self._loose: list[str] = []  # lines of no field: JSON over several lines, or no event stream at all
        self.ended = False

    def feed(self, block: bytes) -> Iterator[Arrival]:
        """Yield the values that this block completes; nothing after `[DONE]`.

        Raises:
            TooManyBytes: a line or an event is longer than the limit.
            Unreadable: an event is no JSON.
        """
        if self._after_cr:
            block, self._after_cr = block.removeprefix(b"\n"), False
        if not self._begun and block:
            self._begun = True
            # A BOM that is split over two blocks is taken for text; no server sends its first three bytes apart.
            block = block.removeprefix(b"\xef\xbb\xbf")
        lines = block.splitlines(keepends=True)  # on bytes: CR, LF and CRLF only
        if not lines:
            return
        self._after_cr = lines[-1].endswith(b"\r")
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        for line in lines:
            if self._held:
                self._held.append(line)
                line = b"".join(self._held)
                self._held.clear()
            self._count(line)
            yield from self._read_line(line.rstrip(b"\r\n"))
            if self.ended:
                return
        if rest:
            self._count(rest)
            self._held.append(rest)

    def close(self) -> Iterator[Arrival]:
        """Yield the values of what no blank line ended."""
        if self.ended:
            return
        yield from self._read_line(b"".join(self._held))
        yield from self._dispatch()
        if self._loose and not self.ended:
            yield from self._values("\n".join(self._loose), "")

    def _count(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > self._limit:
            raise TooManyBytes

    def _read_line(self, line: bytes) -> Iterator[Arrival]:
        if not line:
            yield from self._dispatch()
            return
        if line[:1] == b":":
            self._size -= min(self._size, len(line))
            return
        field = _FIELD.fullmatch(line)
        if field is None:
            yield from self._read_loose(line.decode("utf-8", "replace"))
        elif field[1] == b"event":
            self._event = (field[2] or b"").decode("utf-8", "replace").strip()
        elif field[1] == b"data":
            self._pieces.append((field[2] or b"").decode("utf-8", "replace"))
            # A server that forgets blank lines must not be read at its end only: whole JSON is an event at once.
            if len(self._pieces) == 1 and (values := _parsed(self._pieces[0])) is not None:
                self._pieces.clear()
                self._size = 0
                yield from self._named(values, self._event)

    def _read_loose(self, line: str) -> Iterator[Arrival]:
        """Read a line without a field name: JSON, a named error, or the beginning of JSON over several lines."""
        if match := _ERROR_FIELD.match(line):
            text = line[match.end() :]
            values = _parsed(text)
            yield from self._named([text] if values is None else values, "error")
        elif not self._loose and line.lstrip()[:1] in ("{", "[") and (values := _parsed(line)) is not None:
            self._size = 0
            yield from self._named(values, self._event)
        elif line.strip():
            self._loose.append(line)

    def _dispatch(self) -> Iterator[Arrival]:
        name, pieces = self._event, self._pieces
        self._event, self._pieces = "", []
        if not self._loose:  # lines of no field are kept to the end, and so is their size
            self._size = 0
        if pieces:
            yield from self._values("\n".join(pieces), name)

    def _values(self, text: str, name: str) -> Iterator[Arrival]:
        values = _parsed(text)
        if values is None:
            if name == "error":
                values = [text]
            else:
                raise Unreadable(text[:80])
        yield from self._named(values, name)

    def _named(self, values: list[Any], name: str) -> Iterator[Arrival]:
        for value in values:
            self.ended = value is _ENDED
            yield Arrival(None if self.ended else value, name, self.ended)
            if self.ended:
                return


def _parsed(text: str) -> list[Any] | None:
    """Return the JSON values in a text, `_ENDED` for `[DONE]`; None when there is something else in it."""
    values: list[Any] = []
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        return None
    at = _skipped(text, 0)
    while at < len(text):
        if text[at : at + len(_END)].upper() == _END:
            return [*values, _ENDED]
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        values.append(value)
        at = _skipped(text, at)
    return values


def _skipped(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _depth(text: str) -> int:
    """Return an upper bound of the depth of brackets; those inside of strings count as well."""
    depth = deepest = 0
    for char in re.findall(r"[\[\]{}]", text):
        depth += 1 if char in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def values_of(content: bytes, line: int) -> list[Arrival]:
    """Return the JSON values of a whole body; raises as `ValueReader.feed`."""
    reader = ValueReader(line)
    return [*reader.feed(content), *reader.close()]
