"""An endpoint: how many calls it gets at once, when it is out and when it is tried again, what it is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from her.backends.base import Completion, Delta, Description
from her.errors import BackendError, Reason
from her.inference.endpoints import STRIKES, Endpoint, EndpointLimits, Ticket
from her.types import Message, Sampling
from tests.inference.calls import Reply
from tests.inference.virtual_time import virtual_time

LIMITS = EndpointLimits(max_in_flight=64, start=4, cool_down=2, longest_cool_down=8, patience=50)


class SilentBackend:
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


class Other(Reply):
    """Another schema."""


def failure(reason: Reason, retry_after: float | None = None) -> BackendError:
    return BackendError("no", reason, retry_after)


def full(endpoint: Endpoint, now: float) -> list[Ticket]:
    return [endpoint.take(now) for _ in range(endpoint.free(now))]


def test_the_window_doubles_each_round_trip_up_to_the_most() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    sizes = []
    for now in range(6):
        tickets = full(endpoint, now)
        sizes.append(len(tickets))
        for ticket in tickets:
            endpoint.finish(ticket, None, now + 0.9)
    assert sizes == [4, 8, 16, 32, 64, 64]


def test_a_window_that_is_not_used_does_not_grow() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for now in range(50):
        endpoint.finish(endpoint.take(now), None, now + 0.5)
    assert endpoint.window == 4


def test_refusals_leave_the_window_at_what_was_accepted() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS.model_copy(update={"start": 60}))
    tickets = full(endpoint, 0)
    for ticket in tickets[37:]:
        endpoint.finish(ticket, failure("rate_limited", 30), 0.01)
    assert endpoint.window == 37 and endpoint.free(0.02) == 0
    endpoint.finish(tickets[0], None, 0.2)
    assert endpoint.free(0.2) == 1  # not paused: what was accepted goes on


def test_after_a_refusal_it_grows_by_one_a_round_trip_and_not_at_once() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS.model_copy(update={"start": 12}))
    tickets = full(endpoint, 0)
    for ticket in tickets[10:]:
        endpoint.finish(ticket, failure("rate_limited"), 0.01)
    for ticket in tickets[:10]:
        endpoint.finish(ticket, None, 0.5)
    sizes = []
    for now in (1, 2, 30, 31, 32):
        tickets = full(endpoint, now)
        sizes.append(len(tickets))
        for ticket in tickets:
            endpoint.finish(ticket, None, now + 0.9)
    assert sizes == [10, 10, 10, 11, 12]


def test_when_all_are_refused_it_waits_as_long_as_it_was_told() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 0):
        endpoint.finish(ticket, failure("rate_limited", 7), 0.1)
    assert endpoint.free(7) == 0
    assert endpoint.free(7.2) == 1
    assert not endpoint.is_out


def test_refused_one_after_the_other_is_the_rate_and_waits() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    full(endpoint, 0)
    for number in range(1, STRIKES + 1):
        ticket = endpoint.take(number)
        endpoint.finish(ticket, failure("rate_limited", 9), number + 0.1)
    assert endpoint.ready_at == pytest.approx(STRIKES + 9.1)


def test_failures_halve_it_once_for_all_that_were_on_the_way() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS.model_copy(update={"start": 32}))
    tickets = full(endpoint, 0)
    for ticket in tickets[: STRIKES - 1]:
        endpoint.finish(ticket, failure("server_error"), 1)
    assert endpoint.window == 16 and not endpoint.is_out


@pytest.mark.parametrize("reason", ["unreachable", "server_error", "timeout", "broken_stream", "invalid_reply"])
def test_out_after_some_failures_then_probed_by_one_call(reason: Reason) -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 0):
        endpoint.finish(ticket, failure(reason), 1)
    assert endpoint.is_out and endpoint.free(1.1) == 0
    now = 1 + 2 * 1.2
    assert endpoint.free(now) == 1
    probe = endpoint.take(now)
    assert probe.probe and endpoint.free(now) == 0
    endpoint.finish(probe, None, now + 0.1)
    assert not endpoint.is_out and endpoint.free(now + 0.1) == 2


def test_each_failed_probe_doubles_the_time_out_up_to_the_longest() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    now, waits = 0.0, []
    for ticket in full(endpoint, now):
        endpoint.finish(ticket, failure("unreachable"), now)
    for _ in range(4):
        waits.append(endpoint.ready_at - now)
        now = endpoint.ready_at
        endpoint.finish(endpoint.take(now), failure("unreachable"), now)
    for wait, usual in zip(waits, (2, 4, 8, 8), strict=True):
        assert 0.8 * usual <= wait <= 1.2 * usual


def test_a_success_forgets_the_strikes() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for now in range(10):
        endpoint.finish(endpoint.take(now), failure("server_error") if now % STRIKES else None, now + 0.1)
    assert not endpoint.is_out


@pytest.mark.parametrize("reason", ["unauthorised", "not_found", "missing_extra"])
def test_what_no_waiting_mends_is_final(reason: Reason) -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    endpoint.finish(endpoint.take(0), failure(reason), 1)
    assert endpoint.is_out and endpoint.free(1e9) == 0


def test_refused_at_once_again_and_again_it_rests_all_the_same() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for number in range(1, STRIKES + 1):
        assert endpoint.free(number) > 0
        endpoint.finish(endpoint.take(number), failure("rate_limited", 0), number + 0.1)
    assert endpoint.ready_at >= STRIKES + 0.1 + 0.8 * LIMITS.cool_down


def test_an_endpoint_starts_with_no_more_calls_than_it_may_have() -> None:
    assert Endpoint(SilentBackend(), LIMITS.model_copy(update={"max_in_flight": 3})).free(0) == 3
    assert Endpoint(SilentBackend(), LIMITS).free(0) == 4


def test_each_refused_growth_doubles_the_time_without_growth_up_to_a_minute() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    now, holds = 0.0, []
    for _ in range(8):
        *accepted, last = full(endpoint, now) or [endpoint.take(now)]
        endpoint.finish(last, failure("rate_limited"), now)
        for ticket in accepted:
            endpoint.finish(ticket, None, now)
        holds.append(endpoint._hold_until - now)
        now += 1_000
        endpoint.window = 4
    assert holds == [2, 4, 8, 16, 32, 60, 60, 60]


def test_one_refusal_counts_for_all_that_were_sent_before_it() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 1):
        endpoint.finish(ticket, failure("rate_limited", 0), 2)
    assert endpoint._refusals == 1 and endpoint._hold_until == 4


def test_after_a_probe_the_window_doubles_from_one_again() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 0):
        endpoint.finish(ticket, failure("timeout"), 0)
    now, sizes = endpoint.ready_at, []
    for _ in range(5):
        tickets = full(endpoint, now)
        sizes.append(len(tickets))
        for ticket in tickets:
            endpoint.finish(ticket, None, now + 0.9)
        now += 1
    assert sizes == [1, 2, 4, 8, 16]


def test_a_cancelled_probe_leaves_the_place_to_another() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 0):
        endpoint.finish(ticket, failure("timeout"), 0)
    probe = endpoint.take(endpoint.ready_at)
    endpoint.cancel(probe)
    assert endpoint.free(endpoint.ready_at) == 1 and endpoint.in_flight == 0 and endpoint.is_out


def test_failures_of_calls_in_flight_do_not_prolong_the_time_out() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    tickets = full(endpoint, 0)
    for ticket in tickets[:STRIKES]:
        endpoint.finish(ticket, failure("timeout"), 1)
    ready_at = endpoint.ready_at
    endpoint.finish(tickets[STRIKES], failure("timeout"), 1.5)
    assert endpoint.ready_at == ready_at


def test_a_server_that_asks_for_a_longer_time_out_gets_it() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for ticket in full(endpoint, 0):
        endpoint.finish(ticket, failure("server_error", 100), 1)
    assert endpoint.ready_at == 101


def test_a_success_brings_back_the_first_time_out() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    for _ in range(2):
        tickets = [endpoint.take(endpoint.ready_at) for _ in range(STRIKES)]
        now = endpoint.ready_at + 1
        for ticket in tickets:
            endpoint.finish(ticket, failure("timeout"), now)
        assert 0.8 * LIMITS.cool_down <= endpoint.ready_at - now <= 1.2 * LIMITS.cool_down
        endpoint.finish(endpoint.take(endpoint.ready_at), None, endpoint.ready_at)


@pytest.mark.parametrize(
    ("reason", "in_flight", "later", "silent"),
    [
        ("timeout", 0, 0.0, False),  # one failure: it may answer the next call
        ("rate_limited", 0, 0.0, True),  # it rests
        ("rate_limited", 0, 100.0, True),  # it has rested, and was refusing before
        ("rate_limited", 1, 100.0, False),  # it has accepted a call
        ("bad_request", 0, 0.0, False),
        ("unauthorised", 0, 0.0, True),
    ],
)
def test_when_no_answer_can_be_expected(reason: Reason, in_flight: int, later: float, silent: bool) -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    tickets = [endpoint.take(0) for _ in range(1 + in_flight)]
    endpoint.finish(tickets[0], failure(reason, 5), 1)
    assert endpoint.is_silent(1 + later) == silent


@virtual_time
async def test_a_backend_without_a_time_limit_gets_one() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    with pytest.raises(BackendError, match="a/v1#m gave no whole answer within 600 s; .*try again") as caught:
        await endpoint.ask([], Sampling(), None)
    assert caught.value.reason == "timeout"


class Whole(SilentBackend):
    """A backend for whole answers that fails as often as it is told, and says whether a schema was sent."""

    def __init__(self, *errors: Reason | None) -> None:
        super().__init__()
        self.errors, self.schemas, self.seconds = list(errors), [], 0.0

    async def ask(self, messages: Any, sampling: Any, *, schema: Any = None, seconds: float = 0) -> Completion:
        self.schemas.append(schema is not None)
        self.seconds = seconds
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise BackendError("no", error)
        return Completion(text="yes", finish="stop")


async def test_a_schema_that_is_refused_is_left_out_from_then_on() -> None:
    backend = Whole("bad_request")
    endpoint = Endpoint(backend, LIMITS)
    held = [(await endpoint.ask([], Sampling(), Reply))[1] for _ in range(3)]
    assert held == [False] * 3 and backend.schemas == [True, False, False, False]
    assert (await endpoint.ask([], Sampling(), Other))[1], "another schema is tried"
    assert backend.seconds == 600


async def test_a_request_that_fails_without_its_schema_too_says_nothing_about_the_schema() -> None:
    backend = Whole("bad_request", "bad_request")
    endpoint = Endpoint(backend, LIMITS)
    with pytest.raises(BackendError):
        await endpoint.ask([], Sampling(), Reply)
    assert (await endpoint.ask([], Sampling(), Reply))[1]


async def test_a_schema_that_was_taken_once_is_always_sent() -> None:
    backend = Whole(None, "bad_request", None, "timeout")
    endpoint = Endpoint(backend, LIMITS)
    assert (await endpoint.ask([], Sampling(), Reply))[1]
    with pytest.raises(BackendError):
        await endpoint.ask([], Sampling(), Reply)
    assert (await endpoint.ask([], Sampling(), Reply))[1]
    with pytest.raises(BackendError):
        await endpoint.ask([], Sampling(), Reply)
    assert backend.schemas == [True] * 4
    assert not (await endpoint.ask([], Sampling(), None))[1]


def test_another_model_than_the_runs_is_fatal() -> None:
    endpoint = Endpoint(SilentBackend(), LIMITS)
    with pytest.raises(BackendError, match="has model 'm', this run asks 'other'") as caught:
        endpoint.check_model("other")
    assert caught.value.policy.fatal
    endpoint.check_model("")
    endpoint.check_model("other")  # it was checked, with no name to check


def test_scripted_lines_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = SilentBackend()
    monkeypatch.setattr(backend, "describe", lambda: Description(spec="scripted:", model="m", scripted=True))
    Endpoint(backend, LIMITS).check_model("other")
