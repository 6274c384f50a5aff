"""Take the panel's looks while training: keep the checkpoints that it may choose, and end a run that collapsed."""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from her.errors import InputError
from her.inference.caller import Caller, CallLimits, Ledger
from her.judging.groups import Group, GroupRewards
from her.judging.service import JudgeGroup
from her.judging.serving import FOREVER, ServiceOptions, group_judge
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.checkpoints import complete_checkpoints, step_of
from pipelines.rl.alarms import TrainingFigures
from pipelines.rl.format_check import sample_answers
from pipelines.rl.judges import build_reward
from pipelines.rl.metrics import Metric
from pipelines.rl.options import RlOptions
from pipelines.rl.panel import Look, Panel, RawAnswer, best_look, logged
from pipelines.rl.prompts import RolloutPrompt

log = logging.getLogger(__name__)
LEDGER = "held_out.sqlite3"
LOGGED = {"kl": "kl", "entropy": "entropy", "judge/order_consistency": "order_consistency"}
"""Figures that TRL and the reward log -> the training figure that they are."""


class HeldOutJudge:
    """The held-out judge as a judge of pairs: no principles, both orders, every answer kept so that none is asked twice.

    The pairs of a look are judged together, by one caller that is closed after the last of them.
    """

    def __init__(self, endpoints: Sequence[str], folder: Path) -> None:
        self._options = ServiceOptions(endpoints=tuple(endpoints), folder=folder, principles=None, design="all_pairs", rounds=2)
        self._pending = 0
        self._opened: asyncio.Task[JudgeGroup] | None = None
        self._open = AsyncExitStack()

    async def __call__(self, group: Group) -> GroupRewards:
        """Return the rewards of a group."""
        self._pending += 1
        if self._opened is None:
            self._opened = asyncio.create_task(self._start())
        try:
            judge = await self._opened
            return await judge(group)
        finally:
            self._pending -= 1
            if not self._pending:
                self._opened = None
                await self._open.aclose()

    async def _start(self) -> JudgeGroup:
        limits = CallLimits(max_in_flight=self._options.in_flight, timeout=self._options.deadline / 2, patience=FOREVER)
        ledger = self._open.enter_context(Ledger(self._options.folder / LEDGER))
        caller = await self._open.enter_async_context(Caller(self._options.endpoints, ledger, limits))
        return group_judge(self._options, caller)


