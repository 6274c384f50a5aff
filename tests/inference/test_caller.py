"""Many calls against HTTP servers that speak the real protocol: recorded, resumed, repaired, refused, lost and paid for."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from her.errors import BackendError, InputError
from her.inference.batch import ask_all, ask_pilot, run_calls
from her.inference.caller import Answer, BudgetSpent, Call, Caller, CallLimits, Ledger, Prices
from her.types import Message, Sampling
from tests.servers import ModelServer, Script

QUICK = CallLimits(retries=2, timeout=5, cool_down=0.02, longest_cool_down=0.05, patience=1)
CHEAP = Sampling(max_tokens=50)


class Reply(BaseModel):
    text: str
    sure: bool = True


@pytest.fixture
def servers() -> Iterator[Any]:
    """Makes servers."""
    with ExitStack() as stack:
        yield lambda **script: stack.enter_context(ModelServer(Script(**{"text": echo, **script})))


def echo(body: dict[str, Any]) -> str:
    return f"answer to {body['messages'][-1]['content']}"


def call(name: str, **changes: Any) -> Call:
    messages = (Message(role="system", content="Answer."), Message(role="user", content=name))
    return Call(name, changes.pop("stage", "plans"), messages, CHEAP, **changes)


def spec(server: ModelServer) -> str:
    return f"openai:{server.url}#{server.script.model}"


def spec_of_nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"openai:http://127.0.0.1:{free.getsockname()[1]}/v1#test-her"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "calls.sqlite3") as opened:
        yield opened


async def asked(server: ModelServer, *calls: Call, ledger: Ledger | None = None, limits: CallLimits = QUICK) -> list[Answer]:
    async with Caller([spec(server)], ledger, limits) as caller:
        return [answer async for answer in ask_all(caller, calls, ordered=True)]


async def test_answers_come_in_order_with_their_calls(servers: Any, ledger: Ledger) -> None:
    calls = [call(f"t{number}", meta=number) for number in range(300)]
    answers = await asked(servers(), *calls, ledger=ledger)
    assert [answer.call for answer in answers] == calls
    assert [answer.text for answer in answers] == [f"answer to t{number}" for number in range(300)]
    assert not any(answer.error or answer.recorded or answer.cut for answer in answers)
    assert len(ledger) == 300


async def test_what_is_recorded_is_not_asked_again(servers: Any, ledger: Ledger) -> None:
    server = servers()
    await asked(server, *(call(f"t{number}") for number in range(0, 40, 2)), ledger=ledger)
    before = len(server.chats)
    answers = await asked(server, *(call(f"t{number}") for number in range(40)), ledger=ledger)
    assert [answer.text for answer in answers] == [f"answer to t{number}" for number in range(40)]
    assert [answer.recorded for answer in answers] == [True, False] * 20
    assert len(server.chats) == before + 20


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "other"},
        {"version": "2"},
        {"number": 1},
        {"schema": Reply},
        {"sampling": Sampling(max_tokens=51)},
        {"messages": (Message(role="user", content="Answer."), Message(role="user", content="t"))},
        {"messages": (Message(role="system", content="Answer.t"),)},
    ],
)
def test_everything_that_determines_the_answer_is_in_the_key(changes: dict[str, Any]) -> None:
    from dataclasses import replace

    from her.inference.call import digest

    one = call("t", meta="x")
    assert digest(one, "m") == digest(replace(one, id="u", meta=None), "m")
    assert digest(one, "m") != digest(one, "n")
    assert digest(one, "m") != digest(replace(one, **changes), "m")


async def test_the_same_call_is_asked_once(servers: Any, ledger: Ledger) -> None:
    server = servers(first_delay=0.05)
    answers = await asked(server, *(call("same", meta=number) for number in range(20)), ledger=ledger)
    assert len(server.chats) == 1
    assert [answer.call.meta for answer in answers] == list(range(20))
    assert {answer.text for answer in answers} == {"answer to same"}


async def test_who_waits_for_the_same_call_asks_it_when_the_first_has_left(servers: Any) -> None:
    server = servers(first_delay=0.2)
    async with Caller([spec(server)], None, QUICK) as caller:
        first, second = (asyncio.create_task(caller.ask(call("same", meta=number))) for number in range(2))
        while not server.chats:
            await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).text == "answer to same"
    assert first.cancelled() and len(server.chats) == 2


async def test_single_questions_of_many_tasks(servers: Any, ledger: Ledger) -> None:
    server = servers()
    for _ in range(2):
        async with Caller([spec(server)], ledger, QUICK) as caller:
            answers = await asyncio.gather(*(caller.ask(call(f"t{number}")) for number in range(30)))
        assert [answer.text for answer in answers] == [f"answer to t{number}" for number in range(30)]
    assert len(server.chats) == 30


async def test_only_so_many_calls_are_held(servers: Any) -> None:
    drawn = 0

    def endless() -> Iterator[Call]:
        nonlocal drawn
        while True:
            drawn += 1
            yield call(f"t{drawn}")

    limits = QUICK.model_copy(update={"ahead": 40, "max_in_flight": 8})
    async with Caller([spec(servers())], None, limits) as caller:
        seen = 0
        async for _ in ask_all(caller, endless(), ordered=True):
            seen += 1
            assert drawn <= seen + 40
            if seen == 200:
                break


async def test_calls_may_come_one_after_the_other(servers: Any) -> None:
    """A source that waits for an answer before it makes its next call."""
    got: asyncio.Queue[str] = asyncio.Queue()

    async def chain() -> AsyncIterator[Call]:
        text = "start"
        for _ in range(3):
            yield call(text)
            text = await got.get()

    async with Caller([spec(servers())], None, QUICK) as caller:
        async for answer in ask_all(caller, chain()):
            await got.put(answer.text)
            last = answer.text
    assert last == "answer to answer to answer to start"


async def test_a_source_that_breaks_is_heard(servers: Any) -> None:
    def broken() -> Iterator[Call]:
        yield call("t")
        raise ValueError("line 7 is no scene")

    async def broken_too() -> AsyncIterator[Call]:
        for one in broken():
            yield one

    async with Caller([spec(servers())], None, QUICK) as caller:
        for source in (broken(), broken_too()):
            with pytest.raises(ValueError, match="line 7"):
                _ = [answer async for answer in ask_all(caller, source)]


GOOD = json.dumps({"text": "yes", "sure": True})


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
    servers: Any, ledger: Ledger, script: dict[str, Any], texts: list[str], tier: str, requests: int
) -> None:
    left = list(texts)
    server = servers(**script, text=lambda body: left.pop(0))
    for recorded in (False, True):
        async with Caller([spec(server)], ledger, QUICK) as caller:
            answer = await caller.ask(call("t", schema=Reply))
            assert caller.tally.snapshot().tiers == {tier: 1}
        assert (answer.tier, answer.recorded) == (tier, recorded)
        if tier == "failed":
            assert answer.value is None and answer.text == "" and "does not fit the schema" in answer.error
        else:
            assert answer.value == Reply(text="yes") and answer.error == ""
    assert answer.entry is not None and answer.entry.requests == requests
    held = [body for body in server.chats if "response_format" in body]
    assert held[0]["response_format"]["json_schema"]["schema"]["required"] == ["text", "sure"]


async def test_an_endpoint_without_schemas_is_asked_without_from_then_on(servers: Any) -> None:
    server = servers(text=GOOD, refuse_schema=True)
    async with Caller([spec(server)], None, QUICK) as caller:
        for name in "abc":
            assert (await caller.ask(call(name, schema=Reply))).tier == "plain"
    assert ["response_format" in body for body in server.chats] == [True, False, False, False]


async def test_an_answer_that_was_cut_off_says_so(servers: Any) -> None:
    (answer,) = await asked(servers(text="word " * 100), call("t"))
    assert answer.cut and not answer.error


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"status": 400}, "bad_request"),
        ({"fault": "empty"}, "empty"),
        ({"fault": "endless"}, "endless"),
        ({"text": " \n", "reasoning": "All of it was thought."}, "empty"),
        ({"finish": "content_filter"}, "bad_request"),
    ],
)
async def test_a_failure_of_one_call_is_an_answer_without_content(
    servers: Any, ledger: Ledger, script: dict[str, Any], reason: str
) -> None:
    server = servers(**script)
    (answer,) = await asked(server, call("t"), ledger=ledger)
    assert answer.reason == reason and answer.error and answer.text == "" and answer.value is None
    assert [(one.name, one.reason, one.error) for one in ledger.failures()] == [("t", reason, answer.error)]
    server.script = Script(text="well again")
    (answer,) = await asked(server, call("t"), ledger=ledger)
    assert answer.text == "well again" and ledger.failures() == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"fault": "html"}, "web page"),
        ({"fault": "not_json"}, "not JSON"),
        ({"fault": "wrong_shape"}, "another protocol"),
        ({"fault": "truncated"}, "broke the connection"),
        ({"reply_model": "somebody-else"}, "another model"),
        ({"status": 500}, "HTTP 500"),
        ({"status": 401}, "wants a key"),
        ({"fault": "redirect"}, "redirects"),
    ],
)
async def test_another_endpoint_takes_over(
    servers: Any, script: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = servers(**script), servers()
    with caplog.at_level("WARNING", "her.inference.endpoints"):
        async with Caller([spec(bad), spec(good)], None, QUICK) as caller:
            answers = [answer async for answer in ask_all(caller, [call(f"t{n}") for n in range(50)], ordered=True)]
    wrong = [answer.error for answer in answers if answer.error]
    assert wrong == []
    assert 1 <= len(bad.chats) < 30 and len(good.chats) == 50
    assert said in caplog.text


@pytest.mark.parametrize(("script", "said"), [({"fault": "html"}, "web page"), ({"status": 503}, "HTTP 503")])
async def test_when_no_endpoint_answers_the_run_stops(servers: Any, ledger: Ledger, script: dict[str, Any], said: str) -> None:
    limits = QUICK.model_copy(update={"patience": 0.2, "retries": 100})
    with pytest.raises(BackendError, match=said):
        await asked(servers(**script), *(call(f"t{n}") for n in range(20)), ledger=ledger, limits=limits)
    assert len(ledger) == 0


async def test_an_endpoint_that_dies_is_left_and_one_that_comes_back_is_used(servers: Any) -> None:
    good = servers(first_delay=0.002)
    with ModelServer(Script(text=echo)) as dying:
        port = dying.port
        async with Caller([spec(dying), spec(good)], None, QUICK) as caller:
            answers = ask_all(caller, [call(f"t{n}") for n in range(2000)], ordered=True)
            for _ in range(100):
                assert not (await anext(answers)).error
            dying.__exit__()
            for _ in range(900):
                assert not (await anext(answers)).error
            with ModelServer(Script(text=echo), port) as back:
                async for answer in answers:
                    assert not answer.error
                assert back.chats


async def test_refusals_are_waited_out_and_not_counted_as_failures(servers: Any) -> None:
    server = servers(room=5, first_delay=0.01)
    limits = QUICK.model_copy(update={"retries": 0, "start": 16})
    async with Caller([spec(server)], None, limits) as caller:
        answers = [answer async for answer in ask_all(caller, [call(f"t{n}") for n in range(100)])]
        assert not any(answer.error for answer in answers) and len(answers) == 100
        assert caller.endpoints[0].window <= 6
        assert caller.tally.snapshot().retries.keys() == {"rate_limited"}


async def test_retry_after_is_honoured(servers: Any) -> None:
    server = servers(status=429, retry_after="1")
    async with Caller([spec(server)], None, QUICK) as caller:
        asking = asyncio.create_task(caller.ask(call("t")))
        while not server.chats:
            await asyncio.sleep(0.01)
        server.script = Script(text=echo)
        assert (await asking).text == "answer to t"
    times = [request.at for request in server.requests if request.path.endswith("completions")]
    assert len(times) == 2 and times[1] - times[0] >= 1


@pytest.mark.parametrize("retry_after", ["", "0"])
async def test_a_server_that_only_refuses_ends_the_run_and_the_failure_is_recorded(
    servers: Any, ledger: Ledger, retry_after: str
) -> None:
    server = servers(status=429, retry_after=retry_after)
    limits = QUICK.model_copy(update={"patience": 0.2})
    with pytest.raises(BackendError, match="no endpoint has answered for") as caught:
        await asked(server, call("t"), ledger=ledger, limits=limits)
    assert caught.value.reason == "rate_limited" and len(ledger) == 0
    assert [(one.name, one.reason, one.error) for one in ledger.failures()] == [("t", "rate_limited", str(caught.value))]
    assert len(server.chats) < 100
    server.script = Script(text=echo)
    (answer,) = await asked(server, call("t"), ledger=ledger)
    assert answer.text == "answer to t" and ledger.failures() == []


async def test_a_slow_answer_is_given_up(servers: Any) -> None:
    limits = QUICK.model_copy(update={"timeout": 0.1, "retries": 1, "patience": 60})
    (answer,) = await asked(servers(fault="stall"), call("t"), limits=limits)
    assert answer.reason == "timeout" and "0.1 s" in answer.error


@pytest.mark.parametrize("in_money", [False, True])
async def test_the_budget_is_never_passed_and_the_run_goes_on_with_more(servers: Any, ledger: Ledger, in_money: bool) -> None:
    server = servers()
    budget = {"budget_money": 0.002} if in_money else {"budget_tokens": 2_000}
    limits = QUICK.model_copy(update={**budget, "prices": Prices(prompt=1, completion=1)})
    calls = [call(f"t{n}") for n in range(200)]
    given: list[Answer] = []
    async with Caller([spec(server)], ledger, limits) as caller:
        with pytest.raises(BudgetSpent, match="raise it and start the run again"):
            async for answer in ask_all(caller, calls):
                given.append(answer)
        spent = caller.tally.snapshot()
    assert 0 < len(given) == len(ledger) == len(server.chats) < 200
    assert 1_800 <= spent.prompt_tokens + spent.completion_tokens <= 2_000
    assert spent.money == pytest.approx((spent.prompt_tokens + spent.completion_tokens) / 1e6)
    async with Caller([spec(server)], ledger, limits) as caller:  # what was spent is remembered
        with pytest.raises(BudgetSpent):
            await caller.ask(calls[-1])
    answers = await asked(server, *calls, ledger=ledger)
    assert len(answers) == 200 and len(server.chats) == 200


async def test_two_callers_of_one_run_share_a_purse(servers: Any, ledger: Ledger) -> None:
    one, other = servers(), servers(model="another")
    limits = QUICK.model_copy(update={"budget_tokens": 1_000})
    async with Caller([spec(one)], ledger, limits) as first, Caller([spec(other)], ledger, limits, first.purse) as second:
        ended = await asyncio.gather(
            *(caller.ask(call(f"t{n}")) for n in range(60) for caller in (first, second)), return_exceptions=True
        )
    assert any(isinstance(one, BudgetSpent) for one in ended)
    assert 0 < sum(sums.prompt_tokens + sums.completion_tokens for sums in ledger.sums().values()) <= 1_000


async def test_forecast_from_a_pilot(servers: Any, ledger: Ledger) -> None:
    limits = QUICK.model_copy(update={"prices": Prices(prompt=1, completion=2)})
    async with Caller([spec(servers())], ledger, limits) as caller:
        seen = await ask_pilot(caller, [call(f"t{n}") for n in range(10)], 1_000)
    sums = ledger.sums()[("plans", "")]
    assert (seen.pilot, seen.failed, seen.calls) == (10, 0, 1_000)
    assert (seen.prompt_tokens, seen.completion_tokens) == (sums.prompt_tokens * 100, sums.completion_tokens * 100)
    assert seen.low <= seen.money <= seen.high and seen.seconds > 0


async def test_two_models_are_no_run(servers: Any) -> None:
    with pytest.raises(InputError, match="one model"):
        async with Caller([spec(servers()), spec(servers(model="another"))], None, QUICK):
            pass


async def test_the_model_is_learned_from_who_answers(servers: Any) -> None:
    server = servers(model="Qwen/Qwen3-8B")
    nobody = spec_of_nobody().partition("#")[0]
    async with Caller([nobody, f"openai:{server.url}"], None, QUICK) as caller:
        assert caller.model == "Qwen/Qwen3-8B"
        assert (await caller.ask(call("t"))).text == "answer to t"
    with pytest.raises(BackendError, match="names the model"):
        async with Caller([nobody], None, QUICK):
            pass


async def test_a_finished_run_needs_no_endpoint(servers: Any, ledger: Ledger) -> None:
    calls = [call(f"t{n}") for n in range(10)]
    await asked(servers(), *calls, ledger=ledger)
    answers = [answer async for answer in run_calls(calls, [spec_of_nobody()], ledger, QUICK)]
    assert all(answer.recorded for answer in answers)


async def test_other_backends_are_asked_as_well(ledger: Ledger) -> None:
    async with Caller(["scripted:?rate=0"], ledger, QUICK) as caller:
        answer = await caller.ask(Call("t", "chat", (Message(role="user", content="Hello."),)))
    assert answer.text or answer.error


async def test_leaving_early_loses_nothing_that_was_given_out(servers: Any, ledger: Ledger) -> None:
    server = servers(first_delay=0.005)
    async with Caller([spec(server)], ledger, QUICK) as caller:
        answers = ask_all(caller, [call(f"t{n}") for n in range(300)])
        given = [await anext(answers) for _ in range(50)]
        await answers.aclose()  # type: ignore[attr-defined]
    assert all(caller.key(answer.call) in ledger for answer in given)


@pytest.mark.whole
def test_killed_and_started_again(servers: Any, tmp_path: Path) -> None:
    """Only what was in flight is asked again, and the output is that of an undisturbed run."""
    server = servers(first_delay=0.02)
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.inference.test_caller import *\n"
        "async def main():\n"
        "    with Ledger(Path(sys.argv[1]) / 'calls.sqlite3') as ledger, open(Path(sys.argv[1]) / 'out', 'w') as out:\n"
        "        limits = CallLimits(max_in_flight=8, start=8)\n"
        "        async for answer in run_calls([call(f't{n}') for n in range(200)], [sys.argv[2]], ledger, limits):\n"
        "            print(answer.call.id, answer.text, file=out)\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", program, str(tmp_path), spec(server)]
    with subprocess.Popen(command) as first:
        while len(server.chats) < 90 and first.poll() is None:
            os.sched_yield()
        first.send_signal(signal.SIGKILL)
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        recorded = len(ledger)
    before = len(server.chats)
    assert 0 < recorded < 200
    subprocess.run(command, check=True)
    assert len(server.chats) - before == 200 - recorded
    assert (tmp_path / "out").read_text() == "".join(f"t{n} answer to t{n}\n" for n in range(200))
