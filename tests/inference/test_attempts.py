"""Acts of the running caller after each reason of failure, against servers that fail in that way.

The expected numbers are written here once more: they are the contract that docs/protocols.md describes.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from her.backends.base import Completion
from her.errors import BackendError, Reason
from her.inference.attempts import Attempts
from her.inference.caller import Answer, Caller, Ledger
from her.tokens import estimate_tokens
from her.types import Message
from tests.inference.calls import CHEAP, call, closed_spec, limits, spec, until
from tests.inference.test_endpoints import SilentBackend
from tests.servers import ModelServer, pieces

Servers = Callable[..., ModelServer]
RETRIES = 3
PROMPT = estimate_tokens(call("t").messages)


class Expected(NamedTuple):
    """Requests for one call at one endpoint, and tokens charged for each of them."""

    script: dict[str, Any]
    requests: int
    prompt: int = 0
    completion: int = 0


CALL_FAILS: dict[Reason, list[Expected]] = {
    "server_error": [Expected({"status": 500}, 1 + RETRIES), Expected({"status": 503}, 1 + RETRIES)],
    "timeout": [Expected({"fault": "stall"}, 1 + RETRIES, PROMPT)],
    "broken_stream": [Expected({"fault": "truncated"}, 1 + RETRIES, PROMPT)],
    "invalid_reply": [
        Expected({"fault": "html"}, 1 + RETRIES, PROMPT),
        Expected({"fault": "not_json"}, 1 + RETRIES, PROMPT),
        Expected({"fault": "wrong_shape"}, 1 + RETRIES, PROMPT),
    ],
    "empty": [
        Expected({"fault": "empty"}, 2, PROMPT),
        Expected({"text": " \n", "reasoning": "All of it is thought."}, 2, PROMPT),
    ],
    "endless": [Expected({"fault": "endless"}, 2, PROMPT, CHEAP.max_tokens)],
    "bad_request": [Expected({"status": 400}, 1), Expected({"status": 413}, 1), Expected({"finish": "content_filter"}, 1)],
}
RUN_STOPS: dict[Reason, dict[str, Any]] = {
    "unauthorised": {"status": 401},
    "not_found": {"status": 404},
}
PATIENT = limits(retries=RETRIES, cool_down=0.001, longest_cool_down=0.001, timeout=30)


def cases() -> list[Any]:
    return [pytest.param(reason, case, id=f"{reason}-{n}") for reason, some in CALL_FAILS.items() for n, case in enumerate(some)]


@pytest.mark.parametrize(("reason", "expected"), cases())
async def test_a_failed_call_is_asked_so_often_and_charged_so_much(
    servers: Servers, ledger: Ledger, reason: Reason, expected: Expected
) -> None:
    server = servers(**expected.script)
    some_limits = PATIENT.model_copy(update={"timeout": 0.02}) if reason == "timeout" else PATIENT
    async with Caller([spec(server)], ledger, some_limits) as caller:
        answer = await caller.ask(call("t"))
        assert answer.reason == reason and answer.error and not answer.text
        assert caller.counters.spent == (expected.requests * expected.prompt, expected.requests * expected.completion)
        assert caller.budget.spent == caller.counters.spent
        assert caller.counters.retries == ({reason: expected.requests - 1} if expected.requests > 1 else {})
        assert caller.counters.failed == 1 and caller.endpoints[0].lost is None
    # A server on a busy machine never reads some of the requests that were given up after 0.02 s.
    least = 0 if reason == "timeout" else expected.requests
    assert least <= len(server.chats) <= expected.requests
    (failure,) = ledger.failures()
    assert (failure.name, failure.stage, failure.reason, failure.error) == ("t", "plans", reason, answer.error)
    assert (failure.prompt_tokens, failure.completion_tokens) == caller.counters.spent


async def test_a_port_without_a_server_is_tried_again_and_costs_nothing() -> None:
    async with Caller([closed_spec()], None, PATIENT) as caller:
        answer = await caller.ask(call("t"))
        assert answer.reason == "unreachable" and caller.counters.retries == {"unreachable": RETRIES}
        assert caller.counters.spent == (0, 0)


@pytest.mark.parametrize(("reason", "script"), RUN_STOPS.items(), ids=RUN_STOPS.keys())
async def test_a_fatal_reason_at_the_only_endpoint_stops_the_run(
    servers: Servers, ledger: Ledger, reason: Reason, script: dict[str, Any]
) -> None:
    server = servers(**script)
    async with Caller([spec(server)], ledger, PATIENT) as caller:
        for _ in range(2):
            with pytest.raises(BackendError) as caught:
                await caller.ask(call("t"))
            assert caught.value.reason == reason
        assert caller.counters.spent == (0, 0)
    assert len(server.chats) == 1
    assert [(failure.name, failure.reason) for failure in ledger.failures()] == [("t", reason)], "only the call that was asked"


class Uninstalled(SilentBackend):
    """A backend whose extra is not installed."""

    asked = 0

    async def complete(self, messages: Any, sampling: Any) -> Any:
        self.asked += 1
        raise BackendError("the extra is not installed", "missing_extra")


async def test_a_missing_extra_stops_the_run() -> None:
    backend = Uninstalled()
    async with Caller([backend], None, PATIENT) as caller:
        with pytest.raises(BackendError, match="not installed"):
            await caller.ask(call("t"))
    assert backend.asked == 1


async def test_refusals_are_no_failures_and_cost_nothing(servers: Servers) -> None:
    """A call without retries is asked until the server accepts it."""
    server = servers(status=429)
    async with Caller([spec(server)], None, PATIENT.model_copy(update={"retries": 0})) as caller:
        asking = asyncio.create_task(caller.ask(call("t")))
        await until(lambda: len(server.chats) >= 6)
        server.script.status = 200
        answer = await asking
        assert answer.text == "answer to t" and caller.counters.failed == 0
        assert caller.counters.retries == {"rate_limited": len(server.chats) - 1}
    assert answer.entry is not None and answer.entry.requests == len(server.chats)
    assert answer.entry.prompt_tokens == server_prompt(server)


def server_prompt(server: ModelServer) -> int:
    """Return the tokens that the test server counts for the first prompt it was sent."""
    return sum(len(pieces(str(message["content"]))) + 4 for message in server.chats[0]["messages"])


ENDPOINT_USE: list[tuple[dict[str, Any], int, bool, bool]] = [
    ({"status": 401}, 1, True, True),  # fatal: one request in the whole run
    ({"status": 404}, 1, True, True),
    ({"status": 500}, 3, False, True),  # the endpoint's fault: out after three
    ({"fault": "html"}, 3, False, True),
    ({"fault": "truncated"}, 3, False, True),
    ({"fault": "empty"}, 10, False, False),  # the call's fault: it stays in use
    ({"fault": "endless"}, 10, False, False),
    ({"status": 400}, 10, False, False),
    ({"status": 429}, 1, False, False),  # too many calls: it rests, and is not out
]


@pytest.mark.parametrize(("script", "requests", "lost", "out"), ENDPOINT_USE)
async def test_which_endpoint_stays_in_use(
    servers: Servers, script: dict[str, Any], requests: int, lost: bool, out: bool
) -> None:
    """Ten calls one after the other; the faulty endpoint is the first choice of each."""
    bad, good = servers(**script), servers()
    async with Caller([spec(bad), spec(good)], None, limits(cool_down=600, longest_cool_down=600, backoff=600)) as caller:
        answers = [await caller.ask(call(f"t{n}")) for n in range(10)]
        assert (caller.endpoints[0].lost is not None, caller.endpoints[0].is_out) == (lost, out)
        assert not caller.endpoints[1].is_out
    assert len(bad.chats) == requests
    failed = [answer for answer in answers if answer.error]
    assert len(failed) == (10 if script == {"status": 400} else 0)


async def test_a_retry_goes_to_another_endpoint(servers: Servers) -> None:
    bad, good = servers(status=500), servers()
    async with Caller([spec(bad), spec(good)], None, limits(backoff=600)) as caller:
        assert (await caller.ask(call("t"))).text == "answer to t"
    assert len(bad.chats) == len(good.chats) == 1


async def failing(*reasons: Reason, retries: int = RETRIES) -> tuple[Answer, int]:
    """Return the answer to a call whose requests fail for these reasons and then succeed, and their number."""
    left = list(reasons)

    class Failing(SilentBackend):
        async def complete(self, messages: Any, sampling: Any) -> Any:
            if left:
                raise BackendError("no", left.pop(0))
            return Completion(text="yes", finish="stop")

    async with Caller([Failing()], None, PATIENT.model_copy(update={"retries": retries})) as caller:
        answer = await caller.ask(call("t"))
        return answer, 1 + caller.counters.retries.total()


@pytest.mark.parametrize(
    ("reasons", "retries", "text", "requests"),
    [
        (["timeout", "server_error", "broken_stream"], 3, "yes", 4),
        (["timeout", "server_error", "broken_stream", "timeout"], 3, "", 4),
        (["timeout", "timeout", "empty"], 3, "yes", 4),
        (["empty", "timeout", "empty"], 3, "", 3),
        (["empty", "endless"], 3, "yes", 3),
        (["timeout", "bad_request"], 3, "", 2),
        (["empty"], 0, "", 1),
        (["rate_limited"] * 5, 0, "yes", 6),
        (["rate_limited", "timeout"], 0, "", 2),
    ],
)
async def test_failures_are_counted_by_reason_and_together(reasons: list[Reason], retries: int, text: str, requests: int) -> None:
    answer, number = await failing(*reasons, retries=retries)
    assert (answer.text, number) == (text, requests)


async def test_the_pause_doubles_up_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her.inference.attempts.random.uniform", lambda low, high: high)
    async with Caller([SilentBackend()], None, limits(backoff=0.5)) as caller:
        attempts = Attempts(call("t"), caller._pool, caller.budget, caller.limits, caller.counters)
        assert [attempts._backoff(n) for n in (1, 2, 3, 4, 20)] == [0.5, 1, 2, 4, 30]
    monkeypatch.setattr("her.inference.attempts.random.uniform", lambda low, high: low)
    assert attempts._backoff(1) == 0.25


async def test_tokens_are_estimated_where_the_server_counts_none(servers: Servers) -> None:
    async with Caller([spec(servers(usage=False, reasoning="Hm."))], None, PATIENT) as caller:
        answer = await caller.ask(call("t"))
    assert answer.entry is not None
    said = Message(role="assistant", content="answer to tHm.")
    assert (answer.entry.prompt_tokens, answer.entry.completion_tokens) == (PROMPT, estimate_tokens([said]))


async def test_a_call_is_one_entry_for_all_its_requests(servers: Servers, ledger: Ledger) -> None:
    """The tokens of failed requests are those of the call."""
    left = ["", "yes"]  # an empty answer, then another
    server = servers(text=lambda body: left.pop(0))
    async with Caller([spec(server)], ledger, PATIENT) as caller:
        answer = await caller.ask(call("t"))
    (entry,) = ledger.entries()
    assert answer.text == "yes" and entry == answer.entry and entry.requests == 2
    assert entry.prompt_tokens == PROMPT + server_prompt(server)
    assert (entry.stage, entry.model, entry.finish, entry.error, entry.tier) == ("plans", "test-her", "stop", "", "")
    assert 0 < entry.seconds < 30
