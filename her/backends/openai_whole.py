"""Whole answers from an OpenAI-compatible server, for many calls at once: one POST, one JSON back, nothing streamed.

Streaming costs the reader 0.1 ms a token, and a request 3.3 ms of this process through the openai package, 1.1 ms through
httpx2 below it, 0.3 ms through aiohttp (2 cores, 3 kB up, 1 kB down): only the last leaves room for hundreds of calls a
second. Sentences of failures are those of the streamed door (openai_errors.py).
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import pydantic_core

from her.backends.base import Completion, Usage, replace_surrogates
from her.backends.openai_answer import LENGTHS, same_model
from her.backends.openai_errors import ServerLabel, error_from_connection, error_from_status, server_message

if TYPE_CHECKING:
    import aiohttp

_BYTES_A_CHARACTER = 12
"""Of a JSON text: six for an escaped half of a character, two halves."""
_ENVELOPE = 1_000_000
"""Bytes of an answer that are not its text, such as the log of a prompt."""


class UnstreamedClient:
    """The connections of one event loop to one server; kept open between calls, as many as there are calls at once.

    Args:
        url: base address, ending in /v1 as a rule.
        key: bearer key, empty for none.
        connect: seconds a connection may take.
    """

    def __init__(self, url: str, key: str, connect: float) -> None:
        import aiohttp  # a quarter of a second, needed only when many calls are made

        self._url = f"{url}/chat/completions"
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
        self._proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        # No trust_env: it would look for a password of this host in ~/.netrc at every call.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def ask(self, body: Mapping[str, Any], place: ServerLabel, *, seconds: float, characters: int) -> Completion:
        """Post the body of a chat call and read the whole answer.

        Args:
            seconds: for everything, from connecting to the last byte.
            characters: longest text taken.

        Raises:
            BackendError: as in the Protocol of backends.
        """
        import aiohttp

        payload = pydantic_core.to_json(body)
        limit = _ENVELOPE + characters * _BYTES_A_CHARACTER
        try:
            async with asyncio.timeout(seconds):
                status, headers, content = await self._twice(payload, limit)
        except OverflowError:
            raise _endless(place, characters) from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            what = f"gave no whole answer within {seconds:g} s; it may be loading or overloaded, try again"
            raise place.error("timeout", what) from None
        except (aiohttp.ClientError, OSError) as error:
            raise error_from_connection(error, place, isinstance(error, aiohttp.ClientPayloadError)) from None
        if status != 200:
            raise error_from_status(status, place, server_message(content), headers.get("retry-after", ""))
        return parse_completion(content, headers.get("content-type", ""), place, characters)

    async def _twice(self, payload: bytes, limit: int) -> "tuple[int, Mapping[str, str], bytes]":
        """One POST, once more when a kept connection turned out to be closed by the server meanwhile."""
        import aiohttp

        try:
            return await self._post(payload, limit)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await self._post(payload, limit)

    async def _post(self, payload: bytes, limit: int) -> "tuple[int, Mapping[str, str], bytes]":
        posting = self._session.post(self._url, data=payload, headers=self._headers, proxy=self._proxy, allow_redirects=False)
        async with posting as answer:
            return answer.status, answer.headers, await _content(answer, limit)


async def _content(answer: "aiohttp.ClientResponse", limit: int) -> bytes:
    """The body; OverflowError when it has more than `limit` bytes."""
    blocks, size = [], 0
    async for block in answer.content.iter_any():
        size += len(block)
        if size > limit:
            raise OverflowError
        blocks.append(block)
    return b"".join(blocks)


def _endless(place: ServerLabel, characters: int) -> Exception:
    return place.error("endless", f"did not stop after {characters} characters; try again or lower the token limit")


def parse_completion(content: bytes, kind: str, place: ServerLabel, characters: int) -> Completion:
    """The completion that the body of a 200 holds, `kind` being its content type; BackendError for what is none."""
    if "html" in kind:
        raise place.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")
    try:
        said = pydantic_core.from_json(content)
    except ValueError:
        what = "sent something that is not JSON; check that the address is that of a chat API"
        raise place.error("invalid_reply", what) from None
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


def _completion(choice: dict[str, Any], usage: Any, place: ServerLabel, characters: int) -> Completion:
    message, finish = choice["message"], choice.get("finish_reason")
    text, reasoning = _text(message, "content"), _text(message, "reasoning_content") or _text(message, "reasoning")
    if finish == "content_filter":
        raise place.error("bad_request", "stopped the answer by its content filter")
    if not text and _text(message, "refusal"):
        text = _text(message, "refusal")
    if not text and not reasoning:
        raise place.error("empty", "said nothing; try again, or raise the limit of tokens")
    if len(text) + len(reasoning) > characters:
        raise _endless(place, characters)
    return Completion(text=text, reasoning=reasoning, finish="length" if finish in LENGTHS else "stop", usage=_usage(usage))


def _usage(counted: Any) -> Usage | None:
    if not isinstance(counted, dict):
        return None
    prompt, completion = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int):
        return Usage(prompt_tokens=prompt, completion_tokens=completion)
    return None


def _text(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    return replace_surrogates(value) if isinstance(value, str) else ""
