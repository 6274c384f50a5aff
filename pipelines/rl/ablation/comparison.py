"""Read the last looks of the runs of an ablation, and compare presets seed by seed."""

import math
from collections.abc import Sequence
from statistics import fmean

from her.runs.folder import read_status, run_folder
from her.statistics import Interval, mean_interval
from her.types import Value
from pipelines.rl.ablation.presets import BASELINE, PRESETS, AblationOptions, PresetName, run_name
from pipelines.rl.panel import read_looks

UNKNOWN = float("nan")


class RunOutcome(Value):
    """The end of one run, from its last look.

    Args:
        state: of the run, such as `done` or `collapsed`.
        step: of the look.
        held_out: share of prompts on which the held-out judge prefers the policy to the start; None without a judge.
        reward: mean gain of the training reward over the start.
        malformed: share of malformed turns.
        length: ratio of lengths to the start's.
        alarms: names of all alarms until then.
    """

    name: str
    seed: int
    state: str
    step: int
    held_out: float | None
    reward: float | None
    malformed: float
    length: float
    alarms: tuple[str, ...]


class PresetOutcome(Value):
    """The runs of one preset, their mean, and the mean of its differences to the baseline with the same seed.

    Args:
        measure: `held-out judge`, or `training reward` where no judge was held out.
    """

    preset: PresetName
    question: str
    measure: str
    runs: tuple[RunOutcome, ...]
    mean: Interval
    difference: Interval | None

    @property
    def collapsed(self) -> int:
        """Return how many runs collapsed."""
        return sum(run.state == "collapsed" for run in self.runs)


def read_outcome(options: AblationOptions, preset: PresetName, seed: int) -> RunOutcome | None:
    """Return the end of a run; None while it has no look."""
    name = run_name(options, preset, seed)
    looks = read_looks(run_folder(name))
    if not looks:
        return None
    last = looks[-1]
    return RunOutcome(
        name=name,
        seed=seed,
        state=read_status(name).state,
        step=last.step,
        held_out=last.held_out.value if last.held_out is not None else None,
        reward=last.reward,
        malformed=last.figures.malformed,
        length=last.length.ratio,
        alarms=tuple(dict.fromkeys(alarm.name for look in looks for alarm in look.alarms)),
    )


def compare(options: AblationOptions) -> list[PresetOutcome]:
    """Return the outcome of each preset, the baseline first; runs without a look are left out of it."""
    found = {preset: _outcomes(options, preset) for preset in options.ablation.compared}
    held_out = bool(options.panel.held_out)
    return [_outcome(preset, runs, found[BASELINE], held_out) for preset, runs in found.items()]


def _outcomes(options: AblationOptions, preset: PresetName) -> list[RunOutcome]:
    return [outcome for seed in options.ablation.seeds if (outcome := read_outcome(options, preset, seed))]


def _outcome(preset: PresetName, runs: Sequence[RunOutcome], base: Sequence[RunOutcome], held_out: bool) -> PresetOutcome:
    by_seed = {run.seed: _measured(run, held_out) for run in base}
    differences = [_measured(run, held_out) - by_seed[run.seed] for run in runs if run.seed in by_seed]
    return PresetOutcome(
        preset=preset,
        question=PRESETS[preset].question,
        measure="held-out judge" if held_out else "training reward",
        runs=tuple(runs),
        mean=mean_interval([_measured(run, held_out) for run in runs]),
        difference=None if preset == BASELINE else mean_interval(differences),
    )


def _measured(run: RunOutcome, held_out: bool) -> float:
    value = run.held_out if held_out else run.reward
    return UNKNOWN if value is None else value


def to_markdown(outcomes: Sequence[PresetOutcome]) -> str:
    """Return the comparison as a page of Markdown."""
    rows = "\n".join(_row(outcome) for outcome in outcomes)
    singles = "\n".join(_single(outcome, run) for outcome in outcomes for run in outcome.runs)
    return _PAGE.format(measure=outcomes[0].measure, rows=rows, runs=singles, baseline=BASELINE)


def _row(outcome: PresetOutcome) -> str:
    difference = "" if outcome.difference is None else _interval(outcome.difference, signed=True)
    malformed = fmean(run.malformed for run in outcome.runs) if outcome.runs else UNKNOWN
    cells = (outcome.preset, outcome.question, len(outcome.runs), outcome.collapsed, _interval(outcome.mean), difference)
    return "| " + " | ".join(str(cell) for cell in (*cells, _number(malformed))) + " |"


def _single(outcome: PresetOutcome, run: RunOutcome) -> str:
    figures = (_number(run.held_out), _number(run.reward), _number(run.malformed), _number(run.length))
    return f"| {run.name} | {run.state} | {run.step} | " + " | ".join(figures) + f" | {', '.join(run.alarms) or 'none'} |"


def _interval(interval: Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if math.isnan(interval.low):
        return f"{_number(interval.value)} (too few runs)"
    return f"{interval.value:{sign}.3f} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def _number(value: float | None) -> str:
    return "missing" if value is None or math.isnan(value) else f"{value:.3f}"


_PAGE = """# Presets compared by whole runs

Measured by: {measure}, at the last look of each run, over the start checkpoint on the same prompts. Means are over seeds; their
intervals are Student's over runs, so they hold the luck of a run and no other judge. A difference is taken seed by seed to
`{baseline}` and says something when its interval leaves out 0. Training rewards of two presets are on different scales.

| preset | question | runs | collapsed | mean | difference | malformed |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

| run | state | step | held out | training reward | malformed | length | alarms |
| --- | --- | --- | --- | --- | --- | --- | --- |
{runs}
"""
