"""her/backends/local_rows.py without a model: stop strings, characters over several tokens, ends and limits of a row."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.backends.base import Delta, Usage
from her.backends.local_rows import BatchRow, Detokeniser, Stops
from her.errors import BackendError
from her.types import Sampling

END = 0


class ByteTokenizer:
    """Each byte of UTF-8 is a token."""

    def decode(self, tokens: list[int], **_: object) -> str:
        return bytes(tokens).decode("utf-8", "replace")


def row(limit: int = 100, stop: tuple[str, ...] = (), seed: int | None = None) -> BatchRow:
    return BatchRow([1, 2, 3], Sampling(stop=stop, seed=seed), limit, ByteTokenizer())


async def sent(row: BatchRow) -> list[Delta | BackendError]:
    await asyncio.sleep(0)  # call_soon_threadsafe puts them at the next turn of the loop
    return [row.deltas.get_nowait() for _ in range(row.deltas.qsize())]


def take(row: BatchRow, text: str) -> None:
    for token in text.encode():
        row.take(token, frozenset({END}))


@pytest.mark.parametrize(
    ("pieces", "stops", "shown", "hit"),
    [
        (["abc"], (), "abc", False),
        (["a", "b", "c"], ("bc",), "a", True),
        (["ab", "ab", "x"], ("abc",), "ababx", False),
        (["aab"], ("ab",), "a", True),
        (["one two"], ("two", "one"), "", True),
        (["ab"], ("abc",), "ab", False),
        (["ab"], ("",), "ab", False),
    ],
)
def test_stops(pieces: list[str], stops: tuple[str, ...], shown: str, hit: bool) -> None:
    cut = Stops(stops)
    text = ""
    for piece in pieces:
        text += cut.feed(piece)
        if cut.hit:
            break
    text += "" if cut.hit else cut.rest("")
    assert (text, cut.hit) == (shown, hit)


@given(st.text(max_size=30))
def test_tokens_become_the_same_text_piece_by_piece(text: str) -> None:
    detokeniser = Detokeniser(ByteTokenizer())
    pieces = [detokeniser.feed(token) for token in text.encode()]
    assert "".join(pieces) + detokeniser.rest() == text


def test_an_incomplete_character_is_held_back() -> None:
    detokeniser = Detokeniser(ByteTokenizer())
    assert [detokeniser.feed(token) for token in "你".encode()] == ["", "", "你"]
    assert detokeniser.feed("你".encode()[0]) == "" and detokeniser.rest() == "\ufffd"


async def test_an_end_token_ends_the_row_and_is_not_text() -> None:
    answer = row()
    take(answer, "Hi\0more")
    assert answer.done
    assert await sent(answer) == [
        Delta(text="H"),
        Delta(text="i"),
        Delta(finish="stop", usage=Usage(prompt_tokens=3, completion_tokens=2)),
    ]


async def test_the_limit_ends_the_row_with_what_was_held_back() -> None:
    answer = row(limit=2, stop=("ab!",))
    take(answer, "abc")
    last = (await sent(answer))[-1]
    assert last == Delta(text="ab", finish="length", usage=Usage(prompt_tokens=3, completion_tokens=2))


async def test_a_stop_string_ends_the_row_without_it() -> None:
    answer = row(stop=("lo",))
    take(answer, "Hello there")
    deltas = [delta for delta in await sent(answer) if isinstance(delta, Delta)]
    assert "".join(delta.text for delta in deltas) == "Hel" and deltas[-1].finish == "stop"


async def test_a_row_ends_once() -> None:
    answer = row()
    answer.finish("length")
    answer.fail(BackendError("late", "server_error"))
    answer.finish("stop")
    assert [delta.finish for delta in await sent(answer) if isinstance(delta, Delta)] == ["length"]


async def test_a_row_whose_reader_has_left_takes_no_token() -> None:
    answer = row()
    answer.cancelled.set()
    take(answer, "Hi")
    assert answer.done and await sent(answer) == []


async def test_the_same_seed_draws_the_same_numbers() -> None:
    first, second = row(seed=7), row(seed=7)
    numbers = [first.draw() for _ in range(5)]
    assert numbers == [second.draw() for _ in range(5)] != [row(seed=8).draw() for _ in range(5)]
    assert all(0 <= number < 1 for number in numbers)
