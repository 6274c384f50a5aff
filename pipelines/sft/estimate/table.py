"""Format an estimate: a table with both layouts side by side, or one JSON object."""

import json

from her.capacity.gpus import USABLE
from pipelines.models.hardware import format_count, format_gigabytes
from pipelines.sft.estimate.settings import RunEstimate

LAYOUTS = ("plain", "shared_prefix")


def to_json(estimate: RunEstimate) -> str:
    """Return the estimate as one JSON object, with totals."""
    fields = estimate.model_dump(mode="json")
    fields["weights"]["total"] = estimate.weights.total
    for layout in LAYOUTS:
        fields[layout]["memory"]["total"] = getattr(estimate, layout).memory.total
    return json.dumps(fields, indent=2) + "\n"


def to_table(estimate: RunEstimate) -> str:
    """Return a table: model and hardware, both layouts side by side, and the speed of serving the model."""
    return "\n".join([*_head(estimate), "", *_rows(estimate), "", *_foot(estimate)]) + "\n"


def _head(estimate: RunEstimate) -> list[str]:
    weights, recipe, load = estimate.weights, estimate.recipe, estimate.load
    how = f"adapters of rank {recipe.rank} ({format_count(estimate.adapters)})" if recipe.rank else "all weights trained"
    head = f"head {format_count(weights.head)}" if weights.head else "head tied"
    held = f"{recipe.precision}{', base in NF4' if recipe.quantise else ''}{', master copy' if recipe.master else ''}"
    gpus = f"{recipe.gpus} x {estimate.gpu.name}" if recipe.gpus > 1 else estimate.gpu.name
    return [
        f"model    {estimate.base}: {format_count(weights.total)} weights (embedding "
        f"{format_count(weights.embedding)}, attention {format_count(weights.attention)}, MLP {format_count(weights.mlp)}, "
        f"{head})",
        f"recipe   {how}, {held}, {recipe.checkpointing} checkpointing",
        f"gpus     {gpus}, each {estimate.gpu.memory / 1e9:.0f} GB, {estimate.gpu.flops / 1e12:.0f} TFLOP/s bf16, "
        f"{estimate.gpu.bandwidth / 1e12:.2f} TB/s{', sharing the weights' if recipe.gpus > 1 and not recipe.quantise else ''}",
        f"samples  {load.targets:,} targets in {load.trees:,} trunks, {estimate.counted}",
    ]


def _rows(estimate: RunEstimate) -> list[str]:
    pair = (estimate.plain, estimate.shared_prefix)
    parts = ("weights", "gradients", "states", "master", "copies", "activations", "head")
    rows = [("", ["plain", "shared prefix"])]
    rows += [("tokens", [format_count(forecast.work.tokens) for forecast in pair])]
    rows += [("targets a step", [f"{estimate.step[name]:,.1f}" for name in ("plain", "shared_prefix")])]
    rows += [("targets in the run", [f"{forecast.target_reads:,}" for forecast in pair])]
    rows += [("pairs of attention", [format_count(forecast.work.pairs) for forecast in pair])]
    rows += [("FLOP", [format_count(forecast.flops) for forecast in pair])]
    rows += [("tokens at once", [f"{forecast.tokens_at_once:,}" for forecast in pair])]
    rows += [(f"GB {part}", [format_gigabytes(getattr(forecast.memory, part)) for forecast in pair]) for part in parts]
    rows += [("GB in all", [format_gigabytes(forecast.memory.total) for forecast in pair])]
    rows += [("fits", ["yes" if forecast.fits else "no" for forecast in pair])]
    rows += [("tokens/s, ceiling", [f"{forecast.ceiling:,.0f}" for forecast in pair])]
    rows += [(f"tokens/s at {estimate.mfu:.0%}", [f"{forecast.expected:,.0f}" for forecast in pair])]
    rows += [(f"targets/s at {estimate.mfu:.0%}", [f"{forecast.targets:,.2f}" for forecast in pair])]
    rows += [("hours", [f"{forecast.hours:,.2f}" for forecast in pair])]
    if estimate.gpu.dollars:
        rows += [("dollars", [f"{forecast.dollars:,.2f}" for forecast in pair if forecast.dollars is not None])]
    return [f"{name:<20}{''.join(f'{value:>16}' for value in values)}" for name, values in rows]


def _foot(estimate: RunEstimate) -> list[str]:
    served, plain, shared = estimate.serving, estimate.plain, estimate.shared_prefix
    fewer = plain.work.tokens / shared.work.tokens
    lines = [] if plain.fits and shared.fits else [_needed(estimate)]
    if estimate.recipe.precision == "float32":
        lines.append("These rates are for bfloat16; arithmetic in float32 is much slower. Take model.precision=mixed.")
    lines += [
        f"Shared prefixes: {fewer:.2f} times fewer tokens, {shared.targets / plain.targets:.2f} times the targets per second, "
        f"if both reach {estimate.mfu:.0%}.",
        _disk(estimate),
    ]
    gpu = estimate.gpu.name
    if not served.concurrency:
        return [*lines, f"Served on one {gpu}: its bf16 weights leave no memory for a chat of {served.context} tokens."]
    return [
        *lines,
        f"Served on one {gpu}, bf16: {served.kv_bytes / 1024:.0f} KiB of cache per token, {served.concurrency} chats of "
        f"{served.context} tokens, at most {served.decode:,.0f} tokens/s generated and {served.prefill:,.0f} prefilled.",
    ]


def _disk(estimate: RunEstimate) -> str:
    """Return what checkpoints take on the disk: the trained weights and AdamW's two states of each, in their own precision."""
    recipe, total = estimate.recipe, estimate.weights.total
    size = 2 if recipe.precision == "bfloat16" and not recipe.rank else 4
    checkpoint = 3 * size * (estimate.adapters if recipe.rank else total)
    model = total * (4 if recipe.precision == "float32" else 2)
    return (
        f"On disk: {format_gigabytes(checkpoint)} GB a checkpoint, of which a run holds keep + 1, and "
        f"{format_gigabytes(model)} GB for the model."
    )


def _needed(estimate: RunEstimate) -> str:
    """Return how many GPUs would hold the run."""
    needs = [
        f"{name} needs {forecast.gpus_needed} GPUs that share the weights"
        if forecast.gpus_needed
        else f"{name} fits on no number of GPUs"
        for name, forecast in (("plain", estimate.plain), ("shared prefix", estimate.shared_prefix))
        if not forecast.fits
    ]
    if estimate.recipe.quantise:
        needs.append("a base in 4 bits must be complete on every GPU")
    return f"It does not fit in {USABLE:.0%} of the memory: {', '.join(needs)}."
