"""Ask an OpenAI-compatible server for whole answers: one POST, one JSON back. For many calls at once.

Streaming costs the reader 0.1 ms per token. One request costs 3.3 ms of this process through the openai package, 1.1 ms through
httpx2 below it, and 0.3 ms through aiohttp (measured on 2 cores with 3 kB up and 1 kB down). Only aiohttp leaves room for
hundreds of calls per second. Error sentences are the same as for streamed answers (openai_errors.py).
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import pydantic_core

from her.backends.base import Completion
from her.backends.openai_errors import ServerLabel, error_from_connection, error_from_exception
from her.backends.openai_stream import StreamedAnswer
from her.backends.wire import Arrival, TooManyBytes, Unreadable, read_body, values_of
from her.errors import BackendError

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
        self._headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
        self._proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        # Proxies are set here and not by aiohttp's trust_env, which would also look for this host's password in ~/.netrc.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
            auto_decompress=False,  # a small compressed body could become a large one; see her/backends/wire.py
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(
        self, body: Mapping[str, Any], server: ServerLabel, *, seconds: float, characters: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Post the body of a chat completion request and return status, headers and content.

        Args:
            server: for error sentences.
            seconds: for everything, from connecting to the last byte.
            characters: longest text that is accepted.

        Raises:
            BackendError: no answer came, or one with too many bytes.
        """
        import aiohttp

        payload = pydantic_core.to_json(body)
        limit = _ENVELOPE + characters * (_BYTES_PER_CHARACTER + body.get("top_logprobs", 0) * _BYTES_PER_CHOICE)
        try:
            async with asyncio.timeout(seconds):
                return await self._post_or_retry(payload, limit)
        except TooManyBytes:
            raise _endless(server, characters) from None
        except aiohttp.ConnectionTimeoutError:
            raise server.unreached() from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise server.error_with_advice("timeout", f"gave no whole answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise error_from_connection(error, server, isinstance(error, aiohttp.ClientPayloadError)) from None
        except Unreadable as error:
            raise error_from_exception(error, server) from None

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
            encoding = response.headers.get("content-encoding", "")
            return response.status, response.headers, await read_body(response.content.iter_any(), encoding, limit)


def parse_completion(content: bytes, content_type: str, server: ServerLabel, characters: int) -> Completion:
    """Return the completion in the body of a response with status 200.

    Raises:
        BackendError: `invalid_reply` for a web page, broken JSON or another protocol; else as a streamed answer.
    """
    server.refuse_web_page(content_type)
    try:
        arrivals = [Arrival(json.loads(content))]
    except (ValueError, RecursionError):  # not one JSON value: perhaps a stream, or JSON with something around it
        try:
            arrivals = values_of(content, len(content) + 1)
        except ValueError as error:
            raise error_from_exception(error, server) from None
    return StreamedAnswer(server, characters).completion(iter(arrivals))


def _endless(server: ServerLabel, characters: int) -> BackendError:
    return server.error_with_advice("endless", f"did not stop after {characters} characters")
