"""Ask the calls of an evaluation on a Ray cluster (`executor=ray`) before the ordinary pass, which then finds them recorded.

A round works on every case without asking: a call whose answer is not in the ledger is collected, and the case is given up until
the next round. The collected calls are asked on the cluster. A scene of 20 turns takes 40 rounds, and its judgement one or
more. The pass that writes is the ordinary one, so it writes the same as without Ray.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from her.errors import HerError
from her.inference.caller import Answer, Call, Caller
from her.inference.ray import run_on_ray
from her.store.ledger import Failure
from her.types import Message
from pipelines.evaluate.options import Role
from pipelines.evaluate.role_callers import RoleCallers

log = logging.getLogger(__name__)
MOST_ROUNDS = 200
"""Calls that are left after so many rounds are asked by the ordinary pass."""
TaskT = TypeVar("TaskT")


class CallPending(HerError):
    """The answer is not in the ledger yet; its call was collected."""


class CallCollector:
    """A `RoleAsker` that answers from the ledger only and collects all other calls, by caller and key.

    Args:
        callers: of the run.
        asked_keys: keys that were asked on the cluster before, so that none is asked in two rounds.
    """

    def __init__(self, callers: RoleCallers, asked_keys: set[bytes]) -> None:
        self._callers, self._asked_keys = callers, asked_keys
        self.calls: dict[Caller, dict[bytes, Call]] = {caller: {} for caller in callers.callers}

    def context(self, role: Role) -> int:
        """Return the context of the role's model."""
        return self._callers.context(role)

    def count(self, role: Role, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as a prompt."""
        return self._callers.count(role, messages)

    async def ask(self, role: Role, call: Call) -> Answer:
        """Return the recorded answer; a failed one when the cluster gave none.

        Raises:
            CallPending: the call was collected now.
        """
        caller = self._callers.of(role)
        key = caller.key(call)
        if caller.has(key):
            return await caller.ask(call)
        if key in self._asked_keys:
            return Answer(call, None, Failure(key, call.stage, call.id, "server_error", "no answer on the cluster", 0, 0))
        self.calls[caller][key] = replace(call, meta=None)
        raise CallPending(f"{call.id}: not asked yet")


async def answer_on_ray(
    tasks: Sequence[TaskT], work: Callable[[CallCollector], Callable[[TaskT], Awaitable[object]]], callers: RoleCallers
) -> None:
    """Record the answers that all tasks need in the ledger.

    Args:
        tasks: of the run.
        work: returns what is done with a task when this collector is asked.
        callers: of the run.

    Raises:
        BudgetSpent, BackendError, InputError: as `her.inference.ray.run_on_ray`.
    """
    asked_keys: set[bytes] = set()
    for number in range(1, MOST_ROUNDS + 1):
        collector = CallCollector(callers, asked_keys)
        attempt = work(collector)
        for task in tasks:
            with suppress(CallPending):
                await attempt(task)
        collected = {caller: calls for caller, calls in collector.calls.items() if calls}
        if not collected:
            return
        for caller, calls in collected.items():
            log.info("round %d: %d calls on Ray", number, len(calls))
            async for _ in run_on_ray(caller, list(calls.values()), callers.specs(caller)):
                pass  # the caller records every answer
            asked_keys |= calls.keys()
