"""Endpoints: how many calls at once, when one is out and when it is tried again, who gets the next call."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from her.backends.base import Completion, Delta, Description
from her.errors import BackendError, Reason
from her.inference.endpoints import STRIKES, Endpoint, Pace, Pool, Ticket
from her.types import Message, Sampling

PACE = Pace(max_in_flight=64, start=4, cool_down=2, longest_cool_down=8, patience=50)


class Silent:
    """A backend that is only described; these tests make no calls."""

    def __init__(self, name: str = "a") -> None:
        self.name = name

    def describe(self) -> Description:
        return Description(spec=f"openai:http://{self.name}/v1#m", model="m")

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        raise NotImplementedError

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        await asyncio.Event().wait()
        raise NotImplementedError

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 0

    async def check(self) -> str:
        return "here"

    async def close(self) -> None:
        return None


def failure(reason: Reason, retry_after: float | None = None) -> BackendError:
    return BackendError("no", reason, retry_after)


def full(endpoint: Endpoint, now: float) -> list[Ticket]:
    return [endpoint.take(now) for _ in range(endpoint.free(now))]


def end(endpoint: Endpoint, ticket: Ticket, now: float, error: BackendError | None = None) -> None:
    endpoint.back(ticket)
    if error is None:
        endpoint.gone_well(ticket, now)
    elif error.reason == "rate_limited":
        endpoint.refused(ticket, error, now)
    else:
        endpoint.gone_wrong(ticket, error, now)


def test_the_window_doubles_each_round_trip_up_to_the_most() -> None:
    endpoint = Endpoint(Silent(), PACE)
    sizes = []
    for now in range(6):
        tickets = full(endpoint, now)
        sizes.append(len(tickets))
        for ticket in tickets:
            end(endpoint, ticket, now + 0.9)
    assert sizes == [4, 8, 16, 32, 64, 64]


def test_a_window_that_is_not_used_does_not_grow() -> None:
    endpoint = Endpoint(Silent(), PACE)
    for now in range(50):
        end(endpoint, endpoint.take(now), now + 0.5)
    assert endpoint.window == 4


def test_refusals_leave_the_window_at_what_was_accepted() -> None:
    endpoint = Endpoint(Silent(), PACE.model_copy(update={"start": 60}))
    tickets = full(endpoint, 0)
    for ticket in tickets[37:]:
        end(endpoint, ticket, 0.01, failure("rate_limited", 30))
    assert endpoint.window == 37 and endpoint.free(0.02) == 0
    end(endpoint, tickets[0], 0.2)
    assert endpoint.free(0.2) == 1  # not paused: what was accepted goes on


def test_after_a_refusal_it_grows_by_one_a_round_trip_and_not_at_once() -> None:
    endpoint = Endpoint(Silent(), PACE.model_copy(update={"start": 12}))
    tickets = full(endpoint, 0)
    for ticket in tickets[10:]:
        end(endpoint, ticket, 0.01, failure("rate_limited"))
    for ticket in tickets[:10]:
        end(endpoint, ticket, 0.5)
    sizes = []
    for now in (1, 2, 30, 31, 32):
        tickets = full(endpoint, now)
        sizes.append(len(tickets))
        for ticket in tickets:
            end(endpoint, ticket, now + 0.9)
    assert sizes == [10, 10, 10, 10, 11] or sizes == [10, 10, 10, 11, 12]


def test_when_all_are_refused_it_waits_as_long_as_it_was_told() -> None:
    endpoint = Endpoint(Silent(), PACE)
    for ticket in full(endpoint, 0):
        end(endpoint, ticket, 0.1, failure("rate_limited", 7))
    assert endpoint.free(7) == 0
    assert endpoint.free(7.2) == 1
    assert not endpoint.out


def test_refused_one_after_the_other_is_the_rate_and_waits() -> None:
    endpoint = Endpoint(Silent(), PACE)
    full(endpoint, 0)
    for number in range(1, STRIKES + 1):
        ticket = endpoint.take(number)
        end(endpoint, ticket, number + 0.1, failure("rate_limited", 9))
    assert endpoint.ready_at == pytest.approx(STRIKES + 9.1)


def test_failures_halve_it_once_for_all_that_were_on_the_way() -> None:
    endpoint = Endpoint(Silent(), PACE.model_copy(update={"start": 32}))
    tickets = full(endpoint, 0)
    for ticket in tickets[: STRIKES - 1]:
        end(endpoint, ticket, 1, failure("server_error"))
    assert endpoint.window == 16 and not endpoint.out


@pytest.mark.parametrize("reason", ["unreachable", "server_error", "timeout", "broken_stream", "invalid_reply"])
def test_out_after_some_failures_then_probed_by_one_call(reason: Reason) -> None:
    endpoint = Endpoint(Silent(), PACE)
    for ticket in full(endpoint, 0):
        end(endpoint, ticket, 1, failure(reason))
    assert endpoint.out and endpoint.free(1.1) == 0
    now = 1 + 2 * 1.2
    assert endpoint.free(now) == 1
    probe = endpoint.take(now)
    assert probe.probe and endpoint.free(now) == 0
    end(endpoint, probe, now + 0.1)
    assert not endpoint.out and endpoint.free(now + 0.1) == 2


def test_each_failed_probe_doubles_the_time_out_up_to_the_longest() -> None:
    endpoint = Endpoint(Silent(), PACE)
    now, waits = 0.0, []
    for ticket in full(endpoint, now):
        end(endpoint, ticket, now, failure("unreachable"))
    for _ in range(4):
        waits.append(endpoint.ready_at - now)
        now = endpoint.ready_at
        end(endpoint, endpoint.take(now), now, failure("unreachable"))
    for wait, usual in zip(waits, (2, 4, 8, 8), strict=True):
        assert 0.8 * usual <= wait <= 1.2 * usual


def test_a_success_forgets_the_strikes() -> None:
    endpoint = Endpoint(Silent(), PACE)
    for now in range(10):
        end(endpoint, endpoint.take(now), now + 0.1, failure("server_error") if now % STRIKES else None)
    assert not endpoint.out


@pytest.mark.parametrize("reason", ["unauthorised", "not_found", "missing_extra"])
def test_what_no_waiting_mends_is_final(reason: Reason) -> None:
    endpoint = Endpoint(Silent(), PACE)
    end(endpoint, endpoint.take(0), 1, failure(reason))
    assert endpoint.out and endpoint.free(1e9) == 0


def pool_of(*names: str, **changes: float) -> Pool:
    pace = PACE.model_copy(update=changes)
    return Pool([Endpoint(Silent(name), pace) for name in names], pace)


async def test_the_freer_endpoint_gets_the_next_call() -> None:
    pool = pool_of("a", "b")
    pool.endpoints[1].window = 8
    got = [(await pool.acquire()).endpoint.name for _ in range(12)]
    assert got.count(pool.endpoints[0].name) == 4 and got.count(pool.endpoints[1].name) == 8
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    assert not waiting.done()
    pool.stop()
    waiting.cancel()


async def test_who_failed_is_avoided_while_another_is_there() -> None:
    pool = pool_of("a", "b")
    first = await pool.acquire()
    pool.release(first, failure("server_error"))
    second = await pool.acquire(first.endpoint, 60)
    assert second.endpoint is not first.endpoint


async def test_a_cancelled_call_gives_its_place_back() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    held = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    pool.release(held)
    waiting[0].cancel()  # it has its place, but has not woken yet
    ticket = await asyncio.wait_for(waiting[1], 5)
    assert pool.in_flight == 1 and waiting[0].cancelled()
    pool.release(ticket, cancelled=True)
    assert pool.in_flight == 0


async def test_without_a_usable_endpoint_everybody_is_told() -> None:
    pool = pool_of("a", max_in_flight=1, start=1)
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(held, failure("unauthorised"))
    for asked in (waiting, pool.acquire()):
        with pytest.raises(BackendError) as caught:
            await asked
        assert caught.value.reason == "unauthorised"


async def test_patience_ends() -> None:
    pool = pool_of("a", patience=0.02, cool_down=0.01)
    with pytest.raises(BackendError, match="no endpoint has answered for"):
        for _ in range(50):
            ticket = await asyncio.wait_for(pool.acquire(), 5)
            pool.release(ticket, failure("unreachable"))


@pytest.mark.parametrize("told", [None, 0.0, 0.001])
async def test_patience_ends_with_a_server_that_only_refuses(told: float | None) -> None:
    pool = pool_of("a", patience=0.02, cool_down=0.01, longest_cool_down=0.02)
    refusals = 0
    with pytest.raises(BackendError, match="no endpoint has answered for") as caught:
        while refusals < 1_000:
            ticket = await asyncio.wait_for(pool.acquire(), 5)
            refusals += 1
            pool.release(ticket, failure("rate_limited", told))
    assert caught.value.reason == "rate_limited"


async def test_refusals_do_not_end_patience_while_an_accepted_call_is_on_its_way() -> None:
    pool = pool_of("a", patience=1e-9, start=2)
    accepted, other = await pool.acquire(), await pool.acquire()
    await asyncio.sleep(0)
    pool.release(other, failure("rate_limited", 0))
    assert pool.stopped is None
    pool.release(accepted)
    assert (await asyncio.wait_for(pool.acquire(), 5)).endpoint is accepted.endpoint


def test_refused_at_once_again_and_again_it_rests_all_the_same() -> None:
    endpoint = Endpoint(Silent(), PACE)
    for number in range(1, STRIKES + 1):
        assert endpoint.free(number) > 0
        end(endpoint, endpoint.take(number), number + 0.1, failure("rate_limited", 0))
    assert endpoint.ready_at >= STRIKES + 0.1 + 0.8 * PACE.cool_down


async def test_a_backend_without_a_time_limit_gets_one() -> None:
    endpoint = Endpoint(Silent(), PACE.model_copy(update={"timeout": 0.01}))
    with pytest.raises(BackendError) as caught:
        await endpoint.ask([], Sampling(), None)
    assert caught.value.reason == "timeout"
