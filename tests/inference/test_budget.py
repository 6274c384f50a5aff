"""The purse never spends more than it may, and the forecast is the pilot scaled up."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.inference.budget import BudgetSpent, Prices, Purse, Tokens, forecast, most
from her.tokens import estimate_tokens
from her.types import Message

PRICES = Prices(prompt=1, completion=2)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 3_000),
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1)), max_size=30),
    st.booleans(),
)
def test_the_limit_holds_whatever_comes_back(limit: int, calls: list[tuple[int, int, float]], in_money: bool) -> None:
    """Each call sets aside at most so much, takes a share of it, and ends after others have begun."""

    async def one(purse: Purse, wanted: Tokens, share: float) -> None:
        await purse.reserve(wanted)
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        purse.settle(wanted, Tokens(int(wanted.prompt * share), int(wanted.completion * share)))

    async def all_of_them() -> tuple[Purse, list[BaseException | None]]:
        purse = Purse(None if in_money else limit, limit / 1e6 if in_money else None, PRICES, Tokens())
        work = (one(purse, Tokens(prompt, completion), share) for prompt, completion, share in calls)
        return purse, await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 10)

    purse, ended = asyncio.run(all_of_them())
    assert all(error is None or isinstance(error, BudgetSpent) for error in ended)
    assert purse.money <= limit / 1e6 + 1e-12 if in_money else sum(purse.spent) <= limit


async def test_who_does_not_fit_waits_for_what_comes_back() -> None:
    purse = Purse(100, None, PRICES, Tokens())
    await purse.reserve(Tokens(40, 40))
    waiting = asyncio.create_task(purse.reserve(Tokens(20, 20)))
    await asyncio.sleep(0)
    assert not waiting.done()
    purse.settle(Tokens(40, 40), Tokens(30, 10))
    await waiting
    assert purse.left.tokens == 20


async def test_the_sentence_says_what_is_spent_and_what_to_do() -> None:
    purse = Purse(None, 0.001, PRICES, Tokens(400, 200))
    with pytest.raises(BudgetSpent, match=r"0\.001 of money .*spent: 600 tokens.*raise it and start the run again"):
        await purse.reserve(Tokens(500, 0))


async def test_one_that_was_cancelled_blocks_nobody() -> None:
    purse = Purse(100, None, PRICES, Tokens())
    await purse.reserve(Tokens(90, 0))
    first = asyncio.create_task(purse.reserve(Tokens(50, 0)))
    second = asyncio.create_task(purse.reserve(Tokens(60, 0)))
    await asyncio.sleep(0)
    first.cancel()
    purse.settle(Tokens(90, 0), Tokens(10, 0))
    await second
    assert purse.left.tokens == 30


def test_what_is_set_aside_is_more_than_the_estimate() -> None:
    messages = [Message(role="user", content="word " * 100)]
    assert most(messages, 77).prompt > estimate_tokens(messages)
    assert most(messages, 77).completion == 77


def test_forecast() -> None:
    seen = forecast([Tokens(100, 50), Tokens(300, 150)], 1, 3_000, PRICES, 6.0)
    assert (seen.pilot, seen.failed, seen.calls) == (3, 1, 3_000)
    assert (seen.prompt_tokens, seen.completion_tokens) == (600_000, 300_000)
    assert seen.money == pytest.approx(1.2) and seen.low < seen.money < seen.high
    assert seen.seconds == pytest.approx(6_000)


def test_nothing_is_forecast_from_nothing() -> None:
    with pytest.raises(BudgetSpent, match="none of the pilot's calls"):
        forecast([], 5, 100, PRICES, 1.0)
