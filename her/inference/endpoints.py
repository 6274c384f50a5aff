"""Drive one endpoint: how many calls it gets at once, and whether it gets any.

Concurrency: a congestion window as in TCP (RFC 5681). It doubles every round trip at first and later grows by one call a
round trip (additive increase), and only while it is full. A refusal (429) sets it to the number of calls that the server
has accepted; a failure or a timeout halves it (multiplicative decrease). Both happen once for all calls in flight, which
were sent under the same window and fail together.
Health: after STRIKES failures in a row the endpoint is out for a time that doubles (circuit breaker); then one call
probes it. A reason that is fatal (her.errors.REASONS) takes it out for the rest of the run.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from her.backends.base import Backend, Completion, WholeAnswerBackend
from her.backends.openai_fields import same_model
from her.errors import BackendError
from her.inference.structured import strict_schema
from her.types import Message, Sampling, Value

log = logging.getLogger(__name__)
STRIKES = 3
"""Failures or refusals in a row after which an endpoint rests."""
_HOLD, _LONGEST_HOLD = 2.0, 60.0
"""Seconds without growth after a refusal; doubled by each refused growth, so that probing the limit costs ever less."""


class EndpointLimits(Value):
    """Limits for each endpoint; times in seconds.

    Args:
        max_in_flight: most calls at once.
        start: calls at once in the beginning.
        timeout: for one whole answer.
        cool_down: first time out, doubled up to `longest_cool_down`.
        longest_cool_down: longest time out.
        patience: how long a run waits while no endpoint answers at all, before it stops; a refusal (429) is no answer. A
            wait that a server asks for is kept once, however long it is.
    """

    max_in_flight: int = Field(default=128, ge=1)
    start: int = Field(default=16, ge=1)
    timeout: float = Field(default=600, gt=0)
    cool_down: float = Field(default=2, gt=0)
    longest_cool_down: float = Field(default=60, gt=0)
    patience: float = Field(default=180, gt=0)


class Endpoint:
    """One server or engine with its window and its health. All times are those of the running event loop."""

    def __init__(self, backend: Backend, limits: EndpointLimits) -> None:
        self.backend, self.limits = backend, limits
        self.name = backend.describe().spec
        self.window: float = min(limits.start, limits.max_in_flight)
        self.in_flight = 0
        self.lost: BackendError | None = None
        """The fatal error after which it is not asked again."""
        self.ready_at = 0.0
        """No call before this time."""
        self._probing = self._probe_in_flight = False
        self._doubling = True
        self._cut_at = self._full_at = -1.0  # never
        """When the window was last reduced, and when it was last full."""
        self._hold_until, self._hold = 0.0, _HOLD
        self._strikes = self._refusals = 0
        self._cool_down = limits.cool_down
        self._takes_schema: dict[type[BaseModel], bool] = {}
        self._gives_choices: bool | None = None
        """Whether it takes requests for log-probabilities; None until one is answered."""
        self._whole_backend = backend if isinstance(backend, WholeAnswerBackend) else None
        self._checked_model = ""

    @property
    def is_out(self) -> bool:
        """Tell whether it is out of use: failing until a probe succeeds, or lost for this run."""
        return self.lost is not None or self._probing

    def is_silent(self, now: float) -> bool:
        """Tell whether no answer can be expected: out, resting, or refusing calls while none is in flight."""
        return self.is_out or now < self.ready_at or (self._refusals > 0 and self.in_flight == 0)

    def free(self, now: float) -> int:
        """Return the number of calls that it can take now."""
        if self.lost is not None or now < self.ready_at:
            return 0
        if self._probing:
            return 0 if self._probe_in_flight else 1  # one call finds out; more would only wait for a timeout
        return int(self.window) - self.in_flight  # below 0 after the window was cut

    def take(self, now: float) -> "Ticket":
        """Count one call as in flight."""
        self.in_flight += 1
        self._probe_in_flight = self._probe_in_flight or self._probing
        if self._probing or self.in_flight >= int(self.window):
            self._full_at = now
        return Ticket(self, now, self._probing)

    def cancel(self, ticket: "Ticket") -> None:
        """Count one call as no longer in flight, without a result."""
        self.in_flight -= 1
        if ticket.probe:
            self._probe_in_flight = False

    def finish(self, ticket: "Ticket", error: BackendError | None, now: float) -> bool:
        """Count one call as ended and adapt to its result; return whether the endpoint has answered."""
        self.cancel(ticket)
        if error is None or error.policy.blame == "call":
            self._on_answer(ticket, now)
            return True
        if error.policy.blame == "load":
            self._on_refusal(ticket, error, now)
        else:
            self._on_failure(ticket, error, now)
        return False

    def _on_answer(self, ticket: "Ticket", now: float) -> None:
        """Grow the window if it has been full since the call was sent."""
        self._strikes = self._refusals = 0
        self._cool_down = self.limits.cool_down
        if ticket.probe:
            log.info("%s answers again", self.name)
            self._probing, self._doubling = False, True
        # A window that was not full says nothing about how much the server takes.
        if ticket.sent_at <= self._full_at and now >= self._hold_until:
            self.window = min(self.limits.max_in_flight, self.window + (1 if self._doubling else 1 / self.window))

    def _on_refusal(self, ticket: "Ticket", error: BackendError, now: float) -> None:
        """Reduce the window to the accepted calls; rest if there is none, then the limit is a rate."""
        if ticket.sent_at > self._cut_at:  # else it was sent under the larger window, which has been cut already
            self._refusals += 1
            self._hold = min(_LONGEST_HOLD, self._hold * 2) if self._cut_at >= 0 else self._hold
            self._cut_at, self._hold_until = now, now + self._hold
        self.window, self._doubling = max(1.0, min(self.window, self.in_flight)), False
        if self._refusals >= STRIKES:
            # `or`: a server that says "retry after 0" again and again would be asked in a tight loop.
            self.ready_at = max(self.ready_at, now + (error.retry_after or self._next_rest()))
        elif self.in_flight == 0:
            self.ready_at = max(self.ready_at, now + (self._next_rest() if error.retry_after is None else error.retry_after))

    def _on_failure(self, ticket: "Ticket", error: BackendError, now: float) -> None:
        """Halve the window; take the endpoint out after too many failures in a row."""
        if error.policy.fatal:
            self.lost = error
            log.error("%s is not asked again: %s", self.name, error)
            return
        if ticket.sent_at > self._cut_at:
            self._cut_at, self.window, self._doubling = now, max(1.0, self.window / 2), False
        if now < self.ready_at and not ticket.probe:
            return  # it was in flight when the endpoint went out: the same failure, not a further one
        self._strikes += 1
        if ticket.probe or self._strikes >= STRIKES:
            # One place, all of it free: the pool, which compares free shares, soon sends the probe.
            self.window, self._probing = 1.0, True
            self.ready_at = now + max(error.retry_after or 0.0, self._next_rest())
            log.warning("%s is out for %.1f s: %s", self.name, self.ready_at - now, error)

    def _next_rest(self) -> float:
        """Return the seconds to rest, and double the next rest. Random, so that many callers do not return together."""
        rest = self._cool_down * random.uniform(0.8, 1.2)
        self._cool_down = min(self._cool_down * 2, self.limits.longest_cool_down)
        return rest

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling, schema: type[BaseModel] | None, choices: int = 0
    ) -> tuple[Completion, bool]:
        """Return the completion, and whether the server was held to the schema.

        A server that refuses a schema or log-probabilities but answers without is asked without them from then on.

        Raises:
            BackendError: the request failed.
        """
        if schema is None or self._whole_backend is None or not self._takes_schema.get(schema, True):
            return await self._complete_with_choices(messages, sampling, choices), False
        seconds = self.limits.timeout
        try:
            answer = await self._whole_backend.ask(messages, sampling, schema=strict_schema(schema), seconds=seconds)
        except BackendError as error:
            # 400 may be about the schema or about the prompt: only a success without the schema tells.
            if error.reason != "bad_request" or schema in self._takes_schema:
                raise
            completion = await self._complete(messages, sampling)
            log.info("%s does not take the schema %s; it is asked without", self.name, schema.__name__)
            self._takes_schema[schema] = False
            return completion, False
        self._takes_schema[schema] = True
        return answer, True

    async def _complete_with_choices(self, messages: Sequence[Message], sampling: Sampling, choices: int) -> Completion:
        if not choices or self._whole_backend is None or self._gives_choices is False:
            return await self._complete(messages, sampling)
        try:
            answer = await self._whole_backend.ask(messages, sampling, seconds=self.limits.timeout, choices=choices)
        except BackendError as error:
            if error.reason != "bad_request" or self._gives_choices:
                raise
            completion = await self._complete(messages, sampling)
            log.info("%s gives no log-probabilities; it is asked without", self.name)
            self._gives_choices = False
            return completion
        self._gives_choices = True
        return answer

    async def _complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        seconds = self.limits.timeout
        if self._whole_backend is not None:
            return await self._whole_backend.ask(messages, sampling, seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                return await self.backend.complete(messages, sampling)
        except TimeoutError:
            raise BackendError.with_advice(f"{self.name} gave no whole answer within {seconds:g} s", "timeout") from None

    def check_model(self, model: str) -> None:
        """Check once that the endpoint serves this model; some learn their model's name with the first answer.

        Raises:
            BackendError: it serves another model.
        """
        if self._checked_model:
            return
        described = self.backend.describe()
        if described.model and model and not described.scripted and not same_model(described.model, model):
            raise BackendError(f"{self.name} has model {described.model!r}, this run asks {model!r}.", "not_found")
        self._checked_model = described.model


@dataclass(frozen=True, slots=True)
class Ticket:
    """One call in flight to an endpoint; `sent_at` in seconds of the event loop, `probe`: it tests a failing endpoint."""

    endpoint: Endpoint
    sent_at: float
    probe: bool
