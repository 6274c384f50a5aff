"""Ask many model calls: several endpoints, structured answers, a ledger for resuming, a budget, bounded memory.

    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller(["openai:http://127.0.0.1:8000/v1#model"], ledger, CallLimits(budget_money=20, prices=...)) as caller:
            answer = await caller.ask(Call("turn 7", "role_thinking", messages, schema=Enhanced))   # from one of many tasks
            async for answer in ask_all(caller, calls, ordered=True): ...                            # many, see batch.py

A recorded call is never asked again, and every answer is recorded before it is returned. A call that fails is an Answer
with `error`, never content. Calls with the same key that are in flight together are asked once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Self

from her.backends.base import Backend, Description
from her.backends.open import open_backend
from her.errors import BackendError, InputError
from her.inference.attempts import Attempts
from her.inference.budget import Budget, BudgetLeft, BudgetSpent, Prices, TokenCount
from her.inference.call import Answer, Call, CallLimits, call_key
from her.inference.counters import Counters
from her.inference.endpoints import Endpoint
from her.inference.ledger_writer import LedgerWriter
from her.inference.pool import Pool
from her.store.ledger import UNANSWERED, Entry, Failure, Ledger

__all__ = [
    "Answer",
    "BudgetSpent",
    "Call",
    "CallLimits",
    "Caller",
    "Ledger",
    "Prices",
]
log = logging.getLogger(__name__)
_GROUP = 128
"""Recorded calls that are read together, in one query."""


class Caller:
    """Client of all endpoints of one model. One for each run and event loop, used as an asynchronous context manager.

    Args:
        endpoints: specs, which are opened and closed here, or open backends; all of one model.
        ledger: keeps the answers; None keeps nothing.
        limits: of the run.
        budget: of another caller, when a run has two models and one budget.

    Raises:
        InputError: there is no endpoint, or they have different models.
        BackendError: no spec names the model and no endpoint reports it.
    """

    def __init__(
        self,
        endpoints: Sequence[str | Backend],
        ledger: Ledger | None = None,
        limits: CallLimits | None = None,
        budget: Budget | None = None,
    ) -> None:
        if not endpoints:
            raise InputError("no endpoint is named; give one, such as 'openai:http://127.0.0.1:8000/v1'")
        self.limits = limits or CallLimits()
        self._ledger = ledger
        self._opened: list[Backend] = []
        backends = [self._open(endpoint) if isinstance(endpoint, str) else endpoint for endpoint in endpoints]
        self.endpoints = [Endpoint(backend, self.limits) for backend in backends]
        self._pool = Pool(self.endpoints, self.limits)
        self._writer = LedgerWriter(ledger)
        self._in_flight: dict[bytes, asyncio.Future[Answer]] = {}
        self.model = ""
        self.counters = Counters(self.endpoints, self.limits.prices)
        spent = self._count_earlier()
        self.budget = budget or Budget(self.limits.budget_tokens, self.limits.budget_money, self.limits.prices, spent)

    def _open(self, spec: str) -> Backend:
        self._opened.append(open_backend(spec, pipeline=True))
        return self._opened[-1]

    def _count_earlier(self) -> TokenCount:
        """Count what earlier starts of the run used."""
        tokens, tiers = TokenCount(), Counter[str]()
        for (_, tier), sums in (self._ledger.sums() if self._ledger is not None else {}).items():
            tokens = tokens.plus(TokenCount(sums.prompt_tokens, sums.completion_tokens))
            if tier and tier != UNANSWERED:  # free text has no tier
                tiers[tier] += sums.calls
        self.counters.add_earlier(tokens, tiers)
        return tokens

    async def __aenter__(self) -> Self:
        errors = await asyncio.gather(*(self._learn_model(endpoint) for endpoint in self.endpoints))
        described = [endpoint.backend.describe() for endpoint in self.endpoints]
        self.model = self.limits.model or next(filter(None, map(_model_name, described)), "")
        if not self.model:
            last = next(filter(None, reversed(errors)), None)
            raise BackendError(
                f"no spec names the model and no endpoint reports it ({last}); start an endpoint, or write ...#MODEL",
                "unreachable",
            )
        self.counters.model = self.model
        for endpoint, description in zip(self.endpoints, described, strict=True):
            if description.model and not self.limits.model:
                self._check_same_model(endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writer.close()  # first: answers that are there already are kept whatever follows
        self._pool.close()
        for backend in self._opened:
            await backend.close()

    async def _learn_model(self, endpoint: Endpoint) -> BackendError | None:
        """Ask an endpoint for its model if the spec does not name it; return the error of one that may answer later."""
        if endpoint.backend.describe().model:
            return None
        try:
            await endpoint.backend.check()
        except BackendError as error:
            if not error.retryable:
                raise
            log.warning("%s: %s", endpoint.name, error)
            return error
        return None

    async def require_served(self) -> None:
        """Refuse a run whose model an endpoint does not have, before anything is paid for; one that is silent may come back.

        Raises:
            InputError: an endpoint answers that it cannot serve the run.
        """
        for endpoint in self.endpoints:
            try:
                await endpoint.backend.check()
            except BackendError as error:
                if not error.retryable:
                    raise InputError(f"{error}; nothing was asked") from error

    def _check_same_model(self, endpoint: Endpoint) -> None:
        try:
            endpoint.check_model(self.model)
        except BackendError as error:
            raise InputError(f"the endpoints of a run must have one model: {error}") from error

    def key(self, call: Call) -> bytes:
        """Return the key under which the answer is recorded, 32 bytes."""
        return call_key(call, self.model)

    def has(self, key: bytes) -> bool:
        """Tell whether the ledger has the answer of this key."""
        return key in self._writer

    @property
    def left(self) -> BudgetLeft:
        """Return the unused part of the budget."""
        return self.budget.left

    async def ask(self, call: Call) -> Answer:
        """Return the answer to one call: from the ledger, from the same call in flight, or from an endpoint.

        Raises:
            BudgetSpent: the budget does not allow it.
            BackendError: no endpoint is left. A failure of this call alone is an Answer with `error`.
            StoreError: the answer could not be recorded.
        """
        key = self.key(call)
        if key in self._writer:
            self.counters.recorded += 1
            return Answer(call, await self._writer.read(key), recorded=True)
        return await self.ask_endpoint(call, key)

    async def ask_endpoint(self, call: Call, key: bytes) -> Answer:
        """Return the answer to a call that is not in the ledger; raises as `ask`."""
        # A loop: of several that wait for a cancelled call, the first to wake asks and the others wait for that one.
        while (other := self._in_flight.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():  # else its caller has left, and this one has to ask
                return other.result().for_call(call)
        place: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = place
        try:
            answer = await self._request(call, key)
        except Exception as error:
            place.set_exception(error)
            place.exception()  # marks it as retrieved: asyncio reports errors that nobody waits for
            raise
        except BaseException:
            place.cancel()
            raise
        finally:
            del self._in_flight[key]
        place.set_result(answer)
        return answer

    def recorded_answers(self, calls: Sequence[Call], keys: Sequence[bytes]) -> list[Answer | None]:
        """Return for each call its answer from the ledger, or None. The entries are read in groups, when they are used."""
        answers: list[Answer | None] = []
        for start in range(0, len(keys), _GROUP):
            some_calls, some_keys = calls[start : start + _GROUP], keys[start : start + _GROUP]
            recorded = [key for key in some_keys if key in self._writer]
            group, present = self._writer.group(recorded), set(recorded)
            for call, key in zip(some_calls, some_keys, strict=True):
                answers.append(Answer(call, (group, key), recorded=True) if key in present else None)
            self.counters.recorded += len(recorded)
        return answers

    async def _request(self, call: Call, key: bytes) -> Answer:
        attempts = Attempts(call, self._pool, self.budget, self.limits, self.counters)
        try:
            entry = await attempts.entry(key)
        except (BackendError, BudgetSpent) as error:
            reason = "budget" if isinstance(error, BudgetSpent) else error.reason
            failure = Failure(key, call.stage, call.id, reason, str(error), *attempts.used)
            if not isinstance(error, BudgetSpent) and self._pool.stopped is not error:
                return await self.record_failure(call, failure)
            if attempts.requests:  # the run ends, but its last requests cost tokens as well
                self.counters.add_tokens(attempts.used)
                await self._writer.write(failure=failure)
            raise
        return await self.record_answer(call, entry)

    async def record_answer(self, call: Call, entry: Entry) -> Answer:
        """Record an answer and return it."""
        await self._writer.write(entry)  # before it is counted or returned: what anybody has seen survives a kill
        self.counters.add_answer(entry)
        return Answer(call, entry)

    async def record_failure(self, call: Call, failure: Failure) -> Answer:
        """Record that a call has no answer, and return that; it is asked again when the run is resumed."""
        await self._writer.write(failure=failure)
        self.counters.add_tokens(TokenCount(failure.prompt_tokens, failure.completion_tokens))
        self.counters.failed += 1
        return Answer(call, None, failure)


def _model_name(description: Description) -> str:
    """Return the name of the model in the ledger; scripted lines have no model, their name is the spec."""
    if description.scripted:
        return description.spec
    return description.model + (f"@{description.revision}" if description.revision else "")
