"""Read the response of a streamed request as it arrives: bytes to texts, with patience for silence and limits on bytes."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx2

from her.backends.base import Delta
from her.backends.openai_connections import HttpLimits
from her.backends.openai_errors import ServerLabel, error_from_exception
from her.backends.openai_stream import StreamedAnswer
from her.backends.wire import TooManyBytes, ValueReader, read_blocks

log = logging.getLogger(__name__)
_AFTER_FINISH = 5.0
"""Seconds to wait for the usage chunk, which comes after the finish reason."""
_ENVELOPE = 1_000_000
"""Bytes of one event beside its text."""
_TURN = 20
"""Values without text that are read before others get a turn: 0.2 ms of work."""


class StreamReader:
    """Reader of one response.

    Args:
        answer: what has arrived; it is filled here.
        limits: see `HttpLimits`.
        server: for error sentences.
    """

    def __init__(self, answer: StreamedAnswer, limits: HttpLimits, server: ServerLabel) -> None:
        self._answer, self._limits, self._server = answer, limits, server

    async def deltas(self, response: httpx2.Response) -> AsyncIterator[Delta]:
        """Yield the texts of a response. Once the answer is whole, a failure only ends the wait for its token counts.

        Raises:
            BackendError: the server fell silent, broke off, or sent too much or something else.
        """
        self._server.refuse_web_page(response.headers.get("content-type", ""))
        line = _ENVELOPE + 12 * self._limits.characters
        values = ValueReader(line)
        blocks = read_blocks(response.aiter_raw(), response.headers.get("content-encoding", ""), 40 * line)
        try:
            while not self._answer.ended and (block := await self._next_block(blocks)) is not None:
                self._answer.count(len(block))
                await asyncio.sleep(0)  # bytes that are there already would be read without a turn for anybody else
                for number, arrival in enumerate(values.feed(block), 1):
                    if (delta := self._answer.add(arrival)).text or delta.reasoning:
                        yield delta
                    elif number % _TURN == 0:
                        await asyncio.sleep(0)
            for arrival in values.close():
                if (delta := self._answer.add(arrival)).text or delta.reasoning:
                    yield delta
        except (TooManyBytes, httpx2.HTTPError, ValueError, TimeoutError) as error:
            if self._answer.whole:
                log.info("%s failed after a whole answer: %s", self._server, type(error).__name__)
            elif isinstance(error, TimeoutError):
                raise self._server.silent(self._patience()) from None
            else:
                raise error_from_exception(error, self._server, begun=True) from None

    def _patience(self) -> float:
        """Return the longest silence now, in seconds."""
        if self._answer.whole:
            return _AFTER_FINISH
        return self._limits.token if self._answer.begun else self._limits.first_token

    async def _next_block(self, blocks: AsyncIterator[bytes]) -> bytes | None:
        """Return the next bytes, None at the end; any byte is a sign of life."""
        async with asyncio.timeout(self._patience()):
            return await anext(blocks, None)
