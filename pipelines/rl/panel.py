"""Look at the policy every few steps, on prompts that are never trained on: does it please the reader, or the reward alone?

In the folder `panel` of the run:

    start.jsonl     two samplings of the start checkpoint, with their judgements
    looks.jsonl     one `Look` a line
    STEP.jsonl      the turns of a look

and beside it panel.svg and panel.html, the curves (panel_page.py).

Each prompt gives one row: the policy's answer against the start's, by the training reward and by the held-out judge. A resumed
run reads the looks it had; those after the step it resumes from are taken again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from her.errors import HerError, InputError
from her.files import jsonl
from her.format import parse
from her.judging.groups import Group, GroupRewards
from her.judging.service import JudgeGroup
from her.kinds import PLAN
from her.rewards import malformation
from her.statistics import Interval, share_interval
from her.types import Turn, Value
from her.words import words
from pipelines.rl.alarms import (
    Alarm,
    ComparedRow,
    Divergence,
    LengthChange,
    LookFigures,
    TrainingFigures,
    alarms,
    divergence,
    length_change,
)
from pipelines.rl.panel_options import PanelOptions
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.reward import GroupReward
from pipelines.rl.turn_figures import SampledAnswer, TurnFigures, turn_figures

log = logging.getLogger(__name__)
FOLDER = "panel"


class RawAnswer(NamedTuple):
    """Text of one answer without its stop token, and whether the model ended it."""

    text: str
    finished: bool


Sample = Callable[[Sequence[RolloutPrompt], int, int], list[list[RawAnswer]]]
"""`(prompts, answers for each, seed)` -> answers by prompt, from the policy as it is now."""


class Look(Value):
    """One look at the policy; everything is against the start checkpoint on the same prompts.

    Args:
        reward: mean gain of training reward; None without any judged row.
        held_out: share of prompts on which the held-out judge prefers the policy, ties counted half; None without one.
        divergence: None without a held-out judge, or without a row that both judges judged.
        missing: rows that a judge gave no verdict on.
        training: means over the steps since the look before.
    """

    step: int
    reward: float | None
    held_out: Interval | None
    divergence: Divergence | None
    length: LengthChange
    plan_length: LengthChange
    figures: TurnFigures
    start: TurnFigures
    missing: int
    training: TrainingFigures = TrainingFigures()
    alarms: tuple[Alarm, ...] = ()


class KeptAnswer(Value):
    """A sampled answer as it is kept in a file."""

    prompt: str
    number: int
    text: str
    finished: bool


class KeptGain(Value):
    """Gains of one row between the two samplings of the start."""

    prompt: str
    reward: float | None
    held_out: float | None


class StartRecord(Value):
    """Two samplings of the start checkpoint, and the gains of the second over the first."""

    first: tuple[KeptAnswer, ...]
    second: tuple[KeptAnswer, ...]
    gains: tuple[KeptGain, ...]


class Panel:
    """The panel of one run.

    Args:
        prompts: the fixed set; at most `options.prompts` are used.
        reward: the run's reward function for groups of two (`GroupReward` with `size=2`).
        held_out: the held-out judge, without principles; None for none.
        looks: looks planned for the whole run.
        folder: of the run.
        plans: whether an answer needs a plan.
    """

    def __init__(
        self,
        prompts: Sequence[RolloutPrompt],
        sample: Sample,
        reward: GroupReward,
        held_out: JudgeGroup | None,
        options: PanelOptions,
        *,
        looks: int,
        folder: Path,
        plans: bool = True,
        seed: int = 0,
    ) -> None:
        if len(prompts) < 2:
            raise InputError(f"the panel has {len(prompts)} prompts to look at; give panel.prompts more, or panel.every=0")
        self._prompts = list(prompts[: options.prompts])
        self._sample, self._reward, self._held_out = sample, reward, held_out
        self._options, self._planned, self._plans, self._seed = options, looks, plans, seed
        self._folder = folder / FOLDER
        self._each = -(-options.turns // len(self._prompts))
        self._start: StartRecord | None = None
        self._start_figures: TurnFigures | None = None
        self.looks: list[Look] = []

    def begin(self, step: int = 0) -> None:
        """Sample the start checkpoint twice, or read what an earlier start of the run sampled.

        Args:
            step: step that the run resumes from; looks after it are dropped.

        Raises:
            InputError: the files are damaged, or of other prompts.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "start.jsonl"
        if path.is_file():
            (self._start,) = jsonl.read(path, StartRecord)
            if {each.prompt for each in self._start.first} != {prompt.id for prompt in self._prompts}:
                raise InputError(f"'{path}' is of other prompts; give the run another name")
            looks = self._folder / "looks.jsonl"
            self.looks = [look for look in jsonl.read(looks, Look) if look.step <= step] if looks.is_file() else []
            return
        first = self._drawn(1)
        second = self._drawn(2)
        rows = self._compared(second, first)
        gains = tuple(
            KeptGain(prompt=prompt.id, reward=row.reward, held_out=row.held_out)
            for prompt, row in zip(self._prompts, rows, strict=True)
        )
        self._start = StartRecord(first=self._kept(first), second=self._kept(second), gains=gains)
        jsonl.write(path, [self._start])

    def look(self, step: int, training: TrainingFigures | None = None) -> Look:
        """Look at the policy, write the look down, and return it with its alarms.

        Args:
            training: means over the steps since the look before.
        """
        if known := next((look for look in self.looks if look.step == step), None):
            return known
        assert self._start is not None, "call begin first"
        now, start = self._drawn(1000 + step), self._answers(self._start.first)
        if self._start_figures is None:
            self._start_figures = turn_figures(_flat(start))
        rows = self._compared(now, start)
        null = [ComparedRow(each.reward, each.held_out) for each in self._start.gains]
        alpha = self._options.alarms.alpha / max(1, self._planned)
        training = training or TrainingFigures()
        apart = divergence(rows, null, alpha) if self._held_out else None
        figures = LookFigures(
            turn_figures(_flat(now)),
            self._start_figures,
            *self._lengths(now, start, alpha),
            apart,
            training,
            self._first(training),
        )
        found = Look(
            step=step,
            reward=_mean([row.reward for row in rows]),
            held_out=_preferred(rows, 1 - alpha) if self._held_out else None,
            divergence=apart,
            length=figures.length,
            plan_length=figures.plan_length,
            figures=figures.now,
            start=figures.start,
            training=training,
            missing=sum(row.reward is None or (self._held_out is not None and row.held_out is None) for row in rows),
            alarms=alarms(figures, self._options.alarms, self._planned),
        )
        self.looks.append(found)
        jsonl.write(self._folder / f"{step}.jsonl", self._kept(now))
        jsonl.write(self._folder / "looks.jsonl", self.looks)
        for alarm in found.alarms:
            log.warning("step %d, alarm '%s': %s", step, alarm.name, alarm.sentence)
        return found

    def _first(self, training: TrainingFigures) -> TrainingFigures:
        return self.looks[0].training if self.looks else training

    def stopping(self, look: Look) -> tuple[Alarm, ...]:
        """Return the alarms of a look that end the run."""
        stop = self._options.stop
        return tuple(alarm for alarm in look.alarms if "all" in stop or alarm.name in stop)

    @property
    def best(self) -> Look | None:
        """The look whose checkpoint is chosen; None when there is none."""
        return best_look(self.looks, self._options.guard)

    def _drawn(self, seed: int) -> list[list[SampledAnswer]]:
        drawn = self._sample(self._prompts, self._each, self._seed * 1_000_003 + seed)
        return [
            [self._answer(prompt, answer) for answer in answers] for prompt, answers in zip(self._prompts, drawn, strict=True)
        ]

    def _answer(self, prompt: RolloutPrompt, answer: RawAnswer) -> SampledAnswer:
        fault = malformation(answer.text, prompt.speaker, prompt.others, finished=answer.finished, plans=self._plans)
        return SampledAnswer(prompt.messages, parse(answer.text, prompt.speaker, prompt.others), fault)

    def _kept(self, drawn: Sequence[Sequence[SampledAnswer]]) -> tuple[KeptAnswer, ...]:
        return tuple(
            KeptAnswer(prompt=prompt.id, number=number, text=answer.turn.raw, finished=answer.fault != "truncated")
            for prompt, answers in zip(self._prompts, drawn, strict=True)
            for number, answer in enumerate(answers)
        )

    def _answers(self, kept: Sequence[KeptAnswer]) -> list[list[SampledAnswer]]:
        found: dict[str, list[RawAnswer]] = {}
        for each in kept:
            found.setdefault(each.prompt, []).append(RawAnswer(each.text, each.finished))
        return [[self._answer(prompt, answer) for answer in found[prompt.id]] for prompt in self._prompts]

    def _compared(self, now: Sequence[Sequence[SampledAnswer]], start: Sequence[Sequence[SampledAnswer]]) -> list[ComparedRow]:
        """Return one row a prompt, from the first answer of each side."""
        pairs = [(a[0], b[0]) for a, b in zip(now, start, strict=True)]
        rewards = self._reward.gains(self._prompts, pairs)
        verdicts = asyncio.run(self._verdicts(pairs)) if self._held_out else [None] * len(pairs)
        return [ComparedRow(reward, verdict) for reward, verdict in zip(rewards, verdicts, strict=True)]

    async def _verdicts(self, pairs: Sequence[tuple[SampledAnswer, SampledAnswer]]) -> list[float | None]:
        assert self._held_out is not None
        groups = [
            Group(prompt.id, prompt.messages, (a.turn, b.turn), None, prompt.language)
            for prompt, (a, b) in zip(self._prompts, pairs, strict=True)
        ]
        found = await asyncio.gather(*(self._held_out(group) for group in groups), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, HerError):
                raise each
        return [_gain(each) for each in found]

    def _lengths(
        self, now: Sequence[Sequence[SampledAnswer]], start: Sequence[Sequence[SampledAnswer]], alpha: float
    ) -> tuple[LengthChange, LengthChange]:
        def change(count: Callable[[Turn], int]) -> LengthChange:
            after, before = ([sum(count(each.turn) for each in side) / len(side) for side in sides] for sides in (now, start))
            return length_change(after, before, alpha)

        return change(lambda turn: len(words(turn.text()))), change(lambda turn: len(words(turn.text(PLAN))))


