"""Format an estimate of reinforcement learning: a table for a person, or one JSON object."""

import json

from her.capacity.gpus import USABLE
from pipelines.models.hardware import format_count, format_gigabytes
from pipelines.rl.estimate.settings import RlEstimate

PARTS = ("weights", "gradients", "states", "master", "copies", "activations", "head")


def to_json(estimate: RlEstimate) -> str:
    """Return the estimate as one JSON object, with totals."""
    fields = estimate.model_dump(mode="json")
    fields["weights"]["total"] = estimate.weights.total
    fields["memory"]["total"] = estimate.memory.total
    fields["bytes_on_gpu"] = estimate.bytes_on_gpu
    fields["step"]["seconds"] = estimate.step.seconds
    return json.dumps(fields, indent=2) + "\n"


def to_table(estimate: RlEstimate) -> str:
    """Return a table: model and hardware, the seconds of a step, memory on one GPU, and the whole run."""
    blocks = (_head(estimate), _step(estimate), _memory(estimate), _run(estimate))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _head(estimate: RlEstimate) -> list[str]:
    recipe, load, gpu = estimate.recipe, estimate.load, estimate.gpu
    trained = f"adapters of rank {recipe.rank} ({format_count(estimate.adapters)})" if recipe.rank else "all weights trained"
    return [
        f"model    {estimate.base}: {format_count(estimate.weights.total)} weights, {trained}, {recipe.precision}",
        f"gpus     {estimate.gpus} x {gpu.name}, {recipe.gpus} of them for the update",
        f"step     {load.groups:,} groups of {load.answers} answers of {load.answer:,} tokens; prompts of {load.prompt:,} "
        f"({estimate.counted})",
    ]


def _step(estimate: RlEstimate) -> list[str]:
    step, expanded = estimate.step, estimate.expanded
    rows = [
        ("sampling", step.sampling, f"{step.at_once:,} answers at once"),
        ("judging", step.judging, f"{estimate.judging.calls:,} calls, {estimate.judging.slots} at once"),
        ("updating", step.updating, f"at {estimate.mfu:.0%} of the rate"),
    ]
    lines = [f"{name:<12}{seconds:>10,.1f} s {_share(seconds, step.seconds):>5}   {note}" for name, seconds, note in rows]
    if estimate.shared:
        saved = expanded.updating / step.updating
        lines.append(
            f"A prompt is read once a group: TRL's rows would take {expanded.updating:,.1f} s, {saved:.2f} times as long."
        )
    return [*lines, f"{'a step':<12}{step.seconds:>10,.1f} s"]


def _share(seconds: float, total: float) -> str:
    return f"{seconds / total:.0%}" if total and total != float("inf") else ""


def _memory(estimate: RlEstimate) -> list[str]:
    parts = [(f"GB {name}", getattr(estimate.memory, name)) for name in PARTS]
    parts += [("GB reference", estimate.reference), ("GB vLLM beside", estimate.sampler), ("GB in all", estimate.bytes_on_gpu)]
    lines = [f"{name:<20}{format_gigabytes(value):>12}" for name, value in parts]
    if not estimate.step.at_once:
        return [*lines, "The sampler's weights leave no memory for one answer: raise rollout.gpu_share or estimate.sampler_gpus."]
    usable = f"{USABLE:.0%} of {estimate.gpu.memory / 1e9:.0f} GB"
    return [
        *lines,
        f"It fits in {usable}." if estimate.fits else f"It does not fit in {usable}: raise estimate.gpus, lower rows.",
    ]


def _run(estimate: RlEstimate) -> list[str]:
    lines = [f"{estimate.steps:,} steps: {estimate.hours:,.1f} hours, {estimate.judge_calls:,} judge calls"]
    if estimate.dollars is not None:
        lines[0] += f", {estimate.dollars:,.2f} dollars for GPUs"
    if estimate.judge_dollars:
        lines[0] += f", {estimate.judge_dollars:,.2f} for the judge"
    return [*lines, "Redrawn groups, looks of the panel and the start of processes are not counted."]
