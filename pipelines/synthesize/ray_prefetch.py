"""Ask a stage's questions on a Ray cluster (`executor=ray`) before the stage runs, so that it finds all answers recorded.

A round runs the stage on every scene without asking: a question whose answer is not in the ledger is collected, and the
scene is given up until the next round. The collected questions are asked on the cluster. A stage has few rounds (a plan has
four: draft, rewrite, and both again after problems). The pass that writes is the ordinary one, so what it writes is the
same as without Ray.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from her.characters.coser import BookScene
from her.errors import HerError
from her.inference.caller import Call, Caller
from her.inference.ray import run_on_ray
from her.types import Message, Sampling
from pipelines.synthesize.callers import StageCallers, stage_answer
from pipelines.synthesize.concurrency import in_order
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import StageOptions
from pipelines.synthesize.questions import Question, StageAnswer, StageContext
from pipelines.synthesize.stages.stage_table import Improve

log = logging.getLogger(__name__)
MOST_ROUNDS = 8
"""Rounds of one stage; questions that are left after them are asked by the ordinary pass."""
SCENES_AT_ONCE = 256


class AnswerPending(HerError):
    """The answer is not in the ledger yet; its question was collected."""


class QuestionCollector:
    """An `Asker` that answers from the ledger only and collects the other questions, by caller and ledger key.

    Args:
        asked_keys: keys that were asked on the cluster before, so that no question is asked in two rounds.
    """

    def __init__(self, callers: StageCallers, asked_keys: set[bytes]) -> None:
        self._callers, self._asked_keys = callers, asked_keys
        self.calls: dict[Caller, dict[bytes, Call]] = {caller: {} for caller in callers.callers}

    async def ask(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> StageAnswer:
        """Return the recorded answer; an error when the question was asked on the cluster and got none.

        Raises:
            AnswerPending: the question was collected now.
        """
        caller, call = self._callers.call_for(question, messages, sampling)
        key = caller.key(call)
        if caller.has(key):
            return stage_answer(await caller.ask(call))
        if key in self._asked_keys:
            return StageAnswer(error="no answer on the cluster; it is asked once more at the end")
        self.calls[caller][key] = call
        raise AnswerPending(f"{question.name}: not asked yet")


async def prefetch_on_ray(
    scenes: Callable[[], Iterable[BookScene]], improve: Improve, options: StageOptions, callers: StageCallers
) -> None:
    """Record every answer that a stage needs in the ledger.

    Args:
        scenes: returns the scenes from the beginning; called once a round.

    Raises:
        BudgetSpent, BackendError, InputError: as `her.inference.ray.run_on_ray`.
    """
    asked_keys: set[bytes] = set()
    for number in range(1, MOST_ROUNDS + 1):
        collector = QuestionCollector(callers, asked_keys)
        await _collect(scenes(), improve, options, collector)
        collected = {caller: calls for caller, calls in collector.calls.items() if calls}
        if not collected:
            return
        for caller, calls in collected.items():
            log.info("round %d: %d calls on Ray", number, len(calls))
            async for _ in run_on_ray(caller, calls.values(), callers.specs(caller)):
                pass  # the caller records every answer
            asked_keys |= calls.keys()


async def _collect(scenes: Iterable[BookScene], improve: Improve, options: StageOptions, collector: QuestionCollector) -> None:
    async def dry_run(scene: BookScene) -> None:
        with suppress(AnswerPending):
            await improve(scene, StageContext(collector, options, Notes()))

    async for _ in in_order(scenes, dry_run, SCENES_AT_ONCE):
        pass