def hold_out(prompts: Sequence[RolloutPrompt], most: int) -> tuple[list[RolloutPrompt], list[RolloutPrompt]]:
    """Return prompts to train on and at most `most` for the panel; a conversation is on one side, unless there is only one."""
    names = list(dict.fromkeys(_conversation(prompt) for prompt in prompts))
    if len(names) < 2:
        log.warning("all prompts are of one conversation, so the panel looks at turns of it that are not trained on")
        return list(prompts[most:]), list(prompts[:most])
    apart: list[RolloutPrompt] = []
    chosen: set[str] = set()
    for name in names[: len(names) // 2]:  # at most half of the conversations, so that something is left to train on
        if len(apart) < most:
            chosen.add(name)
            apart += [prompt for prompt in prompts if _conversation(prompt) == name]
    return [prompt for prompt in prompts if _conversation(prompt) not in chosen], apart[:most]


def _conversation(prompt: RolloutPrompt) -> str:
    return prompt.conversation or prompt.id


def open_panel(options: RlOptions, trainer: Any, template: ChatTemplate, prompts: Sequence[RolloutPrompt], folder: Path) -> Panel:
    """Return the panel of a run over prompts that are not trained on.

    Raises:
        InputError: the weights are sharded, so one process cannot sample alone.
    """
    if trainer._dist.is_fsdp or trainer._dist.is_zero3:
        raise InputError("panel.every needs weights that one process can sample from, and these are sharded; set panel.every=0")
    if options.reward is None:
        raise ValueError("the settings have no reward")
    stop = template.tokenizer.eos_token_id

    def sample(chosen: Sequence[RolloutPrompt], each: int, seed: int) -> list[list[RawAnswer]]:
        model = trainer.accelerator.unwrap_model(trainer.model)
        repeated = [prompt for prompt in chosen for _ in range(each)]
        drawn = sample_answers(model, template, repeated, options, seed)
        answers = [RawAnswer(answer.text, answer.finished) for answer in drawn]
        return [answers[first : first + each] for first in range(0, len(answers), each)]

    return Panel(
        prompts,
        sample,
        build_reward(options.reward, 2, stop),
        HeldOutJudge(options.panel.held_out, folder) if options.panel.held_out else None,
        options.panel,
        looks=max(1, options.steps // options.panel.every),
        folder=folder,
        plans=options.reward.plans,
        seed=options.seed,
    )


class LoggedMeans:
    """Means of what the trainer logs, from one look to the next."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in LOGGED}

    def add(self, logs: Mapping[str, Any]) -> None:
        """Take the figures of a step; those that are no number or not finite are left out."""
        for name, values in self._values.items():
            if isinstance(value := logs.get(name), (int, float)) and math.isfinite(value):
                values.append(float(value))

    def taken(self) -> TrainingFigures:
        """Return the means since the last look, and begin anew."""
        means = {LOGGED[name]: fmean(values) for name, values in self._values.items() if values}
        for values in self._values.values():
            values.clear()
        return TrainingFigures(**means)


def add_looks(trainer: Any, panel: Panel, options: RlOptions, metric: Metric) -> Any:
    """Add the looks to a trainer; return the callback, whose `collapsed` says why a run ended."""
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    means = LoggedMeans()

    class LookCallback(TrainerCallback):  # type: ignore[misc]
        """Look at the policy every few steps."""

        collapsed = ""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            means.add(logs or {})

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.is_world_process_zero:
                panel.begin(state.global_step)
                trainer.spared = spared_steps(panel.looks, options)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step % options.panel.every:
                return
            control.should_save = True
            if state.is_world_process_zero:
                self._look(state.global_step)
            said = [self.collapsed]
            broadcast_object_list(said)
            self.collapsed = said[0]
            control.should_training_stop |= bool(self.collapsed)

        def _look(self, step: int) -> None:
            look = panel.look(step, means.taken())
            metric(step=step, **logged(look))
            trainer.spared = spared_steps(panel.looks, options)
            if alarms := panel.stopping(look):
                self.collapsed = f"at step {step}: " + "; ".join(alarm.sentence for alarm in alarms)

    callback = LookCallback()
    trainer.add_callback(callback)
    return callback


def spared_steps(looks: Sequence[Look], options: RlOptions) -> set[int]:
    """Return the steps whose checkpoints may still be chosen, whenever the first alarm comes."""
    if not looks:
        return set()
    earliest = looks[-1].step + options.panel.every - options.panel.guard
    prefixes = [looks[:count] for count in range(1, len(looks) + 1)]
    certain = [prefix for prefix in prefixes if prefix[-1].step < earliest][-1:]
    possible = [prefix for prefix in prefixes if prefix[-1].step >= earliest]
    best = [best_look(prefix, options.panel.guard) for prefix in (*certain, *possible)]
    return {look.step for look in best if look is not None}


def load_best(trainer: Any, panel: Panel, folder: Path) -> int | None:
    """Load the weights of the look that the panel chose; return its step, None when every checkpoint is in doubt."""
    best = panel.best
    if best is None:
        return None
    if best.step != trainer.state.global_step:
        found = [path for path in complete_checkpoints(folder) if step_of(path) == best.step]
        if not found:
            raise InputError(
                f"the checkpoint of step {best.step}, which the panel chose, is gone from '{folder / 'checkpoints'}'"
            )
        trainer._load_from_checkpoint(str(found[0]))
    return best.step