def best_look(looks: Sequence[Look], guard: int) -> Look | None:
    """Return the look that the held-out judge likes best, before the first alarm.

    Args:
        guard: steps before the first alarm that are left out as well: what raised it began earlier.
    """
    first = min((look.step for look in looks if look.alarms), default=None)
    sound = [look for look in looks if first is None or look.step < first - guard]
    judged = [look for look in sound if look.held_out is not None and look.held_out.value == look.held_out.value]
    if judged:
        return max(judged, key=lambda look: (look.held_out.value if look.held_out else 0.0, -look.step))
    return sound[-1] if sound else None


def read_looks(folder: Path) -> list[Look]:
    """Return the looks of a run's folder, none when it has no panel."""
    path = folder / FOLDER / "looks.jsonl"
    return list(jsonl.read(path, Look)) if path.is_file() else []


def _gain(found: GroupRewards | BaseException) -> float | None:
    if isinstance(found, BaseException):
        log.warning("the held-out judge has no verdict: %s", found)
        return None
    now, start = found.rewards
    return None if now is None or start is None else now - start


def _preferred(rows: Sequence[ComparedRow], confidence: float) -> Interval | None:
    gains = [row.held_out for row in rows if row.held_out is not None]
    if not gains:
        return None
    won = sum(1.0 if gain > 0 else 0.5 if gain == 0 else 0.0 for gain in gains)
    limits = share_interval(round(won), len(gains), confidence)
    return Interval(won / len(gains), limits.low, limits.high)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _flat(drawn: Sequence[Sequence[SampledAnswer]]) -> list[SampledAnswer]:
    return [answer for answers in drawn for answer in answers]


def logged(look: Look) -> dict[str, float]:
    """Return the figures of a look for a line of metrics."""
    figures = look.figures.model_dump()
    found = {f"panel/{name}": float(value) for name, value in figures.items() if not isinstance(value, str)}
    found |= {"panel/length_ratio": look.length.ratio, "panel/plan_length_ratio": look.plan_length.ratio}
    if look.reward is not None:
        found["panel/reward_gain"] = look.reward
    if look.held_out is not None:
        found["panel/held_out"] = look.held_out.value
    if look.divergence is not None:
        found |= {"panel/divergence": look.divergence.share.value, "panel/divergence_start": look.divergence.start}
    return {**found, "panel/alarms": float(len(look.alarms))}
