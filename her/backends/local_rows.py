"""One answer in the making by a local model: tokens become text, stop strings and limits end it, deltas go to its reader.

A row is fed by the model's thread and read from an event loop. Nothing here imports torch.
"""

import asyncio
import random
import threading
from typing import Any

from her.backends.base import Delta, FinishReason, Usage
from her.errors import BackendError
from her.types import Sampling


class BatchRow:
    """One request. `limit`: the most tokens it may get; `done`: no token is taken any more."""

    def __init__(self, prompt: list[int], sampling: Sampling, limit: int, tokenizer: Any) -> None:
        self.prompt, self.sampling, self.limit = prompt, sampling, limit
        self.done = False
        self.cancelled = threading.Event()
        self.deltas: asyncio.Queue[Delta | BackendError] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._dice = random.Random(sampling.seed)
        self._text, self._stops = Detokeniser(tokenizer), Stops(sampling.stop)
        self._count = 0

    def draw(self) -> float:
        """The next number of this row's own dice, in [0, 1): its seed holds whatever rows it is batched with."""
        return self._dice.random()

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Take the next token; those in `ends` close the answer and are not text."""
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
        """End the answer with what was held back; a second call does nothing."""
        if self.done:
            return
        self.done = True
        rest = "" if self._stops.hit else self._stops.rest(self._text.rest())
        usage = Usage(prompt_tokens=len(self.prompt), completion_tokens=self._count)
        self._send(Delta(text=rest, finish=reason, usage=usage))

    def fail(self, error: BackendError) -> None:
        """End the answer with an error, unless it has ended."""
        if not self.done:
            self.done = True
            self._send(error)

    def _send(self, item: Delta | BackendError) -> None:
        if self._loop.is_closed():
            self.cancelled.set()
            return
        self._loop.call_soon_threadsafe(self.deltas.put_nowait, item)


class Detokeniser:
    """Tokens -> text, piece by piece; holds back bytes that are not a whole character yet. Linear in the tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = self._read = 0

    def feed(self, token: int) -> str:
        """The text that this token completes."""
        self._tokens.append(token)
        before, now = self._decode(self._read), self._decode(len(self._tokens))
        if now.endswith("\ufffd") or len(now) <= len(before):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return now[len(before) :]

    def rest(self) -> str:
        """What was held back, as it is."""
        rest = self._decode(len(self._tokens))[len(self._decode(self._read)) :]
        self._read = len(self._tokens)
        return rest

    def _decode(self, end: int) -> str:
        # A token's text depends on its neighbour (leading spaces), so a little before it is decoded as well.
        # Special tokens are kept: some models mark their reasoning with them, and the reader knows those marks.
        tokens = self._tokens[self._start : end]
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class Stops:
    """Cuts the text at the first stop string, also when it arrives in pieces; `hit` says that it came."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """What may be shown now."""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)]
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self, text: str) -> str:
        """The end of the text, with all that was held back."""
        shown = self.feed(text)
        return shown + self._held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of `text` with which `stop` begins."""
        return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
