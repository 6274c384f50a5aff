"""A stage on Ray (`executor=ray`): its questions are gathered in rounds, asked on the cluster, and found in the ledger.

A round goes through the stage without asking: what the ledger does not have is gathered, and a scene that needs it waits
for the next round. A stage has few rounds (a plan has four: draft, rewrite, and the same again), and the pass that writes
is the ordinary one, which then finds every answer. So what is written is the same as without Ray.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from pydantic import BaseModel

from her.characters.coser import BookScene
from her.errors import HerError
from her.inference.caller import Call, Caller
from her.inference.ray import run_on_ray
from her.types import Message, Sampling
from pipelines.synthesize.models import Models, reply
from pipelines.synthesize.work import Asker, Notes, StageAnswer, in_order

log = logging.getLogger(__name__)
Improve = Callable[[BookScene, Notes], Awaitable[BookScene]]
MOST_ROUNDS, AT_ONCE = 8, 256
"""Rounds of a stage; what is left after them is asked by the ordinary pass. Scenes that are gone through at once."""


class NotYet(HerError):
    """The answer is not in the ledger; its question has been gathered."""


class Gathering:
    """An Asker that answers from the ledger only, and gathers the rest by caller."""

    def __init__(self, models: Models, asked: set[bytes]) -> None:
        self._models, self._asked = models, asked
        self.calls: dict[Caller, dict[bytes, Call]] = {caller: {} for caller in models.callers}

    async def ask(
        self, stage: str, messages: tuple[Message, ...], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> StageAnswer:
        """See `work.Asker`. Raises NotYet; a question that was asked on the cluster and got no answer has none here."""
        caller, call = self._models.question(stage, messages, sampling, schema)
        key = caller.key(call)
        if caller.has(key):
            return reply(await caller.ask(call))
        if key in self._asked:
            return StageAnswer(error="no answer on the cluster; it is asked once more at the end")
        self.calls[caller][key] = call
        raise NotYet(f"{stage}: not asked yet")


async def ask_on_ray(scenes: Callable[[], Iterable[BookScene]], improve: Callable[[Asker], Improve], models: Models) -> None:
    """Bring every answer that a stage needs into the ledger. `scenes` begins anew for every round.

    Raises:
        BudgetSpent, BackendError, InputError: as `her.inference.ray.run_on_ray`.
    """
    asked: set[bytes] = set()
    for number in range(1, MOST_ROUNDS + 1):
        gathering = Gathering(models, asked)
        step = improve(gathering)

        async def work(scene: BookScene, step: Improve = step) -> None:
            with suppress(NotYet):
                await step(scene, Notes())

        async for _ in in_order(scenes(), work, AT_ONCE):
            pass
        wanted = {caller: calls for caller, calls in gathering.calls.items() if calls}
        if not wanted:
            return
        for caller, calls in wanted.items():
            log.info("round %d: %d calls on Ray", number, len(calls))
            async for _ in run_on_ray(caller, calls.values(), models.specs(caller)):
                pass
            asked |= calls.keys()
