"""her/backends/zero_gpu.py: tokens come out of a forked process as numbers, in order, until the end, an error or a stop."""

import os
import sys
import time

import pytest

from her.backends import zero_gpu
from her.backends.local_rows import BatchRow
from her.backends.zero_gpu import PlainRow, RemoteRow, register
from her.errors import BackendError
from her.types import Sampling
from tests.spaces_double import SpacesDouble

ROW = PlainRow(prompt=[1, 2], limit=6, temperature=0.7, top_p=0.9, seed=3)
END = 0


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> SpacesDouble:
    double = SpacesDouble()
    monkeypatch.setitem(sys.modules, "spaces", double)
    return double


def counting(rows: list[RemoteRow]) -> None:
    """Each row counts up from its number; the second row ends at 12."""
    token = 10
    while not all(row.done or row.cancelled.is_set() for row in rows):
        for number, row in enumerate(rows):
            row.take(END if number == 1 and token == 12 else token + number, [END])
        token += 1


def test_tokens_cross_as_numbers(spaces: SpacesDouble) -> None:
    steps = register("counting", counting)
    pairs = [pair for some in steps("counting", [ROW, ROW], [END]) for pair in some]
    assert [token for number, token in pairs if number == 0] == [10, 11, 12, 13, 14, 15]
    assert [token for number, token in pairs if number == 1] == [11, 12, END]
    assert spaces.decorated == ["token_steps"] and spaces.calls == [("nobody", 15)]


def test_a_stop_reaches_the_other_process(spaces: SpacesDouble) -> None:
    def endless(rows: list[RemoteRow]) -> None:
        while not rows[0].done and not rows[0].cancelled.is_set():
            rows[0].take(5, [END])
            time.sleep(0.001)

    steps = register("endless", endless)("endless", [ROW._replace(limit=10**9)], [END])
    assert next(steps)[0] == (0, 5)
    steps.close()
    assert spaces.stopped == 1


def test_an_error_of_the_other_process_is_raised_here(spaces: SpacesDouble) -> None:
    def broken(rows: list[RemoteRow]) -> None:
        rows[0].take(7, [END])
        raise ValueError(f"CUDA out of memory in {os.getpid()}")

    steps = register("broken", broken)("broken", [ROW], [END])
    with pytest.raises(RuntimeError, match="ValueError: CUDA out of memory") as caught:
        list(steps)
    assert str(os.getpid()) not in str(caught.value)


async def test_a_row_draws_the_same_numbers_there() -> None:
    here = BatchRow([1], Sampling(seed=3), 6, tokenizer=None)
    there = RemoteRow(0, here.plain(), None)  # type: ignore[arg-type]
    assert [here.draw() for _ in range(4)] == [there.draw() for _ in range(4)]
    assert (there.sampling.temperature, there.sampling.top_p) == (here.sampling.temperature, here.sampling.top_p)


def test_time_is_asked_for_by_the_longest_row() -> None:
    asked = [zero_gpu.seconds_of("x", [ROW, ROW._replace(limit=limit)], [END]) for limit in (10, 600, 10**6)]
    assert asked == [15, 45, zero_gpu.MOST_SECONDS]


def test_without_the_package_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(BackendError, match="the package 'spaces' is not installed; run: pip install spaces"):
        register("any", lambda rows: None)
