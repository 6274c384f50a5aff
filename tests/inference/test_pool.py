"""The pool: which endpoint gets the next call, who waits, and when the run stops. In virtual time."""

import asyncio

import pytest

from her.errors import BackendError
from her.inference.endpoints import Endpoint, Ticket
from her.inference.pool import Pool
from tests.inference.test_endpoints import LIMITS, SilentBackend, failure
from tests.inference.virtual_time import virtual_time


def pool_of(*names: str, **changes: float) -> Pool:
    some_limits = LIMITS.model_copy(update=changes)
    return Pool([Endpoint(SilentBackend(name), some_limits) for name in names], some_limits)


def now() -> float:
    return asyncio.get_running_loop().time()


async def settled() -> None:
    """Let tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


@virtual_time
async def test_the_next_call_goes_where_the_largest_share_is_free() -> None:
    """Not where the most places are free: 3 of 4 are more than 8 of 16."""
    pool = pool_of("small", "large")
    small, large = pool.endpoints
    large.window = 16
    small.take(0)
    for _ in range(8):
        large.take(0)
    order = [(await pool.acquire()).endpoint for _ in range(4)]
    assert order == [small, small, large, large], "3/4, 2/4 (as much as 8/16: the first), then 8/16 and 7/16 before 1/4"


@virtual_time
async def test_all_endpoints_fill_up_equally_and_then_calls_wait() -> None:
    pool = pool_of("a", "b")
    pool.endpoints[1].window = 8
    first = [(await pool.acquire()).endpoint.name for _ in range(6)]
    assert first.count("openai:http://a/v1#m") == 2
    for _ in range(6):
        await pool.acquire()
    assert [endpoint.in_flight for endpoint in pool.endpoints] == [4, 8]
    waiting = asyncio.create_task(pool.acquire())
    await settled()
    assert not waiting.done()
    pool.close()
    waiting.cancel()


@virtual_time
async def test_waiting_calls_are_served_first_in_first_out_and_repeated_ones_before() -> None:
    pool = pool_of("a", "b", max_in_flight=1, start=1)
    held = [await pool.acquire(), await pool.acquire()]
    order: list[str] = []

    async def waiter(name: str, avoid: Endpoint | None = None) -> None:
        ticket = await pool.acquire(avoid, 0)
        order.append(name)
        pool.release(ticket)

    tasks = [asyncio.create_task(waiter(name)) for name in ("first", "second")]
    await settled()
    tasks.append(asyncio.create_task(waiter("repeated", pool.endpoints[0])))
    await settled()
    pool.release(held[0])
    await asyncio.gather(*tasks)
    assert order == ["repeated", "first", "second"]


@virtual_time
async def test_the_endpoint_that_failed_is_avoided_while_another_is_free() -> None:
    pool = pool_of("a", "b")
    first = await pool.acquire()
    pool.release(first, failure("server_error"))
    second = await pool.acquire(first.endpoint, 60)
    assert second.endpoint is not first.endpoint and now() == 0


@virtual_time
async def test_the_only_endpoint_is_avoided_for_the_pause() -> None:
    pool = pool_of("a")
    first = await pool.acquire()
    pool.release(first, failure("server_error"))
    again = asyncio.create_task(pool.acquire(first.endpoint, 5))
    await settled()
    other = await pool.acquire()  # a new call does not wait behind the one that pauses
    assert now() == 0 and not again.done()
    assert (await again).endpoint is other.endpoint and now() == pytest.approx(5.001)


@virtual_time
async def test_two_pauses_at_one_endpoint_end_each_at_its_time() -> None:
    pool = pool_of("a")
    endpoint = pool.endpoints[0]

    async def again(seconds: float) -> float:
        await pool.acquire(endpoint, seconds)
        return now()

    assert await asyncio.gather(again(7), again(3)) == [pytest.approx(7.001), pytest.approx(3.001)]


@virtual_time
async def test_calls_wait_until_an_endpoint_has_rested() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    pool.release(await pool.acquire(), failure("rate_limited", 9))
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    ticket = await waiting[0]
    assert now() == pytest.approx(9.001)
    pool.release(ticket)
    await waiting[1]


@virtual_time
async def test_an_endpoint_that_was_out_is_probed_though_the_other_has_room() -> None:
    pool = pool_of("bad", "good", start=64)
    bad = pool.endpoints[0]
    for ticket in [bad.take(0) for _ in range(3)]:
        pool.release(ticket, failure("timeout"))
    await asyncio.sleep(bad.ready_at)
    held = [await pool.acquire() for _ in range(3)]
    assert [ticket.endpoint is bad for ticket in held] == [True, False, False]
    pool.release(held[0])
    assert not bad.is_out


@virtual_time
async def test_a_cancelled_call_passes_its_place_on() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    held = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await settled()
    pool.release(held)
    waiting[0].cancel()  # it has its place, but has not woken yet
    ticket = await waiting[1]
    assert pool.endpoints[0].in_flight == 1 and waiting[0].cancelled()
    pool.release(ticket, cancelled=True)
    assert pool.endpoints[0].in_flight == 0


@virtual_time
async def test_a_call_that_is_cancelled_while_it_waits_gets_no_place() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    held = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await settled()
    waiting[0].cancel()
    await settled()
    pool.release(held)
    await waiting[1]
    assert pool.endpoints[0].in_flight == 1


@virtual_time
async def test_a_cancelled_call_says_nothing_about_the_endpoint() -> None:
    pool = pool_of("a")
    for _ in range(10):
        pool.release(await pool.acquire(), cancelled=True)
    assert pool.endpoints[0].window == LIMITS.start and not pool.endpoints[0].is_out


@virtual_time
async def test_when_all_endpoints_are_lost_every_call_fails() -> None:
    pool = pool_of("a", "b", max_in_flight=1, start=1)
    held = [await pool.acquire(), await pool.acquire()]
    waiting = asyncio.create_task(pool.acquire())
    await settled()
    pool.release(held[0], failure("unauthorised"))
    assert pool.stopped is None and not waiting.done(), "one endpoint is left"
    pool.release(held[1], failure("not_found"))
    for call in (waiting, pool.acquire()):
        with pytest.raises(BackendError) as caught:
            await call
        assert caught.value.reason == "not_found"


async def fail_until_it_stops(pool: Pool, error: BackendError) -> tuple[BackendError, int]:
    """Return the error that stops the run, and the number of calls before."""
    number = 0
    with pytest.raises(BackendError) as caught:
        while number < 1_000:
            ticket = await pool.acquire()
            number += 1
            await asyncio.sleep(0.01)  # the round trip
            pool.release(ticket, error)
    return caught.value, number


@virtual_time
async def test_patience_ends() -> None:
    pool = pool_of("a")
    error, number = await fail_until_it_stops(pool, failure("unreachable"))
    assert str(error).startswith("no endpoint has answered for ") and str(error).endswith(" s; the last: no")
    assert error.reason == "unreachable" and number < 20
    assert LIMITS.patience < now() < LIMITS.patience + 1.2 * LIMITS.longest_cool_down


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.001])
@virtual_time
async def test_patience_ends_with_a_server_that_only_refuses(retry_after: float | None) -> None:
    pool = pool_of("a", cool_down=0.1, patience=2)
    error, number = await fail_until_it_stops(pool, failure("rate_limited", retry_after))
    assert error.reason == "rate_limited" and "no endpoint has answered for" in str(error) and number < 1_000


@virtual_time
async def test_patience_begins_with_the_first_call_and_again_with_each_answer() -> None:
    pool = pool_of("a", cool_down=1e-3, longest_cool_down=1e-3)
    await asyncio.sleep(1_000)
    for _ in range(3):
        for _ in range(2 * 3):
            pool.release(await pool.acquire(), failure("unreachable"))
        await asyncio.sleep(0.9 * LIMITS.patience)
        pool.release(await pool.acquire(), failure("bad_request"))  # an answer, though of no use
    assert pool.stopped is None


@virtual_time
async def test_one_endpoint_that_may_answer_keeps_the_run_going() -> None:
    pool = pool_of("a", "b", patience=1)
    tickets: list[Ticket] = [await pool.acquire() for _ in range(8)]
    await asyncio.sleep(100)
    for ticket in tickets:
        if ticket.endpoint is pool.endpoints[0]:
            pool.release(ticket, failure("unreachable"))
    assert pool.endpoints[0].is_out and pool.stopped is None


@virtual_time
async def test_refusals_do_not_end_patience_while_an_accepted_call_is_in_flight() -> None:
    pool = pool_of("a", patience=1e-9, start=2)
    accepted, other = await pool.acquire(), await pool.acquire()
    await asyncio.sleep(1)
    pool.release(other, failure("rate_limited", 0))
    assert pool.stopped is None
    pool.release(accepted)
    assert (await pool.acquire()).endpoint is accepted.endpoint


@virtual_time
async def test_a_patient_call_waits_until_no_other_does() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    held, order = await pool.acquire(), []

    async def ask(name: str, patient: bool) -> None:
        ticket = await pool.acquire(patient=patient)
        order.append(name)
        pool.release(ticket)

    calls = (("late", True), ("first", False), ("later", True), ("second", False))
    tasks = [asyncio.create_task(ask(*each)) for each in calls]
    await settled()
    pool.release(held)
    await asyncio.gather(*tasks)
    assert order == ["first", "second", "late", "later"]
    ticket = await pool.acquire(patient=True)  # a free place is given at once
    pool.release(ticket)
    pool.close()
