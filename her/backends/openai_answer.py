"""What an OpenAI-compatible server streams, read chunk by chunk into Deltas, and where it stops being an answer."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from her.backends.base import Delta, FinishReason, Usage, replace_surrogates
from her.backends.openai_errors import ServerLabel, error_from_event

LENGTHS = {"length", "max_tokens"}


async def read_events(response: httpx2.Response) -> AsyncIterator[Any]:
    """The JSON values of a server's event stream, as they come.

    Read here and not by the client: its models cost a millisecond a token, with fifty visitors more than all the rest.
    """
    async for line in response.aiter_lines():
        content = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if content == "[DONE]":
            return
        if content:
            yield json.loads(content)


class StreamedAnswer:
    """What has arrived of one answer. `waited`: seconds of waiting since the last text."""

    def __init__(self, place: ServerLabel, limit: int) -> None:
        self.finish: FinishReason | None = None
        self.begun = False
        self.waited = 0.0
        self._place, self._limit = place, limit
        self._size = 0
        self._usage: Usage | None = None
        self._text, self._reasoning = _Pairs(), _Pairs()

    def read(self, chunk: Any) -> Delta:
        """The text of one chunk; BackendError when it is no chunk of ours or one too many."""
        if isinstance(chunk, dict) and chunk.get("error"):
            raise error_from_event(chunk["error"], self._place)
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise self._place.error("invalid_reply", "answered in another protocol; a chat completion stream was expected")
        self._check_model(chunk.get("model"))
        self._usage = _usage(chunk.get("usage")) or self._usage
        if not choices:
            return Delta()
        delta = self._sized(choices[0].get("delta"))
        reason = choices[0].get("finish_reason")
        self._finished(reason if reason is None else str(reason))
        return delta

    def end(self) -> Delta:
        """The last delta; BackendError when the answer is not whole or says nothing."""
        if self.finish is None:
            raise self._place.error("broken_stream", "ended the stream before the answer ended; try again")
        if not self.begun:
            raise self._place.error("empty", "said nothing; try again, or raise the limit of tokens")
        return Delta(text=self._text.rest(), reasoning=self._reasoning.rest(), finish=self.finish, usage=self._usage)

    def _sized(self, delta: Any) -> Delta:
        text = self._text.feed(_string(delta, "content"))
        # Servers that are moving from one name to the other send the same text under both.
        reasoning = self._reasoning.feed(_string(delta, "reasoning_content") or _string(delta, "reasoning"))
        if text or reasoning:
            self.begun, self.waited = True, 0.0
        self._size += len(text) + len(reasoning)
        if self._size > self._limit:
            raise self._place.error("endless", f"did not stop after {self._limit} characters; try again or lower the token limit")
        return Delta(text=text, reasoning=reasoning)

    def _finished(self, reason: str | None) -> None:
        if reason == "content_filter":
            raise self._place.error("bad_request", "stopped the answer by its content filter")
        if reason is not None and self.finish is None:
            self.finish, self.waited = ("length" if reason in LENGTHS else "stop"), 0.0

    def _check_model(self, name: object) -> None:
        if isinstance(name, str) and name and self._place.model and not same_model(name, self._place.model):
            raise self._place.error("invalid_reply", f"answered as another model, {name!r}; name that one or correct the server")


class _Pairs:
    """Joins surrogates that arrive in two pieces; a lone one becomes U+FFFD, so that the text can be stored."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return replace_surrogates(text)

    def rest(self) -> str:
        return "\ufffd" if self._high else ""


def _string(delta: Any, field: str) -> str:
    value = delta.get(field) if isinstance(delta, Mapping) else None
    return value if isinstance(value, str) else ""


def _usage(counts: Any) -> Usage | None:
    if not isinstance(counts, Mapping):
        return None
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int):
        return Usage(prompt_tokens=prompt, completion_tokens=completion)
    return None


def same_model(one: str, other: str) -> bool:
    """Whether two names can mean one model: path, case, `:tag`, `.gguf` and added dates do not count."""
    a, b = _bare(one), _bare(other)
    return a.startswith(b) or b.startswith(a)


def _bare(name: str) -> str:
    base = name.lower().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"\.gguf$|:.*$|[^\w.]", "", base)
