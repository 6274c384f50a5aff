"""Make the requests of one call until it is answered: retries, other endpoints, a second request for a schema.

Which failure is asked again, and what it costs, is read from `her.errors.REASONS`.
"""

import random
import time
from collections import Counter

from her.backends.base import Completion
from her.errors import BackendError, Reason
from her.inference.budget import Budget, TokenCount, upper_bound
from her.inference.call import Call, CallLimits, choices_json
from her.inference.counters import Counters
from her.inference.endpoints import Endpoint, Ticket
from her.inference.pool import Pool
from her.inference.structured import StructuredText, Tier, parse_structured, repair_messages
from her.store.ledger import Entry, StoredText
from her.tokens import estimate_tokens
from her.types import Message

_LONGEST_BACKOFF = 30.0
"""Seconds."""


class Attempts:
    """The requests of one call. `used`: their tokens so far, those of failed ones included; `requests`: their number."""

    def __init__(self, call: Call, pool: Pool, budget: Budget, limits: CallLimits, counters: Counters) -> None:
        self.call, self.used = call, TokenCount()
        self._pool, self._budget, self._limits, self._counters = pool, budget, limits, counters
        self.requests = 0
        # With a name given by hand, endpoints may call the model as they like.
        self._expected_model = "" if limits.model else counters.model

    async def entry(self, key: bytes) -> Entry:
        """Return the answer as it is recorded; an answer that misses its schema twice has `error`.

        Raises:
            BackendError: after all retries, or at once if asking again cannot help.
            BudgetSpent: the budget does not allow another request.
        """
        began, call = time.monotonic(), self.call
        completion, held = await self._request(call.messages)
        structured = self._structured(completion, held)
        tier: Tier = structured.tier
        if call.schema is not None and tier == "failed":
            # Once only: each request costs the prompt again, and an answer that misses twice is recorded with its error.
            again = repair_messages(call.messages, completion.text, structured.problem, call.schema)
            completion, held = await self._request(again)
            structured = self._structured(completion, held)
            tier = "failed" if structured.problem else "reasked"
        problem = structured.problem
        return Entry(
            key=key,
            stage=call.stage,
            model=self._counters.model,
            content=StoredText(completion.text, completion.reasoning, structured.fixed, choices_json(completion.choices)),
            tier=tier,
            finish=completion.finish,
            error=f"the answer does not fit the schema, asked twice: {problem}" if problem else "",
            prompt_tokens=self.used.prompt,
            completion_tokens=self.used.completion,
            requests=self.requests,
            seconds=round(time.monotonic() - began, 3),
        )

    def _structured(self, completion: Completion, held: bool) -> StructuredText:
        if self.call.schema is None:
            return StructuredText("")
        return parse_structured(completion.text, self.call.schema, truncated=completion.finish == "length", held=held)

    async def _request(self, messages: tuple[Message, ...]) -> tuple[Completion, bool]:
        """Return the completion of the first request that succeeds, and whether the server was held to the schema."""
        failures: Counter[Reason] = Counter()
        refusals = 0
        last: Ticket | None = None
        wait = 0.0
        while True:
            try:
                return await self._once(messages, last, wait)
            except _RequestFailed as failed:
                error, last = failed.error, failed.ticket
            if error.policy.retries == "patience":
                refusals += 1
            elif not error.policy.fatal:  # a lost endpoint costs no retry: there are only so many of them
                failures[error.reason] += 1
            if not self._may_retry(error, failures):
                raise error
            # The same wait is used if the call goes to another endpoint: then it only keeps the call from coming back here.
            self._counters.add_retry(error.reason)
            wait = error.retry_after if error.retry_after is not None else self._backoff(failures.total() + refusals)

    def _may_retry(self, error: BackendError, failures: "Counter[Reason]") -> bool:
        policy = error.policy
        if policy.fatal or policy.retries == "patience":
            return True
        most = {"none": 0, "once": 1, "limit": self._limits.retries}[policy.retries]
        return failures[error.reason] <= most and failures.total() <= self._limits.retries

    def _backoff(self, attempt: int) -> float:
        """Return seconds before the next request; random, so that many calls do not return together."""
        longest = min(_LONGEST_BACKOFF, self._limits.backoff * 2.0 ** (attempt - 1))
        return float(longest * random.uniform(0.5, 1.0))

    async def _once(self, messages: tuple[Message, ...], last: Ticket | None, wait: float) -> tuple[Completion, bool]:
        """Make one request within the budget, at another endpoint than the one that has just failed.

        Raises:
            _RequestFailed: it may be made again.
            BackendError: no endpoint is left.
        """
        # Tokens first: a place at an endpoint must not be held while the call waits for its budget.
        reserved = TokenCount()
        if self._budget.limited:
            reserved = upper_bound(messages, self.call.sampling.max_tokens)
            await self._budget.reserve(reserved)
        used = TokenCount()
        try:
            ticket = await self._pool.acquire(last.endpoint if last is not None else None, wait, patient=self.call.patient)
            self.requests += 1
            try:
                completion, held = await ticket.endpoint.ask(messages, self.call.sampling, self.call.schema, self.call.choices)
                ticket.endpoint.check_model(self._expected_model)  # after the answer: some learn their model's name with it
                _check_not_empty(completion, ticket.endpoint)
            except BackendError as error:
                used = self._charge(messages, error)
                self._pool.release(ticket, error)
                raise _RequestFailed(error, ticket) from None
            except BaseException:  # cancelled, or a fault of ours: it says nothing about the endpoint
                self._pool.release(ticket, cancelled=True)
                raise
            used = _tokens_of(messages, completion)
            self._pool.release(ticket)
            return completion, held
        finally:  # also when cancelled: a reservation that stays would block other calls for ever
            self.used = self.used.plus(used)
            self._budget.settle(reserved, used)

    def _charge(self, messages: tuple[Message, ...], error: BackendError) -> TokenCount:
        """Estimate the tokens of a failed request; no server reports them."""
        cost = error.policy.cost
        if cost == "none":
            return TokenCount()
        return TokenCount(estimate_tokens(messages), self.call.sampling.max_tokens if cost == "answer" else 0)


class _RequestFailed(Exception):
    """One request failed at the endpoint of `ticket`."""

    def __init__(self, error: BackendError, ticket: Ticket) -> None:
        super().__init__(str(error))
        self.error, self.ticket = error, ticket


def _check_not_empty(completion: Completion, endpoint: Endpoint) -> None:
    """Refuse an answer that ended by itself without text; one that was truncated while reasoning is marked as truncated."""
    if completion.finish == "stop" and not completion.text.strip():
        raise BackendError.with_advice(f"{endpoint.name} said nothing", "empty")


def _tokens_of(messages: tuple[Message, ...], completion: Completion) -> TokenCount:
    """Return the tokens as the server counted them, else an estimate."""
    if completion.usage is not None:
        return TokenCount(completion.usage.prompt_tokens, completion.usage.completion_tokens)
    answer = Message(role="assistant", content=completion.text + completion.reasoning)
    return TokenCount(estimate_tokens(messages), estimate_tokens([answer]))
