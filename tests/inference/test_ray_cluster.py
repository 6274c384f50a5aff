"""The same calls on two workers of a real Ray cluster on this machine: the same answers, one ledger, one budget."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from her.inference.batch import run_calls
from her.inference.caller import Answer, BudgetSpent, Call, CallLimits, Ledger
from tests.inference.calls import Reply, call, echo, spec
from tests.servers import ModelServer, Script

pytestmark = pytest.mark.whole

LIMITS = CallLimits(workers=2, max_in_flight=16, start=16, timeout=20, patience=20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this machine, started by the first run and ended with the last test."""
    yield
    ray.shutdown()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(Script(text=echo)) as running:
        yield running


async def answers(calls: list[Call], server: ModelServer, ledger: Ledger | None, executor: str) -> list[Answer]:
    running = run_calls(calls, [spec(server)], ledger, LIMITS, executor=executor)  # type: ignore[arg-type]
    return [answer async for answer in running]


async def test_ray_gives_what_asyncio_gives(cluster: None, server: ModelServer, tmp_path: Path) -> None:
    calls = [call(f"t{number % 290}", meta=number) for number in range(300)] + [call("s", schema=Reply)]
    with Ledger(tmp_path / "here.sqlite3") as ledger:
        here = await answers(calls, server, ledger, "asyncio")
    server.requests.clear()
    with Ledger(tmp_path / "there.sqlite3") as ledger:
        await answers(calls[:40], server, ledger, "asyncio")
        there = await answers(calls, server, ledger, "ray")
        again = await answers(calls, server, ledger, "ray")
    for some in (there, again):
        assert [(answer.call, answer.text, answer.error, answer.tier) for answer in some] == [
            (answer.call, answer.text, answer.error, answer.tier) for answer in here
        ]
    assert [answer.recorded for answer in there] == [True] * 40 + [False] * 250 + [True] * 10 + [False]
    assert all(answer.recorded for answer in again)
    assert len({body["messages"][-1]["content"] for body in server.chats if len(body["messages"]) == 2}) == 291


async def test_the_budget_holds_over_all_workers(cluster: None, server: ModelServer, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"budget_tokens": 3_000})
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        with pytest.raises(BudgetSpent):
            async for _ in run_calls([call(f"t{n}") for n in range(300)], [spec(server)], ledger, limits, executor="ray"):
                pass
        sums = ledger.sums()[("plans", "")]
    assert 0 < sums.prompt_tokens + sums.completion_tokens <= 3_000
