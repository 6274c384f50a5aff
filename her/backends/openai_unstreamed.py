"""Ask an OpenAI-compatible server for whole answers: one POST, one JSON back. For many calls at once.

Streaming costs the reader 0.1 ms per token. One request costs 3.3 ms of this process through the openai package, 1.1 ms through
httpx2 below it, and 0.3 ms through aiohttp (measured on 2 cores with 3 kB up and 1 kB down). Only aiohttp leaves room for
hundreds of calls per second. Error sentences are the same as for streamed answers (openai_errors.py).
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import pydantic_core

from her.backends.base import Completion, replace_surrogates
from her.backends.openai_errors import ServerLabel, error_from_connection, error_from_status, server_message
from her.backends.openai_fields import finish_reason, parse_usage, reasoning_text, same_model, string_field, token_choices
from her.errors import BackendError

if TYPE_CHECKING:
    import aiohttp

_BYTES_PER_CHARACTER = 12
"""Longest form of one character in JSON: a surrogate pair, each half escaped as six bytes."""
_BYTES_PER_CHOICE = 120
"""A token in a list of log-probabilities: its text, its bytes as numbers, its value. A token has at least one character."""
_ENVELOPE = 1_000_000
"""Bytes of an answer beside its text, such as the log probabilities of a prompt."""


class UnstreamedClient:
    """Connections of one event loop to one server. They stay open between calls; there are as many as calls at once.

    Args:
        url: base address, which usually ends in /v1.
        key: bearer key; empty for none.
        connect: seconds that opening a connection may take.
    """

    def __init__(self, url: str, key: str, connect: float) -> None:
        import aiohttp  # the import takes 0.25 s, and only pipelines need it

        self._url = f"{url}/chat/completions"
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
        self._proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        # Proxies are set here and not by aiohttp's trust_env, which would also look for this host's password in ~/.netrc.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ask(self, body: Mapping[str, Any], server: ServerLabel, *, seconds: float, characters: int) -> Completion:
        """Post the body of a chat completion request and return the whole answer.

        Args:
            server: for error sentences.
            seconds: for everything, from connecting to the last byte.
            characters: longest text that is accepted.

        Raises:
            BackendError: as in the Protocol of backends.
        """
        import aiohttp

        payload = pydantic_core.to_json(body)
        limit = _ENVELOPE + characters * (_BYTES_PER_CHARACTER + body.get("top_logprobs", 0) * _BYTES_PER_CHOICE)
        try:
            async with asyncio.timeout(seconds):
                status, headers, content = await self._post_or_retry(payload, limit)
        except OverflowError:
            raise _endless(server, characters) from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise server.error_with_advice("timeout", f"gave no whole answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise error_from_connection(error, server, isinstance(error, aiohttp.ClientPayloadError)) from None
        if status != 200:
            raise error_from_status(status, server, server_message(content), headers.get("retry-after", ""))
        return parse_completion(content, headers.get("content-type", ""), server, characters)

    async def _post_or_retry(self, payload: bytes, limit: int) -> "tuple[int, Mapping[str, str], bytes]":
        """Post, and post once more when the server had closed a kept connection (RFC 9112, section 9.3.1)."""
        import aiohttp

        try:
            return await self._post(payload, limit)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):  # no connection at all: a retry would fail as well
                raise
            return await self._post(payload, limit)

    async def _post(self, payload: bytes, limit: int) -> "tuple[int, Mapping[str, str], bytes]":
        posting = self._session.post(self._url, data=payload, headers=self._headers, proxy=self._proxy, allow_redirects=False)
        async with posting as response:
            return response.status, response.headers, await _read_body(response, limit)


async def _read_body(response: "aiohttp.ClientResponse", limit: int) -> bytes:
    """Return the body; raise OverflowError when it has more than `limit` bytes."""
    blocks, size = [], 0
    async for block in response.content.iter_any():
        size += len(block)
        if size > limit:
            raise OverflowError
        blocks.append(block)
    return b"".join(blocks)


def parse_completion(content: bytes, content_type: str, server: ServerLabel, characters: int) -> Completion:
    """Return the completion in the body of a response with status 200.

    Raises:
        BackendError: `invalid_reply` for a web page, broken JSON, another protocol or another model; `empty`; `endless`;
            `bad_request` for an answer that the server's content filter stopped.
    """
    if "html" in content_type:
        raise server.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")
    try:
        answer = pydantic_core.from_json(content)
    except ValueError:
        what = "sent something that is not JSON; check that the address is that of a chat API"
        raise server.error("invalid_reply", what) from None
    choice = _first_choice(answer)
    if choice is None:
        raise server.error("invalid_reply", "answered in another protocol; a chat completion was expected")
    model = answer.get("model")
    if model and server.model and not same_model(str(model), server.model):
        raise server.error("invalid_reply", f"answered as another model, {model!r}; name that one or correct the server")
    return _completion(choice, answer.get("usage"), server, characters)


def _first_choice(answer: Any) -> dict[str, Any] | None:
    """Return the first choice; None when the answer is not a chat completion."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _completion(choice: dict[str, Any], usage: Any, server: ServerLabel, characters: int) -> Completion:
    message, reason = choice["message"], choice.get("finish_reason")
    if reason == "content_filter":
        raise server.error("bad_request", "stopped the answer by its content filter")
    # With a JSON schema the OpenAI API puts a refusal into its own field and leaves the content empty.
    text = replace_surrogates(string_field(message, "content") or string_field(message, "refusal"))
    reasoning = replace_surrogates(reasoning_text(message))
    if not text and not reasoning:
        raise server.error_with_advice("empty", "said nothing")
    if len(text) + len(reasoning) > characters:
        raise _endless(server, characters)
    choices = token_choices(choice.get("logprobs"))
    return Completion(text=text, reasoning=reasoning, finish=finish_reason(reason), usage=parse_usage(usage), choices=choices)


def _endless(server: ServerLabel, characters: int) -> BackendError:
    return server.error_with_advice("endless", f"did not stop after {characters} characters")
