"""One call: what it asks, what came back, and the requests in between - retries, the other endpoint, the second question.

Public names are those of her/inference/caller.py, which drives many of them.
"""

import hashlib
import json
import random
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, Field

from her.backends.base import Completion
from her.errors import BackendError
from her.inference.budget import Prices, Purse, Tokens, most
from her.inference.counters import Tally
from her.inference.endpoints import Pace, Pool, Ticket
from her.inference.ledger_writer import Group
from her.inference.structured import Tier, parse_structured, repair_messages, strict_schema, value_of
from her.store.ledger import Entry, Failure, StoredText
from her.tokens import estimate_tokens
from her.types import Message, Sampling

_BURNT = {"timeout", "broken_stream", "invalid_reply", "empty", "endless"}
"""Reasons after which the prompt was probably paid for."""


class CallLimits(Pace):
    """How far a run may go; see `Pace` for the endpoints.

    Args:
        retries: how often a failed call is asked again; refusals (429) do not count.
        budget_tokens: the most tokens of a whole run, what the ledger holds counted in.
        budget_money: the most money, at `prices`.
        model: what the model is called in the ledger; by default as the first endpoint calls it.
        ahead: calls that may be on their way or wait to be taken, all together.
        workers: of a Ray cluster, with executor=ray; `max_in_flight` is for all of them together.
    """

    retries: int = Field(default=4, ge=0)
    budget_tokens: int | None = Field(default=None, ge=0)
    budget_money: float | None = Field(default=None, ge=0)
    prices: Prices = Prices()
    model: str = ""
    ahead: int = Field(default=1024, ge=1)
    workers: int = Field(default=2, ge=1)


@dataclass(frozen=True, slots=True)
class Call:
    """One question. All but `id` and `meta` determine the answer, together with the model.

    Args:
        id: the caller's name for it, for records and sentences.
        stage: of the pipeline.
        schema: a pydantic class that the answer must be JSON of; None for free text.
        version: of the prompt, such as its hash.
        number: tells several answers to one prompt apart.
        meta: comes back with the answer; not looked at.
    """

    id: str
    stage: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    schema: type[BaseModel] | None = None
    version: str = ""
    number: int = 0
    meta: Any = None


class Answer:
    """What came back for one call: an entry of the ledger, or `error` and `reason`.

    Args:
        entry: a recorded one may be given as the `Group` that reads it when something of it is looked at.
        failure: why there is none; the call is asked again when the run goes on.
        recorded: it was in the ledger before.
    """

    __slots__ = ("_entry", "_value", "call", "failure", "recorded")

    def __init__(
        self, call: Call, entry: "Entry | tuple[Group, bytes] | None", failure: Failure | None = None, *, recorded: bool = False
    ) -> None:
        self.call, self._entry, self.failure, self.recorded = call, entry, failure, recorded
        self._value: BaseModel | None = None

    def of(self, call: Call) -> "Answer":
        """The same answer, to a call that is the same but for its name."""
        return Answer(call, self._entry, self.failure, recorded=self.recorded)

    @property
    def entry(self) -> Entry | None:
        """As it is recorded; None when there was no answer."""
        if isinstance(self._entry, tuple):
            self._entry = self._entry[0].read(self._entry[1])
        return self._entry

    @property
    def error(self) -> str:
        """Why there is nothing to use, one sentence; empty when all is well."""
        return self.failure.error if self.failure is not None else self.entry.error if self.entry is not None else ""

    @property
    def reason(self) -> str:
        """One of `her.errors.Reason`, with an error."""
        return self.failure.reason if self.failure is not None else "invalid_reply" if self.error else ""

    @property
    def text(self) -> str:
        """The model's text byte for byte; empty with an error."""
        return self.entry.said.text if self.entry is not None and not self.entry.error else ""

    @property
    def reasoning(self) -> str:
        """Of an API-native field."""
        return self.entry.said.reasoning if self.entry is not None and not self.entry.error else ""

    @property
    def tier(self) -> str:
        """How the structure was got, one of `her.inference.structured.TIERS`; empty for free text."""
        return self.entry.tier if self.entry is not None else ""

    @property
    def cut(self) -> bool:
        """Whether it ended at its limit of tokens."""
        return self.entry is not None and self.entry.finish == "length"

    @property
    def value(self) -> BaseModel | None:
        """The value of the call's schema; None without one or with an error."""
        if self._value is None and self.call.schema is not None and self.entry is not None and not self.entry.error:
            self._value = value_of(self.entry.said.fixed or self.entry.said.text, self.call.schema)
        return self._value


def digest(call: Call, model: str) -> bytes:
    """SHA-256 of all that determines the answer."""
    state = _beginning(call.stage, call.version, call.number, call.sampling, call.schema, model).copy()
    told = "".join([f"{message.role} {len(message.content)} {message.content}" for message in call.messages])
    state.update(told.encode("utf-8", "surrogatepass"))
    return state.digest()


@lru_cache(1024)
def _beginning(
    stage: str, version: str, number: int, sampling: Sampling, schema: type[BaseModel] | None, model: str
) -> "hashlib._Hash":
    shape = strict_schema(schema) if schema is not None else None
    told = [stage, version, number, sampling.model_dump(mode="json"), shape, model]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode())


