"""Many model calls: N endpoints, structured answers, a ledger to go on from, a budget, in bounded memory.

    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller(["openai:http://127.0.0.1:8000/v1#model"], ledger, CallLimits(budget_money=20, prices=...)) as caller:
            answer = await caller.ask(Call("turn 7", "role_thinking", messages, schema=Enhanced))   # one of many tasks
            async for answer in ask_all(caller, calls, ordered=True): ...                            # many, see batch.py

What is recorded is never asked again, and every answer that is given out is recorded before. A call that fails is an
Answer with `error`, never content. Two calls that are the same in everything are asked once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Self

from her.backends.base import Backend
from her.backends.open import open_backend
from her.errors import BackendError, InputError
from her.inference.budget import BudgetLeft, BudgetSpent, Prices, Purse, Tokens
from her.inference.call import Answer, Attempts, Call, CallLimits, digest
from her.inference.counters import Tally
from her.inference.endpoints import Endpoint, Pool
from her.inference.ledger_writer import Recorder
from her.store.ledger import Entry, Failure, Ledger

__all__ = [
    "Answer",
    "BudgetSpent",
    "Call",
    "CallLimits",
    "Caller",
    "Ledger",
    "Prices",
    "Tally",
    "digest",
]
log = logging.getLogger(__name__)
_TOGETHER = 128
"""Recorded calls that are read together."""


class Caller:
    """Asks; one for each run and event loop, as an asynchronous context manager.

    Args:
        endpoints: specs, which are opened and closed here, or open backends; all of one model.
        ledger: None keeps nothing.
        purse: another caller's, when a run has two models and one budget.

    Raises:
        InputError: no endpoint, or they have different models.
        BackendError: the model's name is not known and no endpoint says it.
    """

    def __init__(
        self,
        endpoints: Sequence[str | Backend],
        ledger: Ledger | None = None,
        limits: CallLimits | None = None,
        purse: Purse | None = None,
    ) -> None:
        if not endpoints:
            raise InputError("no endpoint is named; give one, such as 'openai:http://127.0.0.1:8000/v1'")
        self.limits = limits or CallLimits()
        self._ledger = ledger
        self._opened: list[Backend] = []
        backends = [self._open(one) if isinstance(one, str) else one for one in endpoints]
        self.endpoints = [Endpoint(backend, self.limits) for backend in backends]
        self._pool = Pool(self.endpoints, self.limits)
        self._recorder = Recorder(ledger)
        self._asking: dict[bytes, asyncio.Future[Answer]] = {}
        self.model = ""
        self.tally = Tally(self.endpoints, self.limits.prices)
        spent = self._spent_before()
        self.purse = purse or Purse(self.limits.budget_tokens, self.limits.budget_money, self.limits.prices, spent)

    def _open(self, spec: str) -> Backend:
        self._opened.append(open_backend(spec, pipeline=True))
        return self._opened[-1]

    def _spent_before(self) -> Tokens:
        tokens, tiers = Tokens(), Counter[str]()
        for (_, tier), sums in (self._ledger.sums() if self._ledger is not None else {}).items():
            tokens = tokens.plus(Tokens(sums.prompt_tokens, sums.completion_tokens))
            tiers[tier] += sums.calls if tier and tier != "unanswered" else 0
        self.tally.earlier(tokens, +tiers)
        return tokens

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self._greet(endpoint) for endpoint in self.endpoints))
        described = [endpoint.backend.describe() for endpoint in self.endpoints]
        names = [one.spec if one.scripted else one.model + (f"@{one.revision}" if one.revision else "") for one in described]
        self.model = self.limits.model or next(filter(None, names), "")
        if not self.model:
            raise BackendError("no endpoint answers and no spec names the model; start one, or write ...#MODEL", "unreachable")
        self.tally.model = self.model
        for endpoint, one in zip(self.endpoints, described, strict=True):
            if one.model and not self.limits.model:
                self._same(endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._recorder.close()
        self._pool.stop()
        for backend in self._opened:
            await backend.close()

    async def _greet(self, endpoint: Endpoint) -> None:
        """Learn the model of an endpoint whose spec names none; one that is silent is looked at again when it is asked."""
        if endpoint.backend.describe().model:
            return
        try:
            await endpoint.backend.check()
        except BackendError as error:
            if not error.retryable:
                raise
            log.warning("%s: %s", endpoint.name, error)

    def _same(self, endpoint: Endpoint) -> None:
        try:
            endpoint.check_model(self.model)
        except BackendError as error:
            raise InputError(f"the endpoints of a run must have one model: {error}") from error

    def key(self, call: Call) -> bytes:
        """Under which the answer is recorded."""
        return digest(call, self.model)

    async def ask(self, call: Call) -> Answer:
        """The answer to one call: from the ledger, from the same call on its way, or from an endpoint.

        Raises:
            BudgetSpent: the budget does not allow it.
            BackendError: no endpoint is left. A failure of this call alone is an Answer with `error`.
            StoreError: the answer could not be recorded.
        """
        key = self.key(call)
        if key in self._recorder:
            self.tally.recorded += 1
            return Answer(call, await self._recorder.read(key), recorded=True)
        return await self.ask_anew(call, key)

    async def ask_anew(self, call: Call, key: bytes) -> Answer:
        """The answer to a call that is not in the ledger."""
        while (other := self._asking.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():  # else who asked has left, and somebody else has to ask
                return other.result().of(call)
        place: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asking[key] = place
        try:
            answer = await self._fresh(call, key)
        except Exception as error:
            place.set_exception(error)
            place.exception()  # seen: nobody has to wait for it
            raise
        except BaseException:
            place.cancel()
            raise
        finally:
            del self._asking[key]
        place.set_result(answer)
        return answer

    def has(self, key: bytes) -> bool:
        """Whether the ledger has the answer of this key."""
        return key in self._recorder

    @property
    def left(self) -> BudgetLeft:
        """What of the budget is left."""
        return self.purse.left

    def known(self, calls: Sequence[Call], keys: Sequence[bytes]) -> list[Answer | None]:
        """Of each call the answer that is in the ledger, or None; read, some hundred together, when looked at."""
        answers: list[Answer | None] = []
        for at in range(0, len(keys), _TOGETHER):
            there = [key for key in keys[at : at + _TOGETHER] if key in self._recorder]
            group, among = self._recorder.group(there), set(there)
            for call, key in zip(calls[at : at + _TOGETHER], keys[at : at + _TOGETHER], strict=True):
                answers.append(Answer(call, (group, key), recorded=True) if key in among else None)
            self.tally.recorded += len(there)
        return answers

    async def _fresh(self, call: Call, key: bytes) -> Answer:
        exchange = Attempts(call, self._pool, self.purse, self.limits, self.tally)
        try:
            entry = await exchange.entry(key)
        except (BackendError, BudgetSpent) as error:
            stops = isinstance(error, BudgetSpent) or self._pool.stopped is error
            reason = "budget" if isinstance(error, BudgetSpent) else error.reason
            if not stops:
                return await self.failed(call, Failure(key, call.stage, call.id, reason, str(error), *exchange.took))
            if exchange.requests:
                self.tally.took(exchange.took)
                await self._recorder.write(failure=Failure(key, call.stage, call.id, reason, str(error), *exchange.took))
            raise
        return await self.answered(call, entry)

    async def answered(self, call: Call, entry: Entry) -> Answer:
        """Record what came back."""
        await self._recorder.write(entry)
        self.tally.fresh(entry)
        return Answer(call, entry)

    async def failed(self, call: Call, failure: Failure) -> Answer:
        """Record that nothing usable came back; the call is asked again when the run goes on."""
        await self._recorder.write(failure=failure)
        self.tally.took(Tokens(failure.prompt_tokens, failure.completion_tokens))
        self.tally.failed += 1
        return Answer(call, None, failure)
