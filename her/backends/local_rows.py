"""One answer that a local model generates: tokens become text, stop strings and limits end it, deltas go to its reader.

The model's thread writes a row, an event loop reads it. Nothing here imports torch.
"""

import asyncio
import contextvars
import random
import threading
from typing import Any

from her.backends.base import Delta, FinishReason, Usage
from her.backends.zero_gpu import PlainRow
from her.errors import BackendError
from her.types import Sampling


class BatchRow:
    """One request in a batch.

    Args:
        prompt: token ids.
        limit: most tokens of the answer.

    Attributes:
        done: no further token is accepted.
        cancelled: set when the reader has left.
        deltas: what the reader gets, ended by a delta with `finish` or by an error.
        context: of the request; on ZeroGPU it says whose time it is.
    """

    def __init__(self, prompt: list[int], sampling: Sampling, limit: int, tokenizer: Any) -> None:
        self.prompt, self.sampling, self.limit = prompt, sampling, limit
        self.done = False
        self.cancelled = threading.Event()
        self.deltas: asyncio.Queue[Delta | BackendError] = asyncio.Queue()
        self.context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._dice = random.Random(sampling.seed)
        self._text, self._stops = Detokeniser(tokenizer), Stops(sampling.stop)
        self._count = 0

    def plain(self) -> PlainRow:
        """Return what another process needs to generate this row."""
        sampling = self.sampling
        return PlainRow(self.prompt, self.limit, sampling.temperature, sampling.top_p, sampling.seed)

    def draw(self) -> float:
        """Return the next random number in [0, 1). Each row has its own generator, so the batch does not change its numbers."""
        return self._dice.random()

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Add the next token; a token in `ends` ends the answer and is not text."""
        if self.done or self.cancelled.is_set():
            self.done = True
            return
        if token in ends:
            self.finish("stop")
            return
        self._count += 1
        text = self._stops.feed(self._text.feed(token))
        if text:
            self._send(Delta(text=text))
        if self._stops.hit:
            self.finish("stop")
        elif self._count >= self.limit:
            self.finish("length")

    def finish(self, reason: FinishReason) -> None:
        """End the answer with the text that was held back; a second call does nothing."""
        if self.done:
            return
        self.done = True
        rest = "" if self._stops.hit else self._stops.rest(self._text.rest())
        usage = Usage(prompt_tokens=len(self.prompt), completion_tokens=self._count)
        self._send(Delta(text=rest, finish=reason, usage=usage))

    def fail(self, error: BackendError) -> None:
        """End the answer with an error, unless it has already ended."""
        if not self.done:
            self.done = True
            self._send(error)

    def _send(self, item: Delta | BackendError) -> None:
        if self._loop.is_closed():
            self.cancelled.set()
            return
        self._loop.call_soon_threadsafe(self.deltas.put_nowait, item)


class Detokeniser:
    """Turns tokens into text piece by piece, in time linear in the tokens; holds back bytes of an incomplete character.

    The method is that of vLLM's incremental detokenizer (and of text-generation-inference): decode a short window twice, with
    and without the new tokens, and yield the difference.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = self._read = 0

    def feed(self, token: int) -> str:
        """Return the text that this token completes."""
        self._tokens.append(token)
        before, now = self._decode(self._read), self._decode(len(self._tokens))
        if now.endswith("\ufffd") or len(now) <= len(before):  # U+FFFD: the bytes of a character are not all there yet
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return now[len(before) :]

    def rest(self) -> str:
        """Return the text that was held back, incomplete characters included."""
        rest = self._decode(len(self._tokens))[len(self._decode(self._read)) :]
        self._read = len(self._tokens)
        return rest

    def _decode(self, end: int) -> str:
        # The text of a token depends on its neighbour (leading spaces), so the window begins before the new tokens.
        # Special tokens stay: some models mark their reasoning with them, and the parser knows these marks.
        tokens = self._tokens[self._start : end]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class Stops:
    """Cuts the text at the first stop string, also when it arrives in pieces. `hit` is True once it has come."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Return the text that is certain to come before any stop string."""
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.hit, self._held = True, ""
            return text[: min(places)]
        # The end of the text may be the beginning of a stop string; it is held back until the next piece decides.
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self, text: str) -> str:
        """Return the last text and everything that was held back."""
        shown = self.feed(text)
        return shown + self._held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Return the length of the longest end of `text` that is a beginning of `stop`."""
        return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
