"""The endpoints of a run: how many calls each has at once, whether it is well, and who gets the next call.

How many: the window of an endpoint doubles every round trip at first, later grows by one call a round trip (additive
increase), and only while it is full. Where a server refuses calls (429), the window becomes the number it has accepted; a
failure or a timeout halves it (multiplicative decrease); in both cases once for all calls that were on the way then.
Whether it is well: after STRIKES failures in a row an endpoint is out for a time that doubles; then one call probes it.
Who: the endpoint with the largest free share of its window, so that a fast server gets more than a slow one.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from her.backends.base import Backend, Completion, WholeAnswerBackend
from her.backends.openai_fields import same_model
from her.errors import BackendError
from her.inference.structured import strict_schema
from her.types import Message, Sampling, Value

log = logging.getLogger(__name__)
STRIKES = 3
_FATAL = {"unauthorised", "not_found", "missing_extra"}
"""Reasons that no waiting mends: the endpoint is not asked again in this run."""
_OF_THE_CALL = {"bad_request", "empty", "endless"}
"""Reasons that say nothing about the endpoint's health."""
_HOLD = 2.0
"""Seconds without growth after a refusal; doubled by each refused step, so that probing costs ever less."""


class Pace(Value):
    """How an endpoint is asked; seconds.

    Args:
        max_in_flight: the most calls at once, for each endpoint.
        start: calls at once in the beginning.
        timeout: for one whole answer.
        cool_down: the first time out, doubled up to `longest_cool_down`.
        patience: how long a run waits while no endpoint answers at all, before it stops; a refusal (429) is no answer. A wait
            that a server asks for is kept to once, however long it is.
    """

    max_in_flight: int = Field(default=128, ge=1)
    start: int = Field(default=16, ge=1)
    timeout: float = Field(default=600, gt=0)
    cool_down: float = Field(default=2, gt=0)
    longest_cool_down: float = Field(default=60, gt=0)
    patience: float = Field(default=180, gt=0)


