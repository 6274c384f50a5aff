"""Calls on the workers of a Ray cluster (`executor=ray`, extra `ray`): Ray Data spreads them, a worker asks as one process does.

The ledger stays with the driver: it takes out what is recorded, sends the rest in waves of bounded size, and records and
gives out the answers in order. Each worker has its share of the calls at once and of the budget, so that the limits hold.
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
"""Calls of one execution of Ray Data; a new one starts its workers again, which takes seconds."""
BLOCK = 64
"""Calls that travel together."""
_CPUS = 0.5
"""Of a worker, which mostly waits."""
UNDER_WAY = 4
"""Blocks that one worker has at once, so that it does not stand still for the slowest call of one."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a worker says about one call; exactly one of the last three. `stopped`: it was not asked, the worker asks no more."""

    key: bytes
    entry: Entry | None = None
    failure: Failure | None = None
    stopped: HerError | None = None


async def run_on_ray(caller: Caller, calls: Iterable[Call], specs: Sequence[str]) -> AsyncIterator[Answer]:
    """The answers to all calls, in order; see `her.inference.batch.run_calls`.

    Raises:
        BudgetSpent, BackendError: as `her.inference.batch.ask_all`, after the answers before the first that is missing.
        InputError: Ray is not installed, or an endpoint is no server and so cannot be shared by workers.
    """
    if local := [spec for spec in specs if not is_shared(spec)]:
        raise InputError(f"endpoint {local[0]!r} is no server; with executor=ray name servers that every worker can reach")
    _start()
    source = iter(calls)
    while wave := list(islice(source, WAVE)):
        async for answer in _wave(caller, wave, specs):
            yield answer


async def _wave(caller: Caller, wave: list[Call], specs: Sequence[str]) -> AsyncIterator[Answer]:
    """What the ledger has, and between it what the workers bring."""
    keys = [caller.key(call) for call in wave]
    missing = {key: replace(call, meta=None) for key, call in zip(keys, wave, strict=True) if not caller.has(key)}
    blocks = _spread(list(missing.items()), caller, specs) if missing else iter(())
    fresh: dict[bytes, Answer] = {}
    stopped: HerError | None = None
    for call, key, known in zip(wave, keys, caller.known(wave, keys), strict=True):
        while key in missing and key not in fresh and (block := await asyncio.to_thread(next, blocks, None)) is not None:
            stopped = stopped or next((told.stopped for told in block if told.stopped is not None), None)
            there = [told for told in block if told.stopped is None]
            answers = await asyncio.gather(*(_take_in(caller, missing[told.key], told) for told in there))
            fresh.update(zip((told.key for told in there), answers, strict=True))
        if known is not None:
            yield known
        elif key in fresh:
            yield fresh[key].of(call)
        else:
            raise stopped or _lost()


def _lost() -> BackendError:
    return BackendError("Ray lost some of the calls; start the run again, what was answered is kept", "server_error")


async def _take_in(caller: Caller, call: Call, told: _Told) -> Answer:
    if told.entry is not None:
        return await caller.answered(call, told.entry)
    assert told.failure is not None
    return await caller.failed(call, told.failure)


def _start() -> None:
    """Join the cluster of RAY_ADDRESS, or begin one on this machine."""
    try:
        import ray
    except ImportError as error:
        raise InputError("executor=ray needs the package ray; run pip install -e '.[ray]'") from error
    if not ray.is_initialized():
        # On this machine the workers find the house where the driver does; elsewhere it has to be installed.
        house = {"env_vars": {"PYTHONPATH": str(paths.ROOT)}}
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING, runtime_env=house)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _spread(calls: list[tuple[bytes, Call]], caller: Caller, specs: Sequence[str]) -> Iterator[list[_Told]]:
    """The blocks of a wave, as the workers finish them."""
    import ray

    count = min(caller.limits.workers, -(-len(calls) // BLOCK))
    limits = _share(caller, count)
    rows = [{"block": ray.cloudpickle.dumps(calls[at : at + BLOCK])} for at in range(0, len(calls), BLOCK)]
    answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_args=(type(caller), list(specs), limits.model_dump_json()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=count, max_tasks_in_flight_per_actor=2 * UNDER_WAY, max_concurrent_calls_per_actor=UNDER_WAY
        ),
        num_cpus=_CPUS,
    )
    try:
        for row in answered.iter_rows():
            yield ray.cloudpickle.loads(row["told"])
    except ray.exceptions.RayError as error:
        raise BackendError(f"Ray gave up: {str(error).strip().splitlines()[-1]}", "server_error") from error


def _share(caller: Caller, count: int) -> CallLimits:
    """One worker's part of what the whole run may do."""
    limits, left = caller.limits, caller.left
    budget: dict[str, float] = {} if left.tokens is None else {"budget_tokens": left.tokens // count}
    budget |= {} if left.money is None else {"budget_money": left.money / count}
    parts = {"max_in_flight": max(1, limits.max_in_flight // count), "start": max(1, limits.start // count)}
    return limits.model_copy(update={**budget, **parts, "model": caller.model})


class _Worker:
    """An actor of Ray Data: an event loop in a thread of its own, in which one Caller asks for several blocks at once."""

    def __init__(self, caller_class: "type[Caller]", specs: list[str], limits: str) -> None:
        self._class, self._specs, self._limits = caller_class, specs, CallLimits.model_validate_json(limits)
        self._caller: Caller | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="calls", daemon=True).start()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One block; its calls are answered in any order."""
        import ray

        calls = ray.cloudpickle.loads(batch["block"][0])
        told = asyncio.run_coroutine_threadsafe(self._block(calls), self._loop).result()
        return {"told": [ray.cloudpickle.dumps(told)]}

    async def _block(self, calls: list[tuple[bytes, Call]]) -> list[_Told]:
        caller = await self._opened()
        return list(await asyncio.gather(*(_ask(caller, key, call) for key, call in calls)))

    async def _opened(self) -> Caller:
        if self._caller is None:
            caller = self._caller = self._class(self._specs, None, self._limits)
            self._ready = asyncio.ensure_future(caller.__aenter__())
        await self._ready
        return self._caller


async def _ask(caller: Caller, key: bytes, call: Call) -> _Told:
    try:
        answer = await caller.ask_anew(call, key)
    except (BudgetSpent, BackendError) as error:
        return _Told(key, stopped=error)
    return _Told(key, answer.entry, answer.failure)
