"""Sessions whose stream is being read: a generation is streamed to somebody, or its stream ends.

Gradio keeps what a session has not fetched; a client that joins and never reads would hold a place until the reply ends.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Readers:
    """Open streams by session, and since when a session has none."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def reading(self, session: str) -> Iterator[None]:
        """Count a stream while the block runs."""
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]

    def reads(self, session: str) -> bool:
        """Tell whether a stream of this session is open."""
        return session in self._open


READERS = Readers()
"""Streams of this process: middleware and handlers are made apart from each other by Gradio."""


class Patience:
    """Patience with one stream that has no reader; a page opens its stream a moment after it joins.

    Args:
        session: of Gradio; empty where there is none, as in tests: then somebody always reads.
        seconds: without a reader after which the stream ends.
    """

    def __init__(self, session: str, seconds: float) -> None:
        self._session, self._seconds, self._read_at = session, seconds, time.monotonic()

    @property
    def over(self) -> bool:
        """Tell whether nobody has read for too long."""
        now = time.monotonic()
        if not self._session or READERS.reads(self._session):
            self._read_at = now
        return now - self._read_at > self._seconds
