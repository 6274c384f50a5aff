"""Driver and workers of a Ray cluster, with a stand-in for the package ray that runs them in this process.

tests/inference/test_ray_cluster.py runs the same on a real cluster.
"""

import asyncio
import pickle
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from her.errors import BackendError, InputError
from her.inference import ray as ray_module
from her.inference.batch import run_calls
from her.inference.caller import Answer, BudgetSpent, Call, CallLimits, Ledger
from tests.inference.calls import Reply, call, calls, limits, spec
from tests.servers import ModelServer

Servers = Callable[..., ModelServer]


class RayError(Exception):
    """As ray.exceptions.RayError."""


class FakeRay:
    """The part of ray that is used; notes what it was told. Blocks are answered in the reverse order."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.options: dict[str, Any] = {}
        self.workers: list[Any] = []
        self.fail_after: int | None = None
        self.lose = 0
        self.context = SimpleNamespace(enable_progress_bars=True)
        self.cloudpickle = pickle
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.data = SimpleNamespace(
            DataContext=SimpleNamespace(get_current=lambda: self.context),
            ActorPoolStrategy=lambda **named: SimpleNamespace(**named),
            from_items=self.from_items,
        )

    def is_initialized(self) -> bool:
        return bool(self.started)

    def init(self, **named: Any) -> None:
        self.started.append(named)

    def from_items(self, rows: list[dict[str, Any]], override_num_blocks: int) -> "FakeRay":
        assert override_num_blocks == len(rows)
        self.rows = rows
        self.sizes.append(len(rows))
        return self

    def map_batches(self, worker: Any, fn_constructor_args: Any, compute: Any, **options: Any) -> "FakeRay":
        self.options = {**options, **vars(compute)}
        self.now = [worker(*fn_constructor_args) for _ in range(compute.size)]
        self.workers += self.now
        return self

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(reversed(self.rows)):
            if number == self.fail_after:
                raise RayError("a long story\nthe node died")
            if number >= len(self.rows) - self.lose:
                return
            answered = self.now[number % len(self.now)]({"block": [row["block"]]})
            yield {name: values[0] for name, values in answered.items()}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    made = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", made)  # type: ignore[arg-type]
    monkeypatch.setattr(ray_module, "BLOCK", 4)
    yield made
    for worker in made.workers:
        if worker._caller is not None:
            asyncio.run_coroutine_threadsafe(worker._caller.__aexit__(), worker._loop).result(60)
        worker._loop.call_soon_threadsafe(worker._loop.stop)


async def on_ray(questions: list[Call], server: ModelServer, ledger: Ledger | None, some_limits: CallLimits) -> list[Answer]:
    return [answer async for answer in run_calls(questions, [spec(server)], ledger, some_limits, executor="ray")]


LIMITS = limits(workers=2, max_in_flight=10, start=6)


async def test_answers_come_in_order_and_are_recorded(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    server = servers()
    questions = [call(f"t{n % 8}", meta=n) for n in range(12)]
    answers = await on_ray(questions, server, ledger, LIMITS)
    assert [(answer.call, answer.text) for answer in answers] == [(each, f"answer to {each.id}") for each in questions]
    assert len(server.chats) == len(ledger) == 8 and fake.sizes == [2]
    assert fake.options == {
        "batch_size": 1,
        "num_cpus": 0.5,
        "size": 2,
        "max_tasks_in_flight_per_actor": 8,
        "max_concurrent_calls_per_actor": 4,
    }
    again = await on_ray(questions, server, ledger, LIMITS)
    assert all(answer.recorded for answer in again) and len(server.chats) == 8 and len(fake.workers) == 2


async def test_recorded_answers_stand_between_the_new_ones(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    server = servers()
    await on_ray(calls(12)[::2], server, ledger, LIMITS)
    answers = await on_ray(calls(12), server, ledger, LIMITS)
    assert [answer.recorded for answer in answers] == [True, False] * 6
    assert [answer.call.meta for answer in answers] == list(range(12)) and len(server.chats) == 12


async def test_a_wave_is_one_execution(fake: FakeRay, servers: Servers, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_module, "WAVE", 5)
    answers = await on_ray(calls(12), servers(), ledger, LIMITS)
    assert fake.sizes == [2, 2, 1] and len(answers) == 12
    assert len(fake.workers) == 2 + 2 + 1, "no more workers than blocks"


async def test_a_failed_call_and_a_structured_one_travel_whole(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    server = servers(text=lambda body: '{"text": "yes"}')
    (good,) = await on_ray([call("t", schema=Reply)], server, ledger, LIMITS)
    assert good.value == Reply(text="yes")
    server.script.status = 400
    (bad,) = await on_ray([call("u")], server, ledger, LIMITS)
    assert bad.reason == "bad_request" and ledger.failures() == [bad.failure]


async def test_each_worker_has_its_share_of_the_limits(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    some_limits = LIMITS.model_copy(update={"budget_tokens": 1_001, "budget_money": 4.0})
    await on_ray(calls(8), servers(), ledger, some_limits)
    for worker in fake.workers:
        share = worker._limits
        assert (share.max_in_flight, share.start, share.model) == (5, 3, "test-her")
        assert (share.budget_tokens, share.budget_money) == (500, 2.0)


async def test_a_worker_has_at_least_one_place_and_no_limit_where_the_run_has_none(fake: FakeRay, servers: Servers) -> None:
    await on_ray(calls(8), servers(), None, LIMITS.model_copy(update={"max_in_flight": 1, "start": 1}))
    assert [(worker._limits.max_in_flight, worker._limits.start) for worker in fake.workers] == [(1, 1)] * 2
    assert [(worker._limits.budget_tokens, worker._limits.budget_money) for worker in fake.workers] == [(None, None)] * 2


async def test_the_budget_holds_over_all_workers(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    with pytest.raises(BudgetSpent):
        await on_ray(calls(40), servers(), ledger, LIMITS.model_copy(update={"budget_tokens": 600}))
    sums = ledger.sums()[("plans", "")]
    assert 0 < sums.prompt_tokens + sums.completion_tokens <= 600


async def test_a_cluster_that_fails_is_one_sentence(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    fake.fail_after = 1
    with pytest.raises(BackendError, match="^Ray gave up: the node died$"):
        await on_ray(calls(12), servers(), ledger, LIMITS)
    assert len(ledger) == 4, "the block that came is kept"


async def test_lost_calls_are_an_error(fake: FakeRay, servers: Servers, ledger: Ledger) -> None:
    fake.lose = 1
    with pytest.raises(BackendError, match="Ray lost some of the calls"):
        await on_ray(calls(12), servers(), ledger, LIMITS)
    assert len(ledger) == 8


async def test_ray_is_started_once_and_quietly(fake: FakeRay, servers: Servers) -> None:
    for _ in range(2):
        await on_ray(calls(1), servers(), None, LIMITS)
    (options,) = fake.started
    assert options["include_dashboard"] is False and options["log_to_driver"] is False
    assert list(options["runtime_env"]["env_vars"]) == ["PYTHONPATH"]
    assert fake.context.enable_progress_bars is False


async def test_engines_in_a_process_cannot_be_shared(fake: FakeRay) -> None:
    with pytest.raises(InputError, match="'vllm:folder' is no server"):
        async for _ in run_calls(calls(1), ["vllm:folder"], None, LIMITS, executor="ray"):
            pass
    assert not fake.started


async def test_without_ray_the_extra_is_named(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[ray\]'"):
        await on_ray(calls(1), servers(), None, LIMITS)
