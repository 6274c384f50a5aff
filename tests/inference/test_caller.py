"""Single calls against HTTP servers that speak the real protocol: recorded, structured, within a budget, at any endpoint."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from her.errors import BackendError, InputError
from her.inference.caller import BudgetSpent, Call, Caller, Ledger, Prices
from her.store.ledger import Sums
from her.types import Message
from tests.inference.calls import QUICK, Reply, ask, call, calls, closed_spec, echo, limits, spec, until
from tests.inference.test_endpoints import SilentBackend
from tests.servers import ModelServer, Script

Servers = Callable[..., ModelServer]
GOOD = json.dumps({"text": "yes", "sure": True})


async def test_a_recorded_call_is_not_asked_again(servers: Servers, ledger: Ledger) -> None:
    server = servers()
    for recorded in (False, True):
        async with Caller([spec(server)], ledger, QUICK) as caller:
            answers = await asyncio.gather(*(caller.ask(question) for question in calls(30)))
            assert (caller.counters.recorded, caller.counters.answered) == ((30, 0) if recorded else (0, 30))
            assert caller.has(caller.key(call("t3"))) and not caller.has(caller.key(call("t30")))
        assert [answer.text for answer in answers] == [f"answer to t{n}" for n in range(30)]
        assert {answer.recorded for answer in answers} == {recorded}
    assert len(server.chats) == len(ledger) == 30


async def test_the_same_call_in_flight_is_asked_once(servers: Servers) -> None:
    server = servers(first_delay=0.05)
    async with Caller([spec(server)], None, QUICK) as caller:
        answers = await asyncio.gather(*(caller.ask(call("same", meta=n)) for n in range(20)))
        again = await caller.ask(call("same"))
    assert [answer.call.meta for answer in answers] == list(range(20))
    assert {answer.text for answer in [*answers, again]} == {"answer to same"}
    assert len(server.chats) == 2, "one for all, and one later: without a ledger nothing is kept"


async def test_a_call_that_waited_for_the_same_one_is_asked_when_that_is_cancelled(servers: Servers) -> None:
    server = servers(fault="stall")
    async with Caller([spec(server)], None, QUICK) as caller:
        first, second = (asyncio.create_task(caller.ask(call("same", meta=n))) for n in range(2))
        await until(lambda: server.chats)
        server.script.fault = ""
        first.cancel()
        answer = await second
        assert (answer.text, answer.call.meta) == ("answer to same", 1)
    assert first.cancelled() and len(server.chats) == 2


async def test_an_error_that_stops_the_run_reaches_everybody_who_waits_for_the_call(servers: Servers) -> None:
    server = servers(status=401)
    async with Caller([spec(server)], None, QUICK) as caller:
        ended = await asyncio.gather(*(caller.ask(call("same")) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in ended] == [BackendError] * 3 and len(server.chats) == 1


@pytest.mark.parametrize(
    ("script", "texts", "tier", "requests"),
    [
        ({}, [GOOD], "server", 1),
        ({"refuse_schema": True}, [GOOD], "plain", 1),
        ({}, [f"<think>Hm.</think>```json\n{GOOD}```"], "plain", 1),
        ({}, ["{'text': 'yes', 'sure': true,}"], "repaired", 1),
        ({}, ["I would rather not.", GOOD], "reasked", 2),
        ({}, ["I would rather not.", "No."], "failed", 2),
    ],
)
async def test_structured_answers(
    servers: Servers, ledger: Ledger, script: dict[str, Any], texts: list[str], tier: str, requests: int
) -> None:
    left = list(texts)
    server = servers(**script, text=lambda body: left.pop(0))
    for recorded in (False, True):
        async with Caller([spec(server)], ledger, QUICK) as caller:
            answer = await caller.ask(call("t", schema=Reply))
            assert caller.counters.snapshot().tiers == {tier: 1}
        assert (answer.tier, answer.recorded) == (tier, recorded)
        if tier == "failed":
            assert answer.value is None and answer.text == "" and "does not fit the schema, asked twice: " in answer.error
        else:
            assert answer.value == Reply(text="yes") and answer.error == ""
    assert answer.entry is not None and answer.entry.requests == requests
    held = [body for body in server.chats if "response_format" in body]
    assert held[0]["response_format"]["json_schema"]["schema"]["required"] == ["text", "sure"]
    if requests == 2:
        assert [message["content"] for message in server.chats[1]["messages"]][:3] == ["Answer.", "t", "I would rather not."]


async def test_an_answer_that_was_truncated_is_not_repaired(servers: Servers) -> None:
    server = servers(text='{"text": "' + "word " * 100)
    async with Caller([spec(server)], None, QUICK) as caller:
        answer = await caller.ask(call("t", schema=Reply))
        assert answer.tier == "failed" and "limit of tokens" in answer.error
        assert answer.truncated and caller.counters.snapshot().unusable == 1
        plain = await caller.ask(call("t"))
        assert plain.truncated and not plain.error


async def test_an_endpoint_without_schemas_is_asked_without_from_then_on(servers: Servers) -> None:
    server = servers(text=GOOD, refuse_schema=True)
    async with Caller([spec(server)], None, QUICK) as caller:
        for name in "abc":
            assert (await caller.ask(call(name, schema=Reply))).tier == "plain"
    assert ["response_format" in body for body in server.chats] == [True, False, False, False]


async def test_a_failed_call_is_asked_again_at_the_next_start(servers: Servers, ledger: Ledger) -> None:
    server = servers(status=400)
    (answer,) = await ask(server, call("t"), ledger=ledger)
    assert answer.reason == "bad_request" and answer.failure == ledger.failures()[0]
    server.script = Script(text="back again")
    (answer,) = await ask(server, call("t"), ledger=ledger)
    assert answer.text == "back again" and ledger.failures() == []


@pytest.mark.whole
async def test_a_wait_that_the_server_asks_for_is_kept(servers: Servers) -> None:
    server = servers(status=429, retry_after="0.3")
    async with Caller([spec(server)], None, QUICK) as caller:
        asking = asyncio.create_task(caller.ask(call("t")))
        await until(lambda: server.chats)
        server.script = Script(text=echo)
        assert (await asking).text == "answer to t"
    times = [request.at for request in server.requests if request.path.endswith("completions")]
    assert len(times) == 2 and times[1] - times[0] >= 0.3


@pytest.mark.parametrize("retry_after", ["", "0"])
async def test_a_server_that_only_refuses_ends_the_run_and_the_failure_is_recorded(
    servers: Servers, ledger: Ledger, retry_after: str
) -> None:
    server = servers(status=429, retry_after=retry_after)
    with pytest.raises(BackendError, match="no endpoint has answered for") as caught:
        await ask(server, call("t"), ledger=ledger, limits=limits(patience=0.1))
    assert caught.value.reason == "rate_limited" and len(ledger) == 0
    (failure,) = ledger.failures()
    assert (failure.name, failure.reason, failure.error) == ("t", "rate_limited", str(caught.value))
    server.script = Script(text=echo)
    (answer,) = await ask(server, call("t"), ledger=ledger)
    assert answer.text == "answer to t" and ledger.failures() == []


async def test_a_late_answer_is_given_up(servers: Servers) -> None:
    (answer,) = await ask(servers(fault="stall"), call("t"), limits=limits(timeout=0.02, retries=0))
    assert answer.reason == "timeout" and "0.02 s" in answer.error


async def test_the_tokens_of_a_run_that_stops_are_counted(servers: Servers, ledger: Ledger) -> None:
    """The last call has cost tokens, though it has no answer and is no failed call."""
    server = servers(fault="truncated")
    async with Caller([spec(server)], ledger, limits(patience=1e-9, retries=100)) as caller:
        with pytest.raises(BackendError, match="no endpoint has answered"):
            await caller.ask(call("t"))
        (failure,) = ledger.failures()
        assert caller.counters.spent == (failure.prompt_tokens, failure.completion_tokens) and failure.prompt_tokens > 0
        assert caller.counters.failed == 0


async def test_a_call_that_the_budget_does_not_allow_is_not_recorded(servers: Servers, ledger: Ledger) -> None:
    async with Caller([spec(servers())], ledger, limits(budget_tokens=10)) as caller:
        with pytest.raises(BudgetSpent, match="budget of 10 tokens"):
            await caller.ask(call("t"))
        assert caller.left.tokens == 10
    assert ledger.failures() == [] and len(ledger) == 0


async def test_a_second_request_that_the_budget_does_not_allow_is_a_failure(servers: Servers, ledger: Ledger) -> None:
    """The first request has used tokens; the failure keeps them."""
    server = servers(text="no JSON")
    async with Caller([spec(server)], ledger, limits(budget_tokens=100)) as caller:
        with pytest.raises(BudgetSpent):
            await caller.ask(call("t", schema=Reply))
        (failure,) = ledger.failures()
        assert (failure.reason, failure.prompt_tokens + failure.completion_tokens) == ("budget", sum(caller.counters.spent))
    assert len(server.chats) == 1 and failure.prompt_tokens > 0


async def test_what_earlier_starts_used_is_counted(servers: Servers, ledger: Ledger) -> None:
    server = servers(text=GOOD)
    priced = limits(prices=Prices(prompt=1, completion=2), budget_money=1)
    async with Caller([spec(server)], ledger, priced) as first:
        await first.ask(call("a", schema=Reply))
        await first.ask(call("b"))
        server.script.fault = "truncated"
        await first.ask(call("c"))
        spent = first.counters.spent
    async with Caller([spec(server)], ledger, priced) as second:
        assert second.counters.spent == second.budget.spent == spent
        assert second.counters.spent_since_start == (0, 0)
        assert second.counters.tiers == {"server": 1}, "free text and failures have no tier"
        assert second.left.money == pytest.approx(1 - second.budget.money)
    assert ledger.sums()[("plans", "unanswered")].calls == 1


async def test_two_callers_of_one_run_share_a_budget(servers: Servers, ledger: Ledger) -> None:
    one, other = servers(), servers(model="another")
    some_limits = limits(budget_tokens=600)
    async with (
        Caller([spec(one)], ledger, some_limits) as first,
        Caller([spec(other)], ledger, some_limits, first.budget) as second,
    ):
        asked = [caller.ask(question) for question in calls(40) for caller in (first, second)]
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(each, BudgetSpent) for each in ended)
    assert 0 < sum(sums.prompt_tokens + sums.completion_tokens for sums in ledger.sums().values()) <= 600


async def test_endpoints_of_two_models_are_refused(servers: Servers) -> None:
    with pytest.raises(InputError, match="must have one model.*'another'"):
        async with Caller([spec(servers()), spec(servers(model="another"))], None, QUICK):
            pass
    with pytest.raises(InputError, match="no endpoint is named"):
        Caller([], None, QUICK)


async def test_a_name_given_by_hand_is_that_of_the_ledger(servers: Servers, ledger: Ledger) -> None:
    """Then endpoints may call the model as they like."""
    endpoints = [spec(servers()), spec(servers(model="another"))]
    async with Caller(endpoints, ledger, limits(model="mine")) as caller:
        answers = await asyncio.gather(*(caller.ask(question) for question in calls(20)))
        assert caller.model == caller.counters.model == "mine"
    assert not any(answer.error for answer in answers)
    assert {entry.model for entry in ledger.entries()} == {"mine"}


async def test_the_model_is_learned_from_the_endpoint_that_answers(servers: Servers) -> None:
    server = servers(model="Qwen/Qwen3-8B")
    closed = closed_spec().partition("#")[0]
    async with Caller([closed, f"openai:{server.url}"], None, QUICK) as caller:
        assert caller.model == "Qwen/Qwen3-8B"
        assert (await caller.ask(call("t"))).text == "answer to t"


async def test_a_run_without_the_name_of_its_model_is_refused_with_the_cause(servers: Servers) -> None:
    closed = closed_spec().partition("#")[0]
    with pytest.raises(BackendError, match=r"no spec names the model.*connection refused.*write \.\.\.#MODEL") as caught:
        async with Caller([closed], None, QUICK):
            pass
    assert caught.value.reason == "unreachable"
    with pytest.raises(BackendError, match="web page"):
        async with Caller([f"openai:{servers(fault='html').url}"], None, QUICK):
            pass


async def test_an_endpoint_with_several_models_must_be_told_which(servers: Servers) -> None:
    with pytest.raises(BackendError, match="has 2 models") as caught:
        async with Caller([f"openai:{servers(models=['a', 'b']).url}", spec(servers())], None, QUICK):
            pass
    assert caught.value.reason == "bad_request"


async def test_scripted_lines_are_recorded_by_their_spec(ledger: Ledger) -> None:
    async with Caller(["scripted:?rate=0"], ledger, QUICK) as caller:
        assert caller.model == "scripted:"
        answer = await caller.ask(Call("t", "chat", (Message(role="user", content="Hello."),)))
    assert answer.text or answer.error


async def test_an_open_backend_is_used_and_left_open() -> None:
    class Closing(SilentBackend):
        closed = False

        async def close(self) -> None:
            self.closed = True

    backend = Closing()
    async with Caller([backend], None, QUICK) as caller:
        assert caller.model == "m"
    assert not backend.closed


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"fault": "html"}, "web page"),
        ({"fault": "not_json"}, "not JSON"),
        ({"fault": "wrong_shape"}, "another protocol"),
        ({"fault": "truncated"}, "broke the connection"),
        ({"status": 500}, "HTTP 500"),
        ({"status": 401}, "wants a key"),
        ({"fault": "redirect"}, "redirects"),
    ],
)
async def test_another_endpoint_takes_over(
    servers: Servers, script: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = servers(**script), servers()
    with caplog.at_level("WARNING", "her.inference.endpoints"):
        async with Caller([spec(bad), spec(good)], None, QUICK) as caller:
            answers = await asyncio.gather(*(caller.ask(question) for question in calls(40)))
    assert [answer.error for answer in answers] == [""] * 40
    assert 1 <= len(bad.chats) < 40 and len(good.chats) == 40
    assert message in caplog.text


async def test_an_endpoint_that_dies_is_left_and_one_that_comes_back_is_used(servers: Servers) -> None:
    good = servers()
    with ModelServer(Script(text=echo)) as dying:
        # On a busy machine the pause of the one that died is over before all calls went to the other.
        async with Caller([spec(dying), spec(good)], None, limits(retries=50)) as caller:

            async def some(first: int) -> None:
                answers = await asyncio.gather(*(caller.ask(call(f"t{n}")) for n in range(first, first + 20)))
                assert not any(answer.error for answer in answers)

            await some(0)
            assert dying.chats
            dying.__exit__()
            for first in (20, 40, 60):
                await some(first)
            assert caller.endpoints[0].is_out
            with ModelServer(Script(text=echo), dying.port) as back:
                first = 80
                while not back.chats:
                    await some(first)
                    first += 20


async def test_the_money_of_a_run_is_that_of_its_ledger(servers: Servers, ledger: Ledger) -> None:
    async with Caller([spec(servers())], ledger, limits(prices=Prices(prompt=1, completion=2))) as caller:
        await asyncio.gather(*(caller.ask(question) for question in calls(5)))
        shot = caller.counters.snapshot()
    (sums,) = ledger.sums().values()
    assert sums == Sums(5, shot.prompt_tokens, shot.completion_tokens)
    assert shot.money == pytest.approx((sums.prompt_tokens + 2 * sums.completion_tokens) / 1e6)
