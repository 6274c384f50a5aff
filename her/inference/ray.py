"""Ask calls on the workers of a Ray cluster (`executor=ray`, extra `ray`).

Ray Data spreads the calls; each worker asks as one process does. The ledger stays with the driver: it sends only what is
not recorded, in waves of bounded size, and records and yields the answers in order. Each worker gets its share of the
calls in flight and of the budget, so that the limits hold for all of them together.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from her import paths
from her.backends.open import is_shared
from her.errors import BackendError, HerError, InputError
from her.inference.budget import BudgetSpent
from her.inference.call import Answer, Call, CallLimits
from her.inference.caller import Caller
from her.store.ledger import Entry, Failure

log = logging.getLogger(__name__)
WAVE = 20_000
"""Calls of one execution of Ray Data; each execution starts its workers again, which takes seconds."""
BLOCK = 64
"""Calls that are sent to a worker together."""
_CPUS = 0.5
"""CPU cores that Ray reserves for a worker, which mostly waits."""
BLOCKS_PER_WORKER = 4
"""Blocks that a worker asks at once, so that it is not idle while the slowest call of one block is in flight."""


@dataclass(frozen=True, slots=True)
class _WorkerAnswer:
    """Outcome of one call at a worker: exactly one of the last three fields is set.

    Args:
        key: of the call.
        entry: the answer.
        failure: why there is none.
        stopped: the worker did not ask the call, because its run has ended with this error.
    """

    key: bytes
    entry: Entry | None = None
    failure: Failure | None = None
    stopped: HerError | None = None


async def run_on_ray(caller: Caller, calls: Iterable[Call], specs: Sequence[str]) -> AsyncIterator[Answer]:
    """Yield the answers to all calls in order; see `her.inference.batch.run_calls`.

    Raises:
        BudgetSpent, BackendError: as `her.inference.batch.ask_all`, after the answers before the first that is missing.
        InputError: Ray is not installed, or an endpoint runs inside one process and cannot be shared by workers.
    """
    if local := [spec for spec in specs if not is_shared(spec)]:
        raise InputError(f"endpoint {local[0]!r} is no server; with executor=ray name servers that every worker can reach")
    _start_ray()
    source = iter(calls)
    while wave := list(islice(source, WAVE)):
        async for answer in _wave(caller, wave, specs):
            yield answer


async def _wave(caller: Caller, wave: list[Call], specs: Sequence[str]) -> AsyncIterator[Answer]:
    """Yield the recorded answers, and between them those of the workers."""
    keys = [caller.key(call) for call in wave]
    # Without `meta`, which may be large and need not be picklable.
    missing = {key: replace(call, meta=None) for key, call in zip(keys, wave, strict=True) if not caller.has(key)}
    blocks = _spread(list(missing.items()), caller, specs) if missing else iter(())
    fresh: dict[bytes, Answer] = {}
    stopped: HerError | None = None
    for call, key, recorded in zip(wave, keys, caller.recorded_answers(wave, keys), strict=True):
        if recorded is not None:
            yield recorded
            continue
        # Blocks come in any order, so several may have to be read before this answer is there.
        while key not in fresh and (block := await asyncio.to_thread(next, blocks, None)) is not None:
            stopped = stopped or next((item.stopped for item in block if item.stopped is not None), None)
            items = [item for item in block if item.stopped is None]
            answers = await asyncio.gather(*(_record(caller, missing[item.key], item) for item in items))
            fresh.update(zip((item.key for item in items), answers, strict=True))
        if key not in fresh:
            raise stopped or _calls_lost()
        yield fresh[key].for_call(call)


def _calls_lost() -> BackendError:
    return BackendError("Ray lost some of the calls; start the run again, the answers so far are kept", "server_error")


async def _record(caller: Caller, call: Call, item: _WorkerAnswer) -> Answer:
    if item.entry is not None:
        return await caller.record_answer(call, item.entry)
    assert item.failure is not None
    return await caller.record_failure(call, item.failure)


def _start_ray() -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine."""
    try:
        import ray
    except ImportError as error:
        raise InputError("executor=ray needs the package ray; run pip install -e '.[ray]'") from error
    if not ray.is_initialized():
        # Workers on this machine find the package where the driver does; on other machines it has to be installed.
        environment = {"env_vars": {"PYTHONPATH": str(paths.ROOT)}}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING, runtime_env=environment)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _spread(calls: list[tuple[bytes, Call]], caller: Caller, specs: Sequence[str]) -> Iterator[list[_WorkerAnswer]]:
    """Yield the blocks of a wave in the order in which the workers finish them."""
    import ray

    count = min(caller.limits.workers, -(-len(calls) // BLOCK))  # rounded up: no worker without a block
    limits = _share(caller, count)
    rows = [{"block": ray.cloudpickle.dumps(calls[at : at + BLOCK])} for at in range(0, len(calls), BLOCK)]
    answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_args=(type(caller), list(specs), limits.model_dump_json()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=count,
            max_tasks_in_flight_per_actor=2 * BLOCKS_PER_WORKER,  # the next blocks are there before one is finished
            max_concurrent_calls_per_actor=BLOCKS_PER_WORKER,
        ),
        num_cpus=_CPUS,
    )
    try:
        for row in answered.iter_rows():
            yield ray.cloudpickle.loads(row["answers"])
    except ray.exceptions.RayError as error:
        raise BackendError(f"Ray gave up: {str(error).strip().splitlines()[-1]}", "server_error") from error


def _share(caller: Caller, count: int) -> CallLimits:
    """Return the limits of one of `count` workers: its part of the run's."""
    limits, left = caller.limits, caller.left
    budget: dict[str, float] = {} if left.tokens is None else {"budget_tokens": left.tokens // count}
    budget |= {} if left.money is None else {"budget_money": left.money / count}
    parts = {"max_in_flight": max(1, limits.max_in_flight // count), "start": max(1, limits.start // count)}
    return limits.model_copy(update={**budget, **parts, "model": caller.model})


class _Worker:
    """Actor of Ray Data: an event loop in a thread, in which one Caller asks several blocks at once."""

    def __init__(self, caller_class: "type[Caller]", specs: list[str], limits: str) -> None:
        self._class, self._specs, self._limits = caller_class, specs, CallLimits.model_validate_json(limits)
        self._caller: Caller | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="calls", daemon=True).start()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Ask the calls of one block and return their outcomes; Ray calls this from several threads."""
        import ray

        calls = ray.cloudpickle.loads(batch["block"][0])
        # All blocks of a worker share its event loop, and so one window for each endpoint and one budget.
        answers = asyncio.run_coroutine_threadsafe(self._block(calls), self._loop).result()
        return {"answers": [ray.cloudpickle.dumps(answers)]}

    async def _block(self, calls: list[tuple[bytes, Call]]) -> list[_WorkerAnswer]:
        caller = await self._opened()
        return list(await asyncio.gather(*(_ask(caller, key, call) for key, call in calls)))

    async def _opened(self) -> Caller:
        """Return the caller; the first block opens it, blocks that come meanwhile wait for the same opening."""
        if self._caller is None:
            caller = self._caller = self._class(self._specs, None, self._limits)
            self._ready = asyncio.ensure_future(caller.__aenter__())
        await self._ready
        return self._caller


async def _ask(caller: Caller, key: bytes, call: Call) -> _WorkerAnswer:
    try:
        answer = await caller.ask_endpoint(call, key)
    except (BudgetSpent, BackendError) as error:
        return _WorkerAnswer(key, stopped=error)
    return _WorkerAnswer(key, answer.entry, answer.failure)
