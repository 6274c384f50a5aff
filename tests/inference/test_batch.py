"""One pass over many calls: in order, in bounded memory, resumed, and stopped by the budget or for want of endpoints."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from her.errors import BackendError
from her.inference.batch import _GROUP, ask_all, ask_pilot, run_calls
from her.inference.budget import BudgetSpent
from her.inference.caller import Answer, Call, Caller, Ledger, Prices
from tests.inference.calls import QUICK, ask, call, calls, closed_spec, limits, spec, until
from tests.servers import ModelServer

Servers = Callable[..., ModelServer]


async def test_answers_come_in_order_with_their_calls(servers: Servers, ledger: Ledger) -> None:
    questions = calls(_GROUP + 20)
    answers = await ask(servers(), *questions, ledger=ledger)
    assert [answer.call for answer in answers] == questions
    assert [answer.text for answer in answers] == [f"answer to {question.id}" for question in questions]
    assert not any(answer.error or answer.recorded or answer.truncated for answer in answers)
    assert len(ledger) == len(questions)


async def test_unordered_answers_come_as_they_are_there(servers: Servers) -> None:
    slow = asyncio.Event()
    async with Caller([spec(servers())], None, QUICK) as caller:
        original = caller.ask_endpoint

        async def first_is_slow(question: Call, key: bytes) -> Answer:
            if question.id == "t0":
                await slow.wait()
            return await original(question, key)

        caller.ask_endpoint = first_is_slow  # type: ignore[method-assign]
        names = []
        async for answer in ask_all(caller, calls(5)):
            names.append(answer.call.id)
            if len(names) == 4:
                slow.set()
    assert names[-1] == "t0" and sorted(names) == ["t0", "t1", "t2", "t3", "t4"]


async def test_recorded_calls_are_not_asked_again(servers: Servers, ledger: Ledger) -> None:
    server = servers()
    await ask(server, *calls(40)[::2], ledger=ledger)
    assert len(server.chats) == 20
    answers = await ask(server, *calls(40), ledger=ledger)
    assert [answer.text for answer in answers] == [f"answer to t{n}" for n in range(40)]
    assert [answer.recorded for answer in answers] == [True, False] * 20
    assert len(server.chats) == 40


async def test_recorded_answers_are_read_in_groups(ledger: Ledger, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers()
    await ask(server, *calls(_GROUP + 20), ledger=ledger)
    read, sizes = ledger.read, []

    def counted(keys: Any) -> Any:
        sizes.append(len(keys))
        return read(keys)

    monkeypatch.setattr(ledger, "read", counted)
    answers = await ask(server, *calls(_GROUP + 20), ledger=ledger)
    assert sizes == [], "nothing is read before it is used"
    assert [answer.text for answer in answers[:2]] == ["answer to t0", "answer to t1"]
    assert sizes == [_GROUP]


async def test_equal_calls_are_asked_once(servers: Servers, ledger: Ledger) -> None:
    server = servers(first_delay=0.05)
    answers = await ask(server, *(call("same", meta=number) for number in range(20)), ledger=ledger)
    assert len(server.chats) == 1
    assert [answer.call.meta for answer in answers] == list(range(20))
    assert {answer.text for answer in answers} == {"answer to same"}


@pytest.mark.parametrize("ordered", [True, False])
async def test_only_so_many_calls_are_held(servers: Servers, ordered: bool) -> None:
    drawn = seen = 0

    def endless() -> Iterator[Call]:
        nonlocal drawn
        while True:
            drawn += 1
            yield call(f"t{drawn}")

    async with Caller([spec(servers())], None, limits(ahead=40, max_in_flight=8)) as caller:
        async for _ in ask_all(caller, endless(), ordered=ordered):
            seen += 1
            assert drawn <= seen + 40
            if seen == 100:
                break
    assert drawn >= 100


async def test_as_many_calls_are_held_as_the_endpoints_take(servers: Servers) -> None:
    """`ahead` smaller than what may be in flight would leave endpoints idle."""
    server = servers(fault="stall")
    drawn = 0

    def endless() -> Iterator[Call]:
        nonlocal drawn
        while True:
            drawn += 1
            yield call(f"t{drawn}")

    async with Caller([spec(server)], None, limits(ahead=1, start=8, max_in_flight=8)) as caller:
        answers = ask_all(caller, endless())
        asking = asyncio.ensure_future(anext(answers))
        await until(lambda: len(server.chats) == 8)
        assert drawn == 16
        asking.cancel()


async def test_calls_may_depend_on_answers(servers: Servers) -> None:
    """The source waits for an answer before it makes its next call."""
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def chain() -> AsyncIterator[Call]:
        text = "start"
        for _ in range(3):
            yield call(text)
            text = await texts.get()

    async with Caller([spec(servers())], None, QUICK) as caller:
        async for answer in ask_all(caller, chain()):
            await texts.put(answer.text)
            last = answer.text
    assert last == "answer to answer to answer to start"


async def test_a_long_asynchronous_source_is_drawn_to_its_end(servers: Servers) -> None:
    async def source() -> AsyncIterator[Call]:
        for question in calls(2 * _GROUP):
            yield question

    async with Caller([spec(servers())], None, limits(ahead=10, max_in_flight=4)) as caller:
        names = [answer.call.id async for answer in ask_all(caller, source(), ordered=True)]
    assert names == [f"t{n}" for n in range(2 * _GROUP)]


async def test_an_error_of_the_source_is_raised(servers: Servers) -> None:
    def broken() -> Iterator[Call]:
        yield call("t")
        raise ValueError("line 7 is no scene")

    async def broken_async() -> AsyncIterator[Call]:
        for question in broken():
            yield question

    async with Caller([spec(servers())], None, QUICK) as caller:
        for source in (broken(), broken_async()):
            with pytest.raises(ValueError, match="line 7"):
                _ = [answer async for answer in ask_all(caller, source)]


@pytest.mark.parametrize(("script", "message"), [({"fault": "html"}, "web page"), ({"status": 503}, "HTTP 503")])
async def test_when_no_endpoint_answers_the_run_stops(
    servers: Servers, ledger: Ledger, script: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        await ask(servers(**script), *calls(20), ledger=ledger, limits=limits(patience=0.05, retries=10_000))
    assert len(ledger) == 0


async def test_refusals_are_waited_out_and_the_window_is_what_the_server_takes(servers: Servers) -> None:
    server = servers(room=5, first_delay=0.005)
    async with Caller([spec(server)], None, limits(retries=0, start=16)) as caller:
        answers = [answer async for answer in ask_all(caller, calls(60))]
        assert not any(answer.error for answer in answers) and len(answers) == 60
        assert caller.endpoints[0].window <= 6
        assert caller.counters.snapshot().retries.keys() == {"rate_limited"}


@pytest.mark.parametrize("in_money", [False, True])
async def test_the_budget_is_never_passed_and_a_larger_one_resumes(servers: Servers, ledger: Ledger, in_money: bool) -> None:
    server = servers()
    budget = {"budget_money": 0.0006} if in_money else {"budget_tokens": 600}
    some_limits = limits(**budget, prices=Prices(prompt=1, completion=1))
    yielded: list[Answer] = []
    async with Caller([spec(server)], ledger, some_limits) as caller:
        with pytest.raises(BudgetSpent, match="raise it and start the run again"):
            async for answer in ask_all(caller, calls(80)):
                yielded.append(answer)
        spent = sum(caller.counters.spent)
    assert 0 < len(yielded) == len(ledger) == len(server.chats) < 80
    assert 520 <= spent <= 600, "what is left is less than one call could use"
    async with Caller([spec(server)], ledger, some_limits) as caller:  # what was spent is remembered
        with pytest.raises(BudgetSpent):
            await caller.ask(call("t79"))
    assert len(await ask(server, *calls(80), ledger=ledger)) == 80 and len(server.chats) == 80


async def test_ordered_answers_end_at_the_first_gap(servers: Servers, ledger: Ledger) -> None:
    """Later ones are recorded, and there at the next start."""
    async with Caller([spec(servers())], ledger, QUICK) as caller:
        original = caller.ask_endpoint

        async def third_fails(question: Call, key: bytes) -> Answer:
            if question.id == "t2":
                await until(lambda: len(ledger) == 4)
                raise BudgetSpent("spent")
            return await original(question, key)

        caller.ask_endpoint = third_fails  # type: ignore[method-assign]
        names = []
        with pytest.raises(BudgetSpent):
            async for answer in ask_all(caller, calls(5), ordered=True):
                names.append(answer.call.id)
    assert names == ["t0", "t1"] and len(ledger) == 4


async def test_forecast_from_a_pilot(servers: Servers, ledger: Ledger) -> None:
    server = servers()
    async with Caller([spec(server)], ledger, limits(prices=Prices(prompt=1, completion=2))) as caller:
        forecast = await ask_pilot(caller, calls(10), 1_000)
        again = await ask_pilot(caller, calls(10), 1_000)
        server.script.status = 400
        mixed = await ask_pilot(caller, calls(12), 1_000)
    sums = ledger.sums()[("plans", "")]
    assert (forecast.pilot, forecast.failed, forecast.calls) == (10, 0, 1_000)
    assert (forecast.prompt_tokens, forecast.completion_tokens) == (sums.prompt_tokens * 100, sums.completion_tokens * 100)
    assert forecast.low <= forecast.money <= forecast.high and forecast.seconds > 0
    assert again == forecast.model_copy(update={"seconds": 0.0}), "answers of the ledger say nothing about the time"
    assert (mixed.pilot, mixed.failed) == (12, 2) and mixed.seconds > 0


async def test_a_finished_run_needs_no_endpoint(servers: Servers, ledger: Ledger) -> None:
    await ask(servers(), *calls(10), ledger=ledger)
    answers = [answer async for answer in run_calls(calls(10), [closed_spec()], ledger, QUICK)]
    assert all(answer.recorded for answer in answers)
    assert [answer.call.id for answer in answers] == [f"t{n}" for n in range(10)]


async def test_leaving_early_loses_nothing_that_was_yielded(servers: Servers, ledger: Ledger) -> None:
    server = servers(first_delay=0.002)
    async with Caller([spec(server)], ledger, QUICK) as caller:
        answers = ask_all(caller, calls(150))
        yielded = [await anext(answers) for _ in range(30)]
        await answers.aclose()  # type: ignore[attr-defined]
        assert sum(endpoint.in_flight for endpoint in caller.endpoints) == 0
    assert all(caller.key(answer.call) in ledger for answer in yielded)


@pytest.mark.whole
def test_killed_and_started_again(servers: Servers, tmp_path: Path) -> None:
    """Only what was in flight is asked again, and the output is that of an undisturbed run."""
    server = servers(first_delay=0.02)
    program = (
        "import asyncio, sys; from pathlib import Path; from her.inference.caller import *; from her.inference.batch import *\n"
        "from tests.inference.calls import calls\n"
        "async def main():\n"
        "    with Ledger(Path(sys.argv[1]) / 'calls.sqlite3') as ledger, open(Path(sys.argv[1]) / 'out', 'w') as out:\n"
        "        limits = CallLimits(max_in_flight=8, start=8)\n"
        "        async for answer in run_calls(calls(200), [sys.argv[2]], ledger, limits):\n"
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