class Endpoint:
    """One server or engine, with its window and its health. Times are those of the running loop."""

    def __init__(self, backend: Backend, pace: Pace) -> None:
        self.backend, self.pace = backend, pace
        self.name = backend.describe().spec
        self.window: float = min(pace.start, pace.max_in_flight)
        self.in_flight = 0
        self.answered = 0
        self.failed = 0
        self.dead: BackendError | None = None
        self.ready_at = 0.0
        self.probing = False
        self._probe_out = False
        self._doubling = True
        self._cut_at = self._full_at = -1.0
        self._hold_until, self._hold = 0.0, _HOLD
        self._strikes = self._refusals = 0
        self._cool_down = pace.cool_down
        self._takes: dict[type[BaseModel], bool] = {}
        self._asker = backend if isinstance(backend, WholeAnswerBackend) else None
        self._model = ""

    @property
    def out(self) -> bool:
        """Whether it does not count as well: failing, or not to be asked again."""
        return self.dead is not None or self.probing

    def silent(self, now: float) -> bool:
        """Whether nothing can be expected of it now: out, resting, or refusing with no accepted call on its way."""
        return self.out or now < self.ready_at or (self._refusals > 0 and self.in_flight == 0)

    def free(self, now: float) -> int:
        """How many more calls it may get now."""
        if self.dead is not None or now < self.ready_at:
            return 0
        if self.probing:
            return 0 if self._probe_out else 1
        return int(self.window) - self.in_flight

    def take(self, now: float) -> "Ticket":
        """Count a call as on its way."""
        self.in_flight += 1
        self._probe_out = self._probe_out or self.probing
        if self.probing or self.in_flight >= int(self.window):
            self._full_at = now
        return Ticket(self, now, self.probing)

    def gone_well(self, ticket: "Ticket", now: float) -> None:
        """An answer came: grow if there was no room left since it was asked for."""
        self._strikes = self._refusals = 0
        self._cool_down = self.pace.cool_down
        if ticket.probe:
            log.info("%s answers again", self.name)
            self.probing = False
            self.window, self._doubling = 1, True
        if ticket.sent_at <= self._full_at and now >= self._hold_until:
            self.window = min(self.pace.max_in_flight, self.window + (1 if self._doubling else 1 / self.window))

    def refused(self, ticket: "Ticket", error: BackendError, now: float) -> None:
        """Too many calls: keep to what was accepted; stand still when that is not the reason."""
        if ticket.sent_at > self._cut_at:
            self._refusals += 1
            self._hold = min(60.0, self._hold * 2) if self._cut_at >= 0 else self._hold
            self._cut_at, self._hold_until = now, now + self._hold
        self.window, self._doubling = max(1.0, min(self.window, self.in_flight)), False
        told = error.retry_after
        if self._refusals >= STRIKES:
            self.ready_at = max(self.ready_at, now + (told or self._rest()))  # "at once" was said, and was not true
        elif self.in_flight == 0:
            self.ready_at = max(self.ready_at, now + (told if told is not None else self._rest()))

    def gone_wrong(self, ticket: "Ticket", error: BackendError, now: float) -> None:
        """A failure of the endpoint: fewer calls, or none for a while."""
        self.failed += 1
        if error.reason in _FATAL:
            self.dead = error
            log.error("%s is not asked again: %s", self.name, error)
            return
        if ticket.sent_at > self._cut_at:
            self._cut_at, self.window, self._doubling = now, max(1.0, self.window / 2), False
        if now < self.ready_at and not ticket.probe:
            return  # it was on its way when the endpoint went out
        self._strikes += 1
        if ticket.probe or self._strikes >= STRIKES:
            self.ready_at, self.probing = now + max(error.retry_after or 0.0, self._rest()), True
            log.warning("%s is out for %.1f s: %s", self.name, self.ready_at - now, error)

    def back(self, ticket: "Ticket") -> None:
        """The call is not on its way any more."""
        self.in_flight -= 1
        if ticket.probe:
            self._probe_out = False

    def _rest(self) -> float:
        rest = self._cool_down * random.uniform(0.8, 1.2)
        self._cool_down = min(self._cool_down * 2, self.pace.longest_cool_down)
        return rest

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling, schema: type[BaseModel] | None
    ) -> tuple[Completion, bool]:
        """The answer, and whether the server was held to the schema. A server that takes none is asked without, from then on."""
        if schema is None or self._asker is None or not self._takes.get(schema, True):
            return await self._whole(messages, sampling), False
        try:
            answer = await self._asker.ask(messages, sampling, schema=strict_schema(schema), seconds=self.pace.timeout)
        except BackendError as error:
            if error.reason != "bad_request" or schema in self._takes:
                raise
            whole = await self._whole(messages, sampling)
            log.info("%s does not take the schema %s; it is asked without", self.name, schema.__name__)
            self._takes[schema] = False
            return whole, False
        self._takes[schema] = True
        return answer, True

    async def _whole(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        seconds = self.pace.timeout
        if self._asker is not None:
            return await self._asker.ask(messages, sampling, seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self.backend.complete(messages, sampling)
        except TimeoutError:
            raise BackendError(f"{self.name} gave no whole answer within {seconds:g} s.", "timeout") from None

    def check_model(self, model: str) -> None:
        """BackendError when it turns out to have another model than the run; looked at once."""
        if self._model:
            return
        described = self.backend.describe()
        if described.model and model and not described.scripted and not same_model(described.model, model):
            raise BackendError(f"{self.name} has model {described.model!r}, this run asks {model!r}.", "not_found")
        self._model = described.model


@dataclass(frozen=True, slots=True)
class Ticket:
    """One call on its way to an endpoint."""

    endpoint: Endpoint
    sent_at: float
    probe: bool


@dataclass(slots=True)
class _Waiter:
    place: "asyncio.Future[Ticket]"
    avoid: Endpoint | None = None
    until: float = 0.0


@dataclass
class Pool:
    """Hands out the endpoints. Who waits is served in the order of coming; who asks again comes first."""

    endpoints: Sequence[Endpoint]
    pace: Pace
    _waiters: deque[_Waiter] = field(default_factory=deque)
    _avoiding: int = 0
    _timer: asyncio.TimerHandle | None = None
    _last_answer: float = -1.0
    stopped: BackendError | None = None

    @property
    def in_flight(self) -> int:
        """Calls on their way."""
        return sum(endpoint.in_flight for endpoint in self.endpoints)

    async def acquire(self, avoid: Endpoint | None = None, seconds: float = 0.0) -> Ticket:
        """A place for one call.

        Args:
            avoid: the endpoint that has just failed it, avoided for `seconds`.

        Raises:
            BackendError: no endpoint is left, or none has answered for `patience` seconds.
        """
        now = _now()
        self._last_answer = now if self._last_answer < 0 else self._last_answer
        if self.stopped is not None:
            raise self.stopped
        if not self._waiters and avoid is None and (endpoint := self._choose(None, now)) is not None:
            return endpoint.take(now)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), avoid, now + seconds)
        (self._waiters.append if avoid is None else self._waiters.appendleft)(waiter)
        self._avoiding += avoid is not None
        self._serve()
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                waiter.place.result().endpoint.back(waiter.place.result())
                self._serve()
            raise
        finally:
            self._avoiding -= avoid is not None

    def release(self, ticket: Ticket, error: BackendError | None = None, *, cancelled: bool = False) -> None:
        """The call of this ticket has ended."""
        endpoint, now = ticket.endpoint, _now()
        endpoint.back(ticket)
        if cancelled:
            pass
        elif error is None or error.reason in _OF_THE_CALL:
            self._last_answer = now
            endpoint.answered += error is None
            endpoint.gone_well(ticket, now)
        elif error.reason == "rate_limited":
            endpoint.refused(ticket, error, now)
            self._look_for_the_end(error, now)
        else:
            endpoint.gone_wrong(ticket, error, now)
            self._look_for_the_end(error, now)
        self._serve()

    def stop(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_for_the_end(self, error: BackendError, now: float) -> None:
        """Stop the run when no endpoint can answer it."""
        if all(endpoint.dead is not None for endpoint in self.endpoints):
            self.stopped = error
        elif now - self._last_answer > self.pace.patience and all(one.silent(now) for one in self.endpoints):
            self.stopped = BackendError(
                f"no endpoint has answered for {now - self._last_answer:.0f} s; the last: {error}", error.reason
            )
        if self.stopped is not None:
            for waiter in self._waiters:
                if not waiter.place.done():
                    waiter.place.set_exception(self.stopped)
            self._waiters.clear()

    def _choose(self, waiter: _Waiter | None, now: float) -> Endpoint | None:
        best, share = None, 0.0
        for endpoint in self.endpoints:
            free = endpoint.free(now)
            avoided = waiter is not None and waiter.avoid is endpoint and now < waiter.until
            if free > 0 and not avoided and (found := free / endpoint.window) > share:
                best, share = endpoint, found
        return best

    def _serve(self) -> None:
        """Give free places to those who wait, and come back when somebody's time is up."""
        now, skipped = _now(), []
        while self._waiters and any(endpoint.free(now) > 0 for endpoint in self.endpoints):
            waiter = self._waiters.popleft()
            if waiter.place.done():
                continue
            endpoint = self._choose(waiter, now)
            if endpoint is None:
                skipped.append(waiter)
            else:
                waiter.place.set_result(endpoint.take(now))
        self._waiters.extendleft(reversed(skipped))
        self._wind(now)

    def _wind(self, now: float) -> None:
        self.stop()
        ahead = [endpoint.ready_at for endpoint in self.endpoints if endpoint.dead is None and endpoint.ready_at > now]
        if self._avoiding:
            ahead += [waiter.until for waiter in self._waiters if waiter.avoid is not None and waiter.until > now]
        if self._waiters and ahead:
            self._timer = asyncio.get_running_loop().call_at(min(ahead) + 0.001, self._serve)


def _now() -> float:
    return asyncio.get_running_loop().time()
