"""Read a streamed chat completion: server-sent events (WHATWG HTML, section 9.2) with one JSON chunk each, ended by `[DONE]`."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from her.backends.base import Delta, FinishReason, Usage, replace_surrogates
from her.backends.openai_errors import ServerLabel, error_from_event
from her.backends.openai_fields import finish_reason, parse_usage, reasoning_text, same_model, string_field


async def read_events(response: httpx2.Response) -> AsyncIterator[Any]:
    """Yield the JSON value of each event.

    Parsed here and not by the openai package, whose models cost 1 ms per token: with fifty visitors more than everything else.
    """
    async for line in response.aiter_lines():
        # Comments (`: ping`) and other fields (`event:`, `id:`) carry no text. Chat servers send each value on one data line.
        content = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if content == "[DONE]":
            return
        if content:
            yield json.loads(content)


class StreamedAnswer:
    """The part of one answer that has arrived.

    Args:
        server: for error sentences.
        limit: most characters of text and reasoning together.

    Attributes:
        finish: set when the server has sent a finish reason.
        begun: True when some text has arrived.
        waited: seconds of waiting since the last text.
    """

    def __init__(self, server: ServerLabel, limit: int) -> None:
        self.finish: FinishReason | None = None
        self.begun = False
        self.waited = 0.0
        self._server, self._limit = server, limit
        self._size = 0
        self._usage: Usage | None = None
        self._text, self._reasoning = _SurrogatePairs(), _SurrogatePairs()

    def add_chunk(self, chunk: Any) -> Delta:
        """Add one chunk and return its text, which may be empty.

        Raises:
            BackendError: an error event, another protocol, another model, or too much text.
        """
        if isinstance(chunk, dict) and chunk.get("error"):
            raise error_from_event(chunk["error"], self._server)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise self._server.error("invalid_reply", "answered in another protocol; a chat completion stream was expected")
        self._check_model(chunk.get("model"))
        self._usage = parse_usage(chunk.get("usage")) or self._usage
        if not choices:  # the chunk with the usage has no choice
            return Delta()
        delta = self._add_delta(choices[0].get("delta"))
        reason = choices[0].get("finish_reason")
        self._add_finish(reason if reason is None else str(reason))
        return delta

    def last_delta(self) -> Delta:
        """Return the delta that ends the answer.

        Raises:
            BackendError: `broken_stream` when no finish reason came, `empty` when no text came.
        """
        if self.finish is None:
            raise self._server.error_with_advice("broken_stream", "ended the stream before the answer ended")
        if not self.begun:
            raise self._server.error_with_advice("empty", "said nothing")
        return Delta(text=self._text.rest(), reasoning=self._reasoning.rest(), finish=self.finish, usage=self._usage)

    def _add_delta(self, delta: Any) -> Delta:
        text = self._text.feed(string_field(delta, "content"))
        reasoning = self._reasoning.feed(reasoning_text(delta))
        if text or reasoning:
            self.begun, self.waited = True, 0.0
        self._size += len(text) + len(reasoning)
        if self._size > self._limit:
            raise self._server.error_with_advice("endless", f"did not stop after {self._limit} characters")
        return Delta(text=text, reasoning=reasoning)

    def _add_finish(self, reason: str | None) -> None:
        if reason == "content_filter":
            raise self._server.error("bad_request", "stopped the answer by its content filter")
        if reason is not None and self.finish is None:
            self.finish, self.waited = finish_reason(reason), 0.0

    def _check_model(self, name: object) -> None:
        if isinstance(name, str) and name and self._server.model and not same_model(name, self._server.model):
            raise self._server.error("invalid_reply", f"answered as another model, {name!r}; name that one or correct the server")


class _SurrogatePairs:
    """Joins a UTF-16 surrogate pair that arrives in two chunks; a lone surrogate becomes U+FFFD, so that it can be stored."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":  # a high surrogate: its low half may begin the next chunk
            text, self._high = text[:-1], text[-1]
        return replace_surrogates(text)

    def rest(self) -> str:
        return "\ufffd" if self._high else ""
