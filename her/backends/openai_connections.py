"""Connections of one backend to its server: requests whose response is read in pieces, with limits on time and bytes.

Redirects are not followed: the key goes to the host of the address and to no other.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import httpx2
from pydantic import Field

from her.backends.openai_errors import ServerLabel, error_from_exception
from her.backends.openai_negotiation import refusal
from her.backends.openai_unstreamed import UnstreamedClient
from her.backends.wire import TooManyBytes, read_body
from her.types import Sampling, Value

_REFUSAL_BYTES = 262_144
"""Most bytes that are read of a refusal."""
_KERNEL_BYTES = 65_536
"""Bytes of a response that the kernel holds for us; Linux doubles it. By default it grows to 6 MB of what nobody has read."""


class HttpLimits(Value):
    """Limits of one call. Any byte is a sign of life, also one of a keepalive.

    Args:
        connect: seconds to connect.
        first_token: longest silence before the first token, in seconds.
        token: longest silence after it.
        characters: longest answer.
    """

    connect: float = Field(default=10, gt=0)
    first_token: float = Field(default=120, gt=0)
    token: float = Field(default=60, gt=0)
    characters: int = Field(default=200_000, ge=1)

    def characters_for(self, sampling: Sampling) -> int:
        """Return the longest answer for this sampling, a guard against servers that ignore `max_tokens`.

        A token is rarely longer than 8 characters on average; 2,000 leave room for short answers.
        """
        return min(self.characters, max(2_000, 8 * sampling.max_tokens))


class Connections:
    """Connections to one server. They belong to one event loop each; pipelines and tests use several loops.

    Args:
        url: base address without a slash at its end.
        key: bearer key; empty for none.
        limits: see `HttpLimits`.
    """

    def __init__(self, url: str, key: str, limits: HttpLimits) -> None:
        self.limits = limits
        self._url, self._key = url, key
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()
        self._unstreamed: WeakKeyDictionary[asyncio.AbstractEventLoop, UnstreamedClient] = WeakKeyDictionary()

    @property
    def unstreamed(self) -> UnstreamedClient:
        """The connections for whole answers, of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._unstreamed:
            self._unstreamed[loop] = UnstreamedClient(self._url, self._key, self.limits.connect)
        return self._unstreamed[loop]

    async def open_stream(self, body: Mapping[str, Any], server: ServerLabel) -> httpx2.Response:
        """Post a chat completion request; return the response, of which only the head is read. Close it.

        Raises:
            BackendError, FormRefused: see `her.backends.openai_negotiation.refusal`.
        """
        response = await self.send("POST", "chat/completions", server, body)
        if response.status_code == 200:
            return response
        try:
            async with asyncio.timeout(self.limits.token):
                encoding = response.headers.get("content-encoding", "")
                content = await read_body(response.aiter_raw(), encoding, _REFUSAL_BYTES)
        except (TimeoutError, TooManyBytes, ValueError, httpx2.HTTPError):
            content = b""
        finally:
            await response.aclose()
        raise refusal(response.status_code, content, response.headers.get("retry-after", ""), server) from None

    async def send(self, method: str, path: str, server: ServerLabel, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        """Send a request, and once more when the server had closed a kept connection (RFC 9112, section 9.3.1)."""
        for attempt in (1, 2):
            request = self._client.build_request(method, f"{self._url}/{path}", json=body)
            try:
                async with asyncio.timeout(self.limits.first_token):
                    return _with_small_buffer(await self._client.send(request, stream=True))
            except TimeoutError:
                raise server.silent(self.limits.first_token) from None
            except httpx2.HTTPError as error:
                if attempt == 1 and isinstance(error, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
                    continue
                raise error_from_exception(error, server) from None
        raise AssertionError("unreachable: the second attempt returns or raises")

    async def close(self) -> None:
        """Close the connections of the running loop."""
        loop = asyncio.get_running_loop()
        client, unstreamed = self._clients.pop(loop, None), self._unstreamed.pop(loop, None)
        if client is not None:
            await client.aclose()
        if unstreamed is not None:
            await unstreamed.close()

    @property
    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx2.Timeout(None, connect=self.limits.connect)
            # No encoding is asked for: a small compressed body could become a large one.
            headers = {"accept-encoding": "identity", "user-agent": "her"}
            if self._key:
                headers["authorization"] = f"Bearer {self._key}"
            many = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)
            self._clients[loop] = httpx2.AsyncClient(
                headers=headers, follow_redirects=False, timeout=timeout, verify=_tls_context(), limits=many
            )
        return self._clients[loop]


def _with_small_buffer(response: httpx2.Response) -> httpx2.Response:
    """Keep the kernel from reading far ahead of us: bytes that it took count for no limit of ours."""
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
    return response


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the TLS context of all clients. To create one reads all root certificates, which takes 40 ms of CPU."""
    return httpx2.create_ssl_context()