class Attempts:
    """The requests of one call until it is answered. `took`: their tokens so far, also of failed ones; `requests`: how many."""

    def __init__(self, call: Call, pool: Pool, purse: Purse, limits: CallLimits, tally: Tally) -> None:
        self.call, self.took = call, Tokens()
        self._pool, self._purse, self._limits, self._tally = pool, purse, limits, tally
        self.requests = 0
        self._expected = "" if limits.model else tally.model

    async def entry(self, key: bytes) -> Entry:
        """The answer as it is recorded.

        Raises:
            BackendError: after all retries, or at once where asking again cannot help.
            BudgetSpent: one more request is not allowed.
        """
        began, call = time.monotonic(), self.call
        completion, held = await self._request(call.messages)
        tier: Tier = ""
        fixed = problem = ""
        if call.schema is not None:
            reading = parse_structured(completion.text, call.schema, cut=completion.finish == "length", held=held)
            tier, fixed, problem = reading.tier, reading.fixed, reading.problem
            if tier == "failed":
                completion, held = await self._request(repair_messages(call.messages, completion.text, problem, call.schema))
                reading = parse_structured(completion.text, call.schema, cut=completion.finish == "length", held=held)
                tier, fixed, problem = "reasked" if not reading.problem else "failed", reading.fixed, reading.problem
        return Entry(
            key=key,
            stage=call.stage,
            model=self._tally.model,
            said=StoredText(completion.text, completion.reasoning, fixed),
            tier=tier,
            finish=completion.finish,
            error=f"the answer does not fit the schema, asked twice: {problem}" if problem else "",
            prompt_tokens=self.took.prompt,
            completion_tokens=self.took.completion,
            requests=self.requests,
            seconds=round(time.monotonic() - began, 3),
        )

    async def _request(self, messages: tuple[Message, ...]) -> tuple[Completion, bool]:
        """One request that succeeds, after as many as that takes."""
        failures = refusals = 0
        last: Ticket | None = None
        wait = 0.0
        while True:
            try:
                completion, held, last = await self._once(messages, last, wait)
                return completion, held
            except _Failed as failed:
                error, last = failed.error, failed.ticket
            if last is None:
                raise error  # no endpoint is left
            refusals += error.reason == "rate_limited"
            failures += error.reason not in ("rate_limited", "unauthorised", "not_found", "missing_extra")
            allowed = min(1, self._limits.retries) if error.reason in ("empty", "endless") else self._limits.retries
            if error.reason == "bad_request" or failures > allowed:
                raise error
            self._tally.retried(error.reason)
            wait = error.retry_after if error.retry_after is not None else _backoff(failures + refusals)

    async def _once(self, messages: tuple[Message, ...], last: Ticket | None, wait: float) -> tuple[Completion, bool, Ticket]:
        aside = most(messages, self.call.sampling.max_tokens) if self._purse.limited else Tokens()
        if self._purse.limited:
            await self._purse.reserve(aside)
        took = Tokens()
        try:
            try:
                ticket = await self._pool.acquire(last.endpoint if last is not None else None, wait)
            except BackendError as error:
                raise _Failed(error, None) from None
            self.requests += 1
            try:
                completion, held = await ticket.endpoint.ask(messages, self.call.sampling, self.call.schema)
                ticket.endpoint.check_model(self._expected)
                _not_empty(completion, ticket)
            except BackendError as error:
                took = self._burnt(messages, error)
                self._pool.release(ticket, error)
                raise _Failed(error, ticket) from None
            except BaseException:
                self._pool.release(ticket, cancelled=True)
                raise
            took = _counted(messages, completion)
            self._pool.release(ticket)
            return completion, held, ticket
        finally:
            self.took = self.took.plus(took)
            self._purse.settle(aside, took)

    def _burnt(self, messages: tuple[Message, ...], error: BackendError) -> Tokens:
        """What a failed request probably took; nobody says."""
        if error.reason not in _BURNT:
            return Tokens()
        return Tokens(estimate_tokens(messages), self.call.sampling.max_tokens if error.reason == "endless" else 0)


class _Failed(Exception):
    """A request failed, at an endpoint or for want of one."""

    def __init__(self, error: BackendError, ticket: Ticket | None) -> None:
        super().__init__(str(error))
        self.error, self.ticket = error, ticket


def _not_empty(completion: Completion, ticket: Ticket) -> None:
    """An answer that ended of itself must say something; one that was cut off while thinking says so by `cut`."""
    if completion.finish == "stop" and not completion.text.strip():
        raise BackendError(f"{ticket.endpoint.name} said nothing; try again, or raise the limit of tokens", "empty")


def _counted(messages: tuple[Message, ...], completion: Completion) -> Tokens:
    """Tokens as the server counted them, else an estimate."""
    if completion.usage is not None:
        return Tokens(completion.usage.prompt_tokens, completion.usage.completion_tokens)
    said = Message(role="assistant", content=completion.text + completion.reasoning)
    return Tokens(estimate_tokens(messages), estimate_tokens([said]))


def _backoff(times: int) -> float:
    """Seconds before asking again: doubled each time, with chance, so that many calls do not come back together."""
    return float(min(30.0, 0.5 * 2.0 ** (times - 1)) * random.uniform(0.5, 1.0))
