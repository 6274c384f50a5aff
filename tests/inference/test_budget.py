"""The budget never spends more than its limit, and the forecast is the pilot scaled up."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.inference.budget import Budget, BudgetLeft, BudgetSpent, Prices, TokenCount, forecast, upper_bound
from her.tokens import estimate_tokens
from her.types import Message

PRICES = Prices(prompt=1, completion=2)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 3_000),
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1), st.integers(0, 3)), max_size=20),
    st.booleans(),
)
def test_the_limit_holds_whatever_comes_back(limit: int, calls: list[tuple[int, int, float, int]], in_money: bool) -> None:
    """Each call reserves its upper bound, uses a share of it, and ends after others have begun."""

    async def use(budget: Budget, wanted: TokenCount, share: float, turns: int) -> None:
        await budget.reserve(wanted)
        for _ in range(turns):
            await asyncio.sleep(0)
        budget.settle(wanted, TokenCount(int(wanted.prompt * share), int(wanted.completion * share)))

    async def use_all() -> tuple[Budget, list[BaseException | None]]:
        budget = Budget(None if in_money else limit, limit / 1e6 if in_money else None, PRICES, TokenCount())
        work = (use(budget, TokenCount(prompt, completion), share, turns) for prompt, completion, share, turns in calls)
        return budget, await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 60)

    budget, ended = asyncio.run(use_all())
    assert all(error is None or isinstance(error, BudgetSpent) for error in ended)
    assert budget.money <= limit / 1e6 + 1e-12 if in_money else sum(budget.spent) <= limit
    assert budget.left == (
        BudgetLeft(None, pytest.approx(limit / 1e6 - budget.money)) if in_money else (limit - sum(budget.spent), None)
    )


async def test_a_call_that_does_not_fit_waits_for_tokens_that_are_released() -> None:
    budget = Budget(100, None, PRICES, TokenCount())
    await budget.reserve(TokenCount(40, 40))
    waiting = asyncio.create_task(budget.reserve(TokenCount(20, 20)))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.settle(TokenCount(40, 40), TokenCount(30, 10))
    await waiting
    assert budget.left.tokens == 20


async def test_the_message_says_what_is_spent_and_what_to_do() -> None:
    budget = Budget(None, 0.001, PRICES, TokenCount(400, 200))
    with pytest.raises(BudgetSpent, match=r"0\.001 of money .*spent: 600 tokens.*raise it and start the run again"):
        await budget.reserve(TokenCount(500, 0))


async def test_a_cancelled_call_blocks_nobody() -> None:
    budget = Budget(100, None, PRICES, TokenCount())
    await budget.reserve(TokenCount(90, 0))
    first = asyncio.create_task(budget.reserve(TokenCount(50, 0)))
    second = asyncio.create_task(budget.reserve(TokenCount(60, 0)))
    await asyncio.sleep(0)
    first.cancel()
    budget.settle(TokenCount(90, 0), TokenCount(10, 0))
    await second
    assert budget.left.tokens == 30


async def test_calls_are_served_first_in_first_out() -> None:
    """A large one is not passed by small ones, else it would starve."""
    budget = Budget(100, None, PRICES, TokenCount())
    await budget.reserve(TokenCount(50, 0))
    order: list[int] = []

    async def reserve(size: int) -> None:
        await budget.reserve(TokenCount(size, 0))
        order.append(size)

    tasks = [asyncio.create_task(reserve(size)) for size in (90, 10, 5)]
    await asyncio.sleep(0)
    assert order == []
    budget.settle(TokenCount(50, 0), TokenCount(0, 0))
    await asyncio.gather(*tasks[:2])
    assert order == [90, 10] and budget.left.tokens == 0
    budget.settle(TokenCount(90, 0), TokenCount(0, 0))
    await tasks[2]


async def test_the_whole_budget_may_be_used_but_not_one_token_more() -> None:
    budget = Budget(100, 0.0002, PRICES, TokenCount(10, 0))
    await budget.reserve(TokenCount(89, 1))
    assert budget.left == (0, pytest.approx(0.0002 - 101e-6))
    budget.settle(TokenCount(89, 1), TokenCount(89, 0))
    with pytest.raises(BudgetSpent, match="100 tokens and 0.0002 of money"):
        await budget.reserve(TokenCount(1, 1))
    await budget.reserve(TokenCount(1, 0))


async def test_the_money_is_a_limit_of_its_own() -> None:
    budget = Budget(1_000, 100e-6, PRICES, TokenCount())
    await budget.reserve(TokenCount(0, 50))
    budget.settle(TokenCount(0, 50), TokenCount(0, 49))
    with pytest.raises(BudgetSpent):
        await budget.reserve(TokenCount(3, 0))
    assert budget.left == (951, pytest.approx(2e-6)) and budget.limited


def test_without_a_limit_nothing_is_left_or_spent() -> None:
    budget = Budget(None, None, PRICES, TokenCount(5, 5))
    assert not budget.limited and budget.left == (None, None) and budget.money == pytest.approx(15e-6)
    assert Budget(0, None, PRICES, TokenCount()).limited and Budget(None, 0, PRICES, TokenCount()).limited
    assert Budget(5, 1e-6, PRICES, TokenCount(9, 9)).left == (0, 0.0), "a smaller budget than was spent"


def test_more_than_the_estimate_is_reserved() -> None:
    messages = [Message(role="user", content="word " * 100)]
    estimate = estimate_tokens(messages)
    assert estimate * 1.1 <= upper_bound(messages, 77).prompt < estimate * 1.1 + 1
    assert upper_bound(messages, 77).completion == 77


def test_forecast() -> None:
    estimate = forecast([TokenCount(100, 50), TokenCount(300, 150)], 1, 3_000, PRICES, 6.0)
    assert (estimate.pilot, estimate.failed, estimate.calls) == (3, 1, 3_000)
    assert (estimate.prompt_tokens, estimate.completion_tokens) == (600_000, 300_000)
    assert estimate.money == pytest.approx(1.2) and estimate.seconds == pytest.approx(6_000)
    # 200 and 600 millionths: a standard deviation of 282.8, divided by the root of two, times 1.96
    assert estimate.high - estimate.money == pytest.approx(1.96 * 200e-6 * 3_000)
    assert estimate.low == pytest.approx(1.2 - 1.176)


def test_the_forecast_of_one_call_is_from_nothing_to_twice_its_cost() -> None:
    estimate = forecast([TokenCount(1_000_000, 0)], 0, 2, PRICES, 1.0)
    assert (estimate.low, estimate.money, estimate.high, estimate.seconds) == (0, 2, 4, 2)


def test_the_cost_is_never_below_nothing() -> None:
    assert forecast([TokenCount(0, 0), TokenCount(1_000, 0)], 0, 10, PRICES, 1.0).low == 0


def test_a_pilot_without_an_answer_has_no_forecast() -> None:
    with pytest.raises(BudgetSpent, match="no call of the pilot was answered"):
        forecast([], 5, 100, PRICES, 1.0)
