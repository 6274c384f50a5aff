"""Whole answers from an OpenAI-compatible server, for many calls at once: one POST, one JSON back, nothing streamed.

A streamed answer costs its reader 0.1 ms a token and the openai package 3 ms a request, which bounds a process at a few
hundred calls a second at best. Here a request costs under 1 ms: httpx2 is asked directly, by lanes of one connection each,
because its pool looks at every connection for every request. Sentences of failures are those of the streamed door.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from her.backends.base import Completion, Usage
from her.backends.openai_answer import LENGTHS, same_model, whole
from her.backends.openai_errors import Place, explain

_BYTES_A_CHARACTER = 12
"""Of a JSON text: six for an escaped half of a character, two halves."""
_ENVELOPE = 1_000_000
"""Bytes of an answer that are not its text, such as the log of a prompt."""


class Lanes:
    """Connections of one loop: each lane is a transport of a single connection, lent to one request at a time."""

    def __init__(self, connect: float) -> None:
        self._free: list[httpx2.AsyncHTTPTransport] = []
        self._all: list[httpx2.AsyncHTTPTransport] = []
        self._trusted: ssl.SSLContext | None = None
        self._timeout = {"connect": connect, "read": None, "write": None, "pool": None}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, limit: int) -> httpx2.Response:
        """The answer to one POST, read whole.

        Raises:
            httpx2.HTTPError, or OverflowError when the answer has more than `limit` bytes.
        """
        lane = self._free.pop() if self._free else self._open()
        request = httpx2.Request("POST", url, headers=headers, content=body, extensions={"timeout": self._timeout})
        try:
            answer = await lane.handle_async_request(request)
            try:
                content = await _content(answer, limit)
            finally:
                await answer.aclose()
        finally:
            self._free.append(lane)
        return httpx2.Response(answer.status_code, headers=_unpacked(answer.headers), content=content, request=request)

    async def close(self) -> None:
        """Close every connection."""
        for lane in self._all:
            await lane.aclose()

    def _open(self) -> httpx2.AsyncHTTPTransport:
        self._trusted = self._trusted or httpx2.create_ssl_context()
        lane = httpx2.AsyncHTTPTransport(verify=self._trusted, limits=httpx2.Limits(max_connections=1))
        self._all.append(lane)
        return lane


async def _content(answer: httpx2.Response, limit: int) -> bytes:
    blocks, size = [], 0
    async for block in answer.aiter_bytes():
        size += len(block)
        if size > limit:
            raise OverflowError
        blocks.append(block)
    return b"".join(blocks)


def _unpacked(headers: httpx2.Headers) -> httpx2.Headers:
    """The headers without how the body was packed on its way: it is unpacked here already."""
    kept = httpx2.Headers(headers)
    for name in ("content-encoding", "transfer-encoding", "content-length"):
        kept.pop(name, None)
    return kept


async def ask(lanes: Lanes, url: str, key: str, place: Place, body: dict[str, Any], *, seconds: float, characters: int) -> Completion:
    """Post the body of a chat call and read the whole answer.

    Args:
        seconds: for everything, from connecting to the last byte.
        characters: longest text taken.

    Raises:
        BackendError: as in the Protocol of backends.
    """
    headers = {"content-type": "application/json", "accept": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    payload = json.dumps(body, ensure_ascii=False).encode()
    try:
        async with asyncio.timeout(seconds):
            answer = await _twice(lanes, f"{url}/chat/completions", headers, payload, _ENVELOPE + characters * _BYTES_A_CHARACTER)
    except TimeoutError:
        raise place.error("timeout", f"gave no whole answer within {seconds:g} s; it may be loading or overloaded, try again") from None
    except OverflowError:
        raise place.error("endless", f"did not stop after {characters} characters; lower the token limit") from None
    except httpx2.HTTPError as error:
        raise explain(_lost(error), place) from None
    if answer.status_code != 200:
        raise explain(openai.APIStatusError("refused", response=answer, body=_said(answer)), place)
    return read(answer, place, characters)


async def _twice(lanes: Lanes, url: str, headers: Mapping[str, str], payload: bytes, limit: int) -> httpx2.Response:
    """One POST, once more when a kept connection turned out to be closed by the server meanwhile."""
    try:
        return await lanes.post(url, headers, payload, limit)
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError) as error:
        if "incomplete" in str(error) or "peer closed" in str(error):
            raise
        return await lanes.post(url, headers, payload, limit)


def _lost(error: httpx2.HTTPError) -> openai.APIConnectionError:
    """What the openai package would have raised, so that one place words it."""
    if isinstance(error, httpx2.TimeoutException):
        lost: openai.APIConnectionError = openai.APITimeoutError(request=error.request)
    else:
        lost = openai.APIConnectionError(request=error.request)
    lost.__cause__ = error
    return lost


def _said(answer: httpx2.Response) -> object:
    """The body of a refusal, as the openai package would show it."""
    try:
        said = answer.json()
    except ValueError:
        return answer.text
    return said.get("error", said) if isinstance(said, dict) else said


def read(answer: httpx2.Response, place: Place, characters: int) -> Completion:
    """The completion that a 200 holds; BackendError for what is none."""
    kind = answer.headers.get("content-type", "")
    if "html" in kind:
        raise place.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")
    try:
        said = json.loads(answer.content)
    except ValueError:
        raise place.error("invalid_reply", "sent something that is not JSON; check that the address is that of a chat API") from None
    choice = _choice(said)
    if choice is None:
        raise place.error("invalid_reply", "answered in another protocol; a chat completion was expected")
    model = said.get("model")
    if model and place.model and not same_model(str(model), place.model):
        raise place.error("invalid_reply", f"answered as another model, {model!r}; name that one or correct the server")
    return _completion(choice, said.get("usage"), place, characters)


def _choice(said: Any) -> dict[str, Any] | None:
    choices = said.get("choices") if isinstance(said, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _completion(choice: dict[str, Any], usage: Any, place: Place, characters: int) -> Completion:
    message, finish = choice["message"], choice.get("finish_reason")
    text, reasoning = _text(message, "content"), _text(message, "reasoning_content") or _text(message, "reasoning")
    if finish == "content_filter":
        raise place.error("bad_request", "stopped the answer by its content filter")
    if not text and _text(message, "refusal"):
        text = _text(message, "refusal")
    if not text and not reasoning:
        raise place.error("empty", "said nothing; try again, or raise the limit of tokens")
    if len(text) + len(reasoning) > characters:
        raise place.error("endless", f"did not stop after {characters} characters; try again or lower the token limit")
    counted = usage if isinstance(usage, dict) else {}
    prompt, completion = counted.get("prompt_tokens"), counted.get("completion_tokens")
    counts = isinstance(prompt, int) and isinstance(completion, int)
    return Completion(
        text=text,
        reasoning=reasoning,
        finish="length" if finish in LENGTHS else "stop",
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion) if counts else None,
    )


def _text(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    return whole(value) if isinstance(value, str) else ""
