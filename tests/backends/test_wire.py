"""her/backends/wire.py: framing by the standard, what is tolerated above it, and limits on bytes."""

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.backends.wire import Arrival, Inflater, TooManyBytes, Unreadable, ValueReader, read_body, values_of

LINE = 10_000
DONE = Arrival(end=True)


def read(*blocks: bytes) -> list[Arrival]:
    reader = ValueReader(LINE)
    return [*(one for block in blocks for one in reader.feed(block)), *reader.close()]


def values(wire: str | bytes) -> list[Any]:
    return [one.value if not one.end else "END" for one in read(wire.encode() if isinstance(wire, str) else wire)]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ('data: {"a": 1}\n\ndata:{"a": 2}\n\ndata: [DONE]\n\ndata: {"a": 3}\n\n', [{"a": 1}, {"a": 2}, "END"]),
        ('data: {"a": 1}\r\rdata: 2\r\n\r\n', [{"a": 1}, 2]),
        ('\ufeffdata: {"a": 1}\n\n', [{"a": 1}]),
        ('data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        ('id: 1\nretry: 5\nevent: x\ndata: {"a": 1}\n\n', [{"a": 1}]),
        (': ping\n\ndata: : keepalive\n\ndata:\n\ndata: {"a": 1}\n\n: x\n', [{"a": 1}]),
        ('data: {"a": 1}{"a": 2}\n\n', [{"a": 1}, {"a": 2}]),
        ('data: {"a": 1}\ndata: {"a": 2}\n\n', [{"a": 1}, {"a": 2}]),
        ('data: data: {"a": 1}\n\ndata: {"a": 2} data: [done]\n\n', [{"a": 1}, {"a": 2}, "END"]),
        ('data: {"a": "x\u2028y\u0085z"}\n\n', [{"a": "x\u2028y\u0085z"}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('\n\n  \n{\n "a": 1\n}\n', [{"a": 1}]),
        ('{"a": 1}\n\ndata: [DONE]\n\n', [{"a": 1}, "END"]),
        ('data: {"a": 1}', [{"a": 1}]),
        ("event: error\ndata: busy\n\n", ["busy"]),
        ('error: {"code": 400}\n\n', [{"code": 400}]),
        ("error: no room\n", ["no room"]),
        ("", []),
    ],
)
def test_values(wire: str, expected: list[Any]) -> None:
    assert values(wire) == expected


def test_names_of_events() -> None:
    assert read(b'event: error\ndata: {"a": 1}\n\ndata: 2\n\nerror: {"b": 3}\n') == [
        Arrival({"a": 1}, "error"),
        Arrival(2),
        Arrival({"b": 3}, "error"),
    ]


@given(st.lists(st.integers(0, 200), max_size=12))
def test_law_any_split_into_blocks_gives_the_same(cuts: list[int]) -> None:
    wire = '\r\n: x\r\ndata: {"a": "你\\n好"}\r\n\r\nevent: error\rdata: [1,\rdata: 2]\r\r{"b": 1}\ndata: [DONE]\n\n'.encode()
    edges = [0, *sorted(cut % len(wire) for cut in cuts), len(wire)]
    blocks = [wire[left:right] for left, right in zip(edges, edges[1:], strict=False)]
    assert read(*blocks) == read(wire)
    assert read(wire)[-1] == DONE


@pytest.mark.parametrize(
    "wire", [b"data: {\n\n", b"<p>Bad gateway</p>\n", b"data: \xff\xfe\n\n", b"data: " + b"[" * 5_000 + b"\n\n"]
)
def test_what_is_no_json_is_unreadable(wire: bytes) -> None:
    with pytest.raises(Unreadable):
        read(wire)


@pytest.mark.parametrize("wire", [b"data: " + b"a" * LINE, b"x" * (LINE + 1), b"data: a\n" * LINE, b"{\n" * LINE])
def test_a_line_and_an_event_have_a_limit(wire: bytes) -> None:
    reader = ValueReader(LINE)
    with pytest.raises(TooManyBytes):
        for at in range(0, len(wire), 1_000):
            list(reader.feed(wire[at : at + 1_000]))


def test_many_small_events_are_no_long_line() -> None:
    assert len(values(b'data: {"a": 1}\n\n: x\n\n' * LINE)) == LINE


async def blocks_of(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 500):
        yield content[at : at + 500]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("", bytes)])
async def test_compressed_bodies_count_by_what_they_become(encoding: str, pack: Any) -> None:
    assert await read_body(blocks_of(pack(b"a" * 9_000)), encoding, 9_000) == b"a" * 9_000
    with pytest.raises(TooManyBytes):
        await read_body(blocks_of(pack(b"a" * 30_000_000)), encoding, 9_000)


def test_no_step_of_a_bomb_is_large() -> None:
    assert max(map(len, Inflater("gzip").feed(gzip.compress(b"a" * 5_000_000)))) <= 65_536


@pytest.mark.parametrize(("encoding", "content"), [("br", b"x"), ("gzip", b"no gzip")])
async def test_encodings_that_cannot_be_read(encoding: str, content: bytes) -> None:
    with pytest.raises(Unreadable):
        await read_body(blocks_of(content), encoding, 100)


def test_a_whole_body_with_something_around_it() -> None:
    assert values_of(b'\n{"a": 1}\n\ndata: [DONE]\n\n', LINE) == [Arrival({"a": 1}), DONE]
