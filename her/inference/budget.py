"""What calls cost: prices, a purse with a hard limit, and a forecast from a pilot.

The purse sets aside the most a call can take before it is made, and takes back what it did not use. So the limit holds
whatever comes back, as far as the prompt's tokens are estimated right (a tenth is added to the estimate).
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


class BudgetSpent(HerError):
    """The budget does not allow one more call. What was answered is in the ledger; the run goes on from there."""


class Prices(Value):
    """Money for a million tokens, in any currency; 0 where nothing is paid."""

    prompt: float = Field(default=0, ge=0)
    completion: float = Field(default=0, ge=0)

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What these tokens cost."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Tokens(NamedTuple):
    """Tokens of one or many calls."""

    prompt: int = 0
    completion: int = 0

    def plus(self, other: "Tokens") -> "Tokens":
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)


class BudgetLeft(NamedTuple):
    """What of a budget is left; None where there is no limit."""

    tokens: int | None
    money: float | None


def most(messages: Sequence[Message], max_tokens: int) -> Tokens:
    """The most that one request with these messages can take."""
    return Tokens(math.ceil(estimate_tokens(messages) * _MARGIN), max_tokens)


class Purse:
    """What may be spent, and what was. `spent` begins with what the ledger's calls took: a budget is for a whole run.

    Args:
        tokens: the most of prompt and completion tokens together; None for no limit.
        money: the most, at `prices`; None for no limit.
    """

    def __init__(self, tokens: int | None, money: float | None, prices: Prices, spent: Tokens) -> None:
        self._tokens, self._money, self._prices = tokens, money, prices
        self.spent, self._aside = spent, Tokens()
        self._waiting: deque[tuple[Tokens, asyncio.Future[None]]] = deque()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._tokens is not None or self._money is not None

    @property
    def money(self) -> float:
        """What was spent, at the prices."""
        return self._prices.of(*self.spent)

    @property
    def left(self) -> BudgetLeft:
        """What is neither spent nor set aside."""
        gone = self.spent.plus(self._aside)
        tokens = None if self._tokens is None else max(0, self._tokens - sum(gone))
        return BudgetLeft(tokens, None if self._money is None else max(0.0, self._money - self._prices.of(*gone)))

    async def reserve(self, wanted: Tokens) -> None:
        """Set tokens aside, waiting while others may give some back.

        Raises:
            BudgetSpent: nobody can, and it is too much.
        """
        if not self._waiting and self._fits(wanted):
            self._aside = self._aside.plus(wanted)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, place))
        self._serve()
        await place

    def settle(self, reserved: Tokens, took: Tokens) -> None:
        """Give back what was set aside and note what was taken."""
        self._aside = Tokens(self._aside.prompt - reserved.prompt, self._aside.completion - reserved.completion)
        self.spent = self.spent.plus(took)
        self._serve()

    def _fits(self, wanted: Tokens) -> bool:
        there = self.spent.plus(self._aside).plus(wanted)
        return (self._tokens is None or sum(there) <= self._tokens) and (
            self._money is None or self._prices.of(*there) <= self._money
        )

    def _serve(self) -> None:
        """Let in who fits, in the order of coming; when nothing is set aside any more, nobody else ever will."""
        while self._waiting:
            wanted, place = self._waiting[0]
            if place.done():  # cancelled while it waited
                self._waiting.popleft()
            elif self._fits(wanted):
                self._waiting.popleft()
                self._aside = self._aside.plus(wanted)
                place.set_result(None)
            elif not any(self._aside):
                self._waiting.popleft()
                place.set_exception(BudgetSpent(self._sentence(wanted)))
            else:
                return

    def _sentence(self, wanted: Tokens) -> str:
        limits = [f"{self._tokens:,} tokens"] if self._tokens is not None else []
        limits += [f"{self._money:g} of money"] if self._money is not None else []
        return (
            f"the budget of {' and '.join(limits)} does not allow another call (spent: {sum(self.spent):,} tokens, "
            f"{self.money:.4g} of money; it could take {sum(wanted):,} tokens); raise it and start the run again, "
            "what was answered is kept"
        )


class CostForecast(Value):
    """What all calls will take, judging by a pilot; `low` and `high` bound the money in 95 of 100 cases.

    Args:
        pilot: calls that were asked.
        failed: of these, without an answer.
        calls: calls of the whole run, those of the pilot included.
        seconds: of the whole run at the pilot's rate; 0 when the pilot was answered from the ledger.
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


def forecast(took: Sequence[Tokens], failed: int, calls: int, prices: Prices, seconds: float) -> CostForecast:
    """Scale the tokens of a pilot's answered calls up to `calls`; `seconds` is what the pilot took, together."""
    if not took:
        raise BudgetSpent("none of the pilot's calls was answered, so nothing can be forecast; look at the endpoints first")
    costs = [prices.of(*each) for each in took]
    mean = statistics.fmean(costs)
    error = 1.96 * statistics.stdev(costs) / math.sqrt(len(costs)) if len(costs) > 1 else mean
    prompt, completion = (statistics.fmean(each[of] for each in took) for of in (0, 1))
    return CostForecast(
        pilot=len(took) + failed,
        failed=failed,
        calls=calls,
        prompt_tokens=round(prompt * calls),
        completion_tokens=round(completion * calls),
        money=mean * calls,
        low=max(0.0, mean - error) * calls,
        high=(mean + error) * calls,
        seconds=seconds / (len(took) + failed) * calls,
    )
