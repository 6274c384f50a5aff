"""An estimate for people and for programs: both layouts side by side, or one JSON object."""

import json

from her.capacity.gpus import USABLE
from pipelines.sft.estimate.settings import RunEstimate

LAYOUTS = ("plain", "shared_prefix")


def as_json(made: RunEstimate) -> str:
    """One JSON object, with the sums that a reader would make."""
    told = made.model_dump(mode="json")
    told["weights"]["total"] = made.weights.total
    for layout in LAYOUTS:
        told[layout]["memory"]["total"] = getattr(made, layout).memory.total
    return json.dumps(told, indent=2) + "\n"


def table(made: RunEstimate) -> str:
    """For people: what was asked, both layouts side by side, and what the model could answer when it is served."""
    return "\n".join([*_head(made), "", *_rows(made), "", *_foot(made)]) + "\n"


def _head(made: RunEstimate) -> list[str]:
    weights, recipe, load = made.weights, made.recipe, made.load
    how = f"adapters of rank {recipe.rank} ({_count(made.adapters)})" if recipe.rank else "all weights trained"
    head = f"head {_count(weights.head)}" if weights.head else "head tied"
    held = f"{recipe.precision}{', base in NF4' if recipe.quantise else ''}{', master copy' if recipe.master else ''}"
    cards = f"{recipe.gpus} x {made.gpu.name}" if recipe.gpus > 1 else made.gpu.name
    return [
        f"model    {made.base}: {_count(weights.total)} weights (embedding {_count(weights.embedding)}, attention "
        f"{_count(weights.attention)}, MLP {_count(weights.mlp)}, {head})",
        f"recipe   {how}, {held}, {recipe.checkpointing} checkpointing",
        f"cards    {cards}, each {made.gpu.memory / 1e9:.0f} GB, {made.gpu.flops / 1e12:.0f} TFLOP/s bf16, "
        f"{made.gpu.bandwidth / 1e12:.2f} TB/s{', sharing the weights' if recipe.gpus > 1 and not recipe.quantise else ''}",
        f"samples  {load.targets:,} targets in {load.trees:,} trunks, {made.counted}",
    ]


def _rows(made: RunEstimate) -> list[str]:
    pair = (made.plain, made.shared_prefix)
    parts = ("weights", "gradients", "states", "master", "copies", "activations", "head")
    rows = [("", ["plain", "shared prefix"])]
    rows += [("tokens", [_count(each.work.tokens) for each in pair])]
    rows += [("targets a step", [f"{made.step[name]:,.1f}" for name in ("plain", "shared_prefix")])]
    rows += [("targets in the run", [f"{each.target_reads:,}" for each in pair])]
    rows += [("pairs of attention", [_count(each.work.pairs) for each in pair])]
    rows += [("FLOP", [_count(each.flops) for each in pair])]
    rows += [("tokens at once", [f"{each.tokens_at_once:,}" for each in pair])]
    rows += [(f"GB {part}", [_gigabytes(getattr(each.memory, part)) for each in pair]) for part in parts]
    rows += [("GB in all", [_gigabytes(each.memory.total) for each in pair])]
    rows += [("fits", ["yes" if each.fits else "no" for each in pair])]
    rows += [("tokens/s, ceiling", [f"{each.ceiling:,.0f}" for each in pair])]
    rows += [(f"tokens/s at {made.mfu:.0%}", [f"{each.expected:,.0f}" for each in pair])]
    rows += [(f"targets/s at {made.mfu:.0%}", [f"{each.targets:,.2f}" for each in pair])]
    rows += [("hours", [f"{each.hours:,.2f}" for each in pair])]
    rows += [("dollars", [f"{each.dollars:,.2f}" for each in pair if each.dollars is not None])] if made.gpu.dollars else []
    return [f"{name:<20}{''.join(f'{value:>16}' for value in values)}" for name, values in rows]


def _foot(made: RunEstimate) -> list[str]:
    served, plain, shared = made.serving, made.plain, made.shared_prefix
    fewer = plain.work.tokens / shared.work.tokens
    lines = [] if plain.fits and shared.fits else [_needed(made)]
    if made.recipe.precision == "float32":
        lines.append("Arithmetic in float32 does not come near these rates, which are of bfloat16; take model.precision=mixed.")
    lines += [
        f"Shared prefixes: {fewer:.2f} times fewer tokens, {shared.targets / plain.targets:.2f} times the targets a second, "
        f"if both reach {made.mfu:.0%}."
    ]
    if not served.concurrency:
        return [*lines, f"Served on one {made.gpu.name}: its bf16 weights leave no room for a chat of {served.context} tokens."]
    return [
        *lines,
        f"Served on one {made.gpu.name}, bf16: {served.kv_bytes / 1024:.0f} KiB of cache a token, {served.concurrency} chats of "
        f"{served.context} tokens, at most {served.decode:,.0f} tokens/s written and {served.prefill:,.0f} read.",
    ]


def _needed(made: RunEstimate) -> str:
    """What would hold it."""
    told = [
        f"{name} needs {each.gpus_needed} cards that share the weights"
        if each.gpus_needed
        else f"{name} fits on no number of cards"
        for name, each in (("plain", made.plain), ("shared prefix", made.shared_prefix))
        if not each.fits
    ]
    if made.recipe.quantise:
        told.append("a base in 4 bits lies whole on every card")
    return f"It does not fit in {USABLE:.0%} of the memory: {', '.join(told)}."


def _count(number: float) -> str:
    for size, unit in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return f"{number:.0f}"


def _gigabytes(amount: float) -> str:
    return f"{amount / 1e9:,.2f}"
