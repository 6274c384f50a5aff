"""Generate on ZeroGPU, where a Space gets a GPU for one call at a time and the call runs in a forked process.

Only plain values cross to that process and back: token ids and numbers, no thread, lock, queue or model. The model is there
because a fork copies the memory, and is found by its name. So it has to be loaded before the page is launched, in the main
thread: the package `spaces` lets tensors of that thread wait for a GPU (spaces 0.51, `spaces/zero`). Time on the GPU counts for
the visitor whose request is in the context of the call, so each visitor's answer is a call of its own.

Away from ZeroGPU nothing here is used. Nothing here imports torch.
"""

import queue
import random
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from her.errors import BackendError

Steps = Callable[[str, "Sequence[PlainRow]", Collection[int]], Generator[list[tuple[int, int]], None, None]]
"""`(model, rows, ends)` -> pairs of a row's number and its next token, some at a time."""
SECONDS_OF_LOADING, TOKENS_PER_SECOND = 15, 20
"""Time that is asked for: moving the weights to the GPU, then so many tokens a second, few on purpose: a longer call is cut."""
MOST_SECONDS = 120
"""Longest call: a visitor without an account has 2 minutes a day."""
_LATER = (-1, -1)
"""Stands for a token that is not there yet."""
_LOADED: dict[str, Callable[[Any], None]] = {}
"""Model -> what generates the tokens of rows with it, until all are done."""


class PlainRow(NamedTuple):
    """A row as the other process is told of it; see `her.backends.local_rows.BatchRow`."""

    prompt: list[int]
    limit: int
    temperature: float
    top_p: float
    seed: int | None


class RowSampling(NamedTuple):
    """The knobs of a row that choose its tokens."""

    temperature: float
    top_p: float


class RemoteRow:
    """A row in the other process: has what generation asks of a `BatchRow`, and passes its tokens on as numbers."""

    def __init__(self, number: int, plain: PlainRow, made: "queue.SimpleQueue[tuple[int, int] | None]") -> None:
        self.prompt, self.limit = plain.prompt, plain.limit
        self.sampling = RowSampling(plain.temperature, plain.top_p)
        self.done = False
        self.cancelled = threading.Event()
        self._number, self._made, self._count = number, made, 0
        self._dice = random.Random(plain.seed)

    def draw(self) -> float:
        """Return the next random number in [0, 1): the same as that of the row itself."""
        return self._dice.random()

    def take(self, token: int, ends: Collection[int]) -> None:
        """Pass a token on; one in `ends` is the last."""
        if self.done or self.cancelled.is_set():
            self.done = True
            return
        self._made.put((self._number, token))
        self._count += 1
        self.done = token in ends or self._count >= self.limit

    def finish(self, reason: str) -> None:
        """End the row; the row itself knows why from its tokens."""
        self.done = True


def register(model: str, generate: Callable[[Any], None]) -> Steps:
    """Let a model generate on ZeroGPU and return what to call; the page must not be launched yet.

    Args:
        model: a name that no other model of this process has.
        generate: generates the tokens of rows, in whatever process it is called.

    Raises:
        BackendError: `missing_extra`, the package `spaces` is not installed.
    """
    try:
        import spaces
    except ImportError as error:
        sentence = "this Space is on ZeroGPU and the package 'spaces' is not installed; run: pip install spaces"
        raise BackendError(sentence, "missing_extra") from error
    _LOADED[model] = generate
    decorated: Steps = spaces.GPU(token_steps, duration=seconds_of)
    return decorated


def generate_remotely(steps: Steps, model: str, rows: Sequence[Any], ends: frozenset[int]) -> None:
    """Generate rows (`her.backends.local_rows.BatchRow`) in the process that has the GPU, and take their tokens here."""
    made = steps(model, [row.plain() for row in rows], sorted(ends))
    with closing(made):
        for some in made:
            # Looked at before the next tokens: a row that came to its own end has ended there too, and its call is not cut.
            if all(row.done or row.cancelled.is_set() for row in rows):
                break
            for number, token in some:
                rows[number].take(token, ends)
    for row in rows:
        row.finish("length")


def seconds_of(model: str, rows: Sequence[PlainRow], ends: Collection[int]) -> int:
    """Return the seconds that a call asks ZeroGPU for; it counts what was used."""
    return min(MOST_SECONDS, SECONDS_OF_LOADING + max(row.limit for row in rows) // TOKENS_PER_SECOND)


def token_steps(model: str, rows: Sequence[PlainRow], ends: Collection[int]) -> Generator[list[tuple[int, int]], None, None]:
    """Yield the tokens of rows as they come; closing the iterator stops them all at their next token.

    Raises:
        Exception: whatever generation raised.
    """
    made: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    remote = [RemoteRow(number, PlainRow(*row), made) for number, row in enumerate(rows)]
    failed: list[Exception] = []

    def generate() -> None:
        try:
            _LOADED[model](remote)
        except Exception as error:
            failed.append(error)
        finally:
            made.put(None)

    # Generation pushes tokens and an iterator is asked for them: so it runs beside, in the process that has the GPU.
    thread = threading.Thread(target=generate, name=f"zero {model}", daemon=True)
    thread.start()
    try:
        yield from _batches(made)
    finally:
        for row in remote:
            row.cancelled.set()
        thread.join()
    if failed:
        raise failed[0]


def _batches(made: "queue.SimpleQueue[tuple[int, int] | None]") -> Generator[list[tuple[int, int]], None, None]:
    """Yield what is there at a time, up to the end: each value that crosses to the other process costs as much as a token."""
    item = made.get()
    while item is not None:
        some = [item]
        while (item := made.get() if not made.empty() else _LATER) not in (None, _LATER):
            some.append(item)
        yield some
        if item is _LATER:
            item = made.get()
