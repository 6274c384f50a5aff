"""Count what calls cost: prices, a budget with a hard limit, and a forecast from a pilot.

The budget reserves the most that a request can use before it is sent, and releases the unused rest afterwards. So the
limit holds whatever the server answers, as long as the estimate of the prompt's tokens plus its margin is not too low.
"""

import asyncio
import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from her.errors import HerError
from her.tokens import estimate_tokens
from her.types import Message, Value

_MARGIN = 1.1
"""Factor on the estimated tokens of a prompt: the estimate counts characters, not tokens."""
_Z_95 = 1.96
"""Half width of a 95 % interval of the normal distribution, in standard errors."""


class BudgetSpent(HerError):
    """The budget does not allow another request. The answers so far are in the ledger; the run can be resumed."""


class Prices(Value):
    """Prices of a million tokens, in any currency; 0 for tokens that cost nothing."""

    prompt: float = Field(default=0, ge=0)
    completion: float = Field(default=0, ge=0)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of these tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class TokenCount(NamedTuple):
    """Prompt and completion tokens of one call or of many."""

    prompt: int = 0
    completion: int = 0

    def plus(self, other: "TokenCount") -> "TokenCount":
        """Return the sum."""
        return TokenCount(self.prompt + other.prompt, self.completion + other.completion)

    def minus(self, other: "TokenCount") -> "TokenCount":
        """Return the difference."""
        return TokenCount(self.prompt - other.prompt, self.completion - other.completion)


class BudgetLeft(NamedTuple):
    """Unused part of a budget; None where there is no limit."""

    tokens: int | None
    money: float | None


def upper_bound(messages: Sequence[Message], max_tokens: int) -> TokenCount:
    """Return the most tokens that one request with these messages can use."""
    return TokenCount(math.ceil(estimate_tokens(messages) * _MARGIN), max_tokens)


class Budget:
    """Limit on the tokens and the money of a whole run.

    Args:
        tokens: limit on prompt and completion tokens together; None for no limit.
        money: limit at `prices`; None for no limit.
        prices: of the model that is called.
        spent: tokens used before, as the ledger has them: a resumed run has the same budget.
    """

    def __init__(self, tokens: int | None, money: float | None, prices: Prices, spent: TokenCount) -> None:
        self._tokens, self._money, self._prices = tokens, money, prices
        self.spent, self._reserved = spent, TokenCount()
        self._waiting: deque[tuple[TokenCount, asyncio.Future[None]]] = deque()

    @property
    def limited(self) -> bool:
        """Tell whether there is a limit."""
        return self._tokens is not None or self._money is not None

    @property
    def money(self) -> float:
        """Return the price of the tokens spent."""
        return self._prices.cost(*self.spent)

    @property
    def left(self) -> BudgetLeft:
        """Return what is neither spent nor reserved."""
        used = self.spent.plus(self._reserved)
        # Not below 0: a resumed run may have a smaller budget than it has spent.
        tokens = None if self._tokens is None else max(0, self._tokens - sum(used))
        return BudgetLeft(tokens, None if self._money is None else max(0.0, self._money - self._prices.cost(*used)))

    async def reserve(self, wanted: TokenCount) -> None:
        """Reserve tokens, first in first out; wait while requests in flight may still release some.

        Raises:
            BudgetSpent: nothing is reserved any more and the rest is too small.
        """
        if not self._waiting and self._fits(wanted):  # while others wait, a small request must not overtake them
            self._reserved = self._reserved.plus(wanted)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, place))
        self._serve()  # may fail it at once, if nothing is reserved
        await place

    def settle(self, reserved: TokenCount, used: TokenCount) -> None:
        """Release a reservation and book the tokens that were used."""
        self._reserved = self._reserved.minus(reserved)
        self.spent = self.spent.plus(used)
        self._serve()

    def _fits(self, wanted: TokenCount) -> bool:
        total = self.spent.plus(self._reserved).plus(wanted)
        return (self._tokens is None or sum(total) <= self._tokens) and (
            self._money is None or self._prices.cost(*total) <= self._money
        )

    def _serve(self) -> None:
        """Grant waiting reservations in order. The first one that does not fit blocks the rest, else it would starve."""
        while self._waiting:
            wanted, place = self._waiting[0]
            if place.done():  # cancelled while it waited
                self._waiting.popleft()
            elif self._fits(wanted):
                self._waiting.popleft()
                self._reserved = self._reserved.plus(wanted)
                place.set_result(None)
            elif not any(self._reserved):  # nobody can release anything: waiting is useless
                self._waiting.popleft()
                place.set_exception(BudgetSpent(self._message(wanted)))
            else:
                return

    def _message(self, wanted: TokenCount) -> str:
        limits = [f"{self._tokens:,} tokens"] if self._tokens is not None else []
        limits += [f"{self._money:g} of money"] if self._money is not None else []
        return (
            f"the budget of {' and '.join(limits)} does not allow another call (spent: {sum(self.spent):,} tokens, "
            f"{self.money:.4g} of money; the call could use {sum(wanted):,} tokens); raise it and start the run again, "
            "the answers so far are kept"
        )


class CostForecast(Value):
    """Estimated cost of all calls, from a pilot; `low` and `high` are the 95 % interval of the money.

    Args:
        pilot: calls of the pilot.
        failed: those of them without an answer.
        calls: calls of the whole run, the pilot included.
        seconds: of the whole run at the pilot's rate; 0 if the pilot was answered from the ledger.
    """

    pilot: int
    failed: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    low: float
    high: float
    seconds: float


def forecast(used: Sequence[TokenCount], failed: int, calls: int, prices: Prices, seconds: float) -> CostForecast:
    """Scale a pilot up to `calls` calls.

    Args:
        used: tokens of each answered call of the pilot.
        failed: calls of the pilot without an answer.
        calls: calls of the whole run.
        prices: of the model.
        seconds: duration of the whole pilot.

    Raises:
        BudgetSpent: the pilot has no answer.
    """
    if not used:
        raise BudgetSpent("no call of the pilot was answered, so there is no forecast; check the endpoints first")
    costs = [prices.cost(*tokens) for tokens in used]
    mean = statistics.fmean(costs)
    # One sample has no deviation: the interval is then from nothing to twice the cost.
    error = _Z_95 * statistics.stdev(costs) / math.sqrt(len(costs)) if len(costs) > 1 else mean
    return CostForecast(
        pilot=len(used) + failed,
        failed=failed,
        calls=calls,
        prompt_tokens=round(statistics.fmean(tokens.prompt for tokens in used) * calls),
        completion_tokens=round(statistics.fmean(tokens.completion for tokens in used) * calls),
        money=mean * calls,
        low=max(0.0, mean - error) * calls,
        high=(mean + error) * calls,
        seconds=seconds / (len(used) + failed) * calls,
    )
