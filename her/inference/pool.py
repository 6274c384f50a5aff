"""Share the calls of a run among its endpoints.

The next call goes to the endpoint with the largest free share of its window, so that a fast server, whose window has
grown, gets more calls than a slow one and all are equally full. Waiting calls are served first in first out; a call that
is asked again goes before them, and a patient one, on whose answer nothing waits, after them: so that the long chains of a run
do not stand behind what can be done in any order, and places are not empty while the last chain ends.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from her.errors import BackendError
from her.inference.endpoints import Endpoint, EndpointLimits, Ticket


@dataclass(slots=True)
class _Waiter:
    place: "asyncio.Future[Ticket]"
    avoid: Endpoint | None = None
    until: float = 0.0


class Pool:
    """Endpoints of one run.

    Args:
        endpoints: at least one.
        limits: only `patience` is used.
    """

    def __init__(self, endpoints: Sequence[Endpoint], limits: EndpointLimits) -> None:
        self.endpoints, self._limits = endpoints, limits
        self.stopped: BackendError | None = None
        """Why the run cannot go on: every endpoint is lost, or none has answered for too long."""
        self._waiters: deque[_Waiter] = deque()
        self._patient: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last_answer = -1.0

    async def acquire(self, avoid: Endpoint | None = None, seconds: float = 0.0, *, patient: bool = False) -> Ticket:
        """Return a place for one call, after waiting for it.

        Args:
            avoid: the endpoint at which the call has just failed; not used for the next `seconds`.
            seconds: see `avoid`.
            patient: whether all other calls go before it, however long.

        Raises:
            BackendError: no endpoint is left, or none has answered for `patience` seconds.
        """
        now = _now()
        self._last_answer = now if self._last_answer < 0 else self._last_answer  # patience begins with the first call
        if self.stopped is not None:
            raise self.stopped
        if (
            not self._waiters
            and not (patient and self._patient)
            and avoid is None
            and (endpoint := self._choose(None, now)) is not None
        ):
            return endpoint.take(now)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), avoid, now + seconds)
        queue = self._patient if patient and avoid is None else self._waiters
        (queue.append if avoid is None else queue.appendleft)(waiter)
        self._serve()
        try:
            return await waiter.place
        except asyncio.CancelledError:
            # The place may have been given between the cancellation and this line: pass it on.
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                self.release(waiter.place.result(), cancelled=True)
            raise

    def release(self, ticket: Ticket, error: BackendError | None = None, *, cancelled: bool = False) -> None:
        """Give a place back: the call was answered, failed with `error`, or was cancelled."""
        now = _now()
        if cancelled:
            ticket.endpoint.cancel(ticket)
        elif ticket.endpoint.finish(ticket, error, now):
            self._last_answer = now
        elif error is not None:
            self._stop_if_hopeless(error, now)
        self._serve()

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _stop_if_hopeless(self, error: BackendError, now: float) -> None:
        """Stop the run if no endpoint can be expected to answer."""
        silence = now - self._last_answer
        if all(endpoint.lost is not None for endpoint in self.endpoints):
            self.stopped = error
        elif silence > self._limits.patience and all(endpoint.is_silent(now) for endpoint in self.endpoints):
            self.stopped = BackendError(f"no endpoint has answered for {silence:.0f} s; the last: {error}", error.reason)
        if self.stopped is not None:
            for waiter in (*self._waiters, *self._patient):
                if not waiter.place.done():
                    waiter.place.set_exception(self.stopped)
            self._waiters.clear()
            self._patient.clear()

    def _choose(self, waiter: _Waiter | None, now: float) -> Endpoint | None:
        best, best_share = None, 0.0
        for endpoint in self.endpoints:
            if waiter is not None and waiter.avoid is endpoint and now < waiter.until:
                continue
            share = endpoint.free(now) / endpoint.window
            if share > best_share:
                best, best_share = endpoint, share
        return best

    def _serve(self) -> None:
        """Give free places to waiting calls, and set a timer for the next change that only time brings."""
        now, skipped = _now(), []
        while (queue := self._waiters or self._patient) and any(endpoint.free(now) > 0 for endpoint in self.endpoints):
            waiter = queue.popleft()
            if waiter.place.done():
                continue
            endpoint = self._choose(waiter, now)
            if endpoint is None:
                skipped.append(waiter)  # only the endpoint that it avoids is free
            else:
                waiter.place.set_result(endpoint.take(now))
        self._waiters.extendleft(reversed(skipped))
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        self.close()
        if not self._waiters and not self._patient:
            return
        times = [endpoint.ready_at for endpoint in self.endpoints if endpoint.lost is None and endpoint.ready_at > now]
        # Those that avoid an endpoint stand before all others (`acquire`), so that thousands need not be looked at each time.
        avoiding = takewhile(lambda waiter: waiter.avoid is not None, self._waiters)
        times += [waiter.until for waiter in avoiding if waiter.until > now]
        if times:
            # A millisecond later: a timer may fire a little before its time, and would find nothing changed.
            self._timer = asyncio.get_running_loop().call_at(min(times) + 0.001, self._serve)


def _now() -> float:
    return asyncio.get_running_loop().time()
