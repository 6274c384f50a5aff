"""The same calls on two workers of a real local Ray: the same output, one ledger, one budget."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from her.errors import InputError
from her.inference.batch import run_calls
from her.inference.caller import Answer, BudgetSpent, Call, CallLimits, Ledger
from tests.inference.test_caller import Reply, call, echo, spec
from tests.servers import ModelServer, Script

pytestmark = pytest.mark.whole

LIMITS = CallLimits(workers=2, max_in_flight=16, start=16, timeout=20, patience=20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of this machine, begun by the first run and ended with the last test."""
    yield
    ray.shutdown()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(Script(text=echo)) as running:
        yield running


async def answers(calls: list[Call], server: ModelServer, ledger: Ledger | None, executor: str) -> list[Answer]:
    found = run_calls(calls, [spec(server)], ledger, LIMITS, executor=executor)  # type: ignore[arg-type]
    return [answer async for answer in found]


async def test_ray_gives_what_asyncio_gives(cluster: None, server: ModelServer, tmp_path: Path) -> None:
    calls = [call(f"t{number % 290}", meta=number) for number in range(300)] + [call("s", schema=Reply)]
    with Ledger(tmp_path / "here.sqlite3") as ledger:
        here = await answers(calls, server, ledger, "asyncio")
    server.requests.clear()
    with Ledger(tmp_path / "there.sqlite3") as ledger:
        await answers(calls[:40], server, ledger, "asyncio")
        there = await answers(calls, server, ledger, "ray")
        again = await answers(calls, server, ledger, "ray")
    for found in (there, again):
        assert [(one.call, one.text, one.error, one.tier) for one in found] == [
            (one.call, one.text, one.error, one.tier) for one in here
        ]
    assert [one.recorded for one in there] == [True] * 40 + [False] * 250 + [True] * 10 + [False]
    assert all(one.recorded for one in again)
    assert len({body["messages"][-1]["content"] for body in server.chats if len(body["messages"]) == 2}) == 291


async def test_the_budget_holds_over_all_workers(cluster: None, server: ModelServer, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"budget_tokens": 3_000})
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        with pytest.raises(BudgetSpent):
            async for _ in run_calls([call(f"t{n}") for n in range(300)], [spec(server)], ledger, limits, executor="ray"):
                pass
        sums = ledger.sums()[("plans", "")]
    assert 0 < sums.prompt_tokens + sums.completion_tokens <= 3_000


async def test_engines_in_a_process_cannot_be_shared() -> None:
    with pytest.raises(InputError, match="no server"):
        async for _ in run_calls([call("t")], ["vllm:folder"], None, LIMITS, executor="ray"):
            pass
