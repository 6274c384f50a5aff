"""Estimate memory, tokens a second, hours and money of a fine-tuning run, in both layouts, without starting it."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from her import paths
from her.capacity import shapes
from her.capacity.gpus import Gpu, find_gpu
from her.capacity.recipe import Recipe
from her.capacity.serving_cost import estimate_serving
from her.capacity.shapes import Shape
from her.capacity.training_cost import forecast_training
from her.capacity.work import BranchLengths, TreeLengths, sum_load
from her.errors import InputError
from her.tokens import estimate_tokens
from her.types import Message, Sample
from pipelines.models import prefix_tree as prefix
from pipelines.models.options import ModelOptions
from pipelines.models.prefix_tree import Encoded, Ids, trees
from pipelines.sft.estimate.settings import EstimateOptions, EstimateSettings, RunEstimate
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.rows import keyed, row_tokens

log = logging.getLogger("estimate")


class Found(NamedTuple):
    """Trees of one epoch, so many times over, and how their tokens were counted."""

    trees: list[TreeLengths]
    copies: float
    counted: str


def estimate(options: EstimateOptions) -> RunEstimate:
    """Reckon with a run.

    Raises:
        InputError: a base or card that is not known, or samples that are not there and not described.
    """
    asked = options.estimate
    shape, card = shape_of(options.model), card_of(asked)
    recipe = Recipe(
        precision=options.model.precision,
        master=asked.master and options.model.precision == "bfloat16",
        rank=options.lora.rank,
        targets=options.lora.targets,
        quantise=options.lora.quantise,
        checkpointing=options.checkpointing,
        gpus=asked.gpus,
    )
    found = described(options) if asked.targets else counted(options)
    load = sum_load(found.trees, found.copies)
    steps, made = {}, {}
    for layout, work in zip(("plain", "shared_prefix"), (load.plain, load.shared), strict=True):
        one_each = layout == "plain" and not options.packing
        steps[layout] = options.batch if one_each else _step(options, load.targets, work.tokens)
        epochs = options.steps * steps[layout] / load.targets if options.steps else options.epochs
        made[layout] = forecast_training(
            shape,
            card,
            recipe.model_copy(update={"compiled": layout == "shared_prefix"}),
            work.times(epochs),
            targets=round(load.targets * epochs),
            at_once=options.rows * (load.longest if one_each else row_tokens(options)),
            mfu=asked.mfu,
        )
    return RunEstimate(
        base=options.model.base or "random weights",
        shape=shape,
        weights=shapes.count_parameters(shape),
        adapters=shapes.count_adapter(shape, options.lora.rank, options.lora.targets),
        recipe=recipe,
        gpu=card,
        mfu=asked.mfu,
        counted=found.counted,
        load=load,
        step=steps,
        serving=estimate_serving(shape, card, asked.context),
        **made,
    )


def _step(options: EstimateOptions, targets: int, tokens: int) -> float:
    """Target turns of one step where a row holds several: whole rows, at least one on every device."""
    in_row = targets / max(tokens / row_tokens(options), 1)
    at_once = in_row * options.rows * options.estimate.gpus
    return at_once * max(round(options.batch / at_once), 1)


def shape_of(model: ModelOptions) -> Shape:
    """The shape of what is trained, found on this machine.

    Raises:
        InputError: a folder without config.json, or a repository that is neither known by name nor in the cache.
    """
    if not model.base:
        given = model.shape.model_dump(exclude={"context", "reading", "noise"})
        return Shape(**given, tied=True, head_norms=True)
    folder = paths.expanded(model.base)
    if folder.is_dir():
        return _read_shape(folder / "config.json", f"model.base '{model.base}'")
    if known := shapes.find_shape(model.base):
        return known
    if cached := _cached(model, "config.json"):
        return _read_shape(cached, f"model.base '{model.base}'")
    raise InputError(
        f"model.base '{model.base}' is no folder here, not in the cache and not known by name; "
        f"known are {', '.join(f'Qwen/{name}' for name in shapes.SHAPES)}"
    )


def _read_shape(path: Path, source: str) -> Shape:
    try:
        told = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{source} has no config.json that can be read ({error.strerror}); give a model's folder") from error
    except ValueError as error:
        raise InputError(f"{source}: config.json is not JSON ({error}); give a model's folder") from error
    return shapes.shape_from_config(told, source)


def _cached(model: ModelOptions, name: str) -> Path | None:
    """A file of a repository that was fetched before; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(model.base, name, revision=model.revision or None)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def card_of(asked: EstimateSettings) -> Gpu:
    """The card, with the price and what else was said of it."""
    said = {
        "memory": asked.memory * 1e9,
        "flops": asked.tflops * 1e12,
        "bandwidth": asked.bandwidth * 1e12,
        "dollars": asked.dollars,
    }
    given = {name: value for name, value in said.items() if value}
    if given.keys() >= {"memory", "flops", "bandwidth"}:
        return Gpu(name=asked.gpu, **given)
    try:
        return find_gpu(asked.gpu).model_copy(update=given)
    except InputError as error:
        raise InputError(
            f"estimate.gpu: {error}; of another give estimate.memory, estimate.tflops and estimate.bandwidth"
        ) from error


def described(options: EstimateOptions) -> Found:
    """Samples that are not at hand, as the words describe them."""
    asked = options.estimate
    samples = [
        Encoded("", np.arange(prompt, dtype=np.int32), np.zeros(target, dtype=np.int32))
        for prompt, target in asked.conversation()
    ]
    told = f"as described: {asked.turns} targets a conversation and character, {asked.between} tokens apart"
    return Found(_grown(samples, options), asked.targets / asked.turns, told)


def counted(options: EstimateOptions) -> Found:
    """Samples that are at hand, counted.

    Raises:
        InputError: a file is not there, or all samples are too long.
    """
    from pipelines.sft.rows.reading import learned_files, read_samples

    if missing := [path for path in learned_files(options.samples) if not path.exists()]:
        raise InputError(
            f"samples: '{missing[0]}' is not here; make it (her run synthesize), copy it, or describe the samples: "
            "estimate.targets=340000 estimate.prompt_tokens=2600 estimate.target_tokens=700 estimate.turns=4"
        )
    samples, _ = read_samples(options.samples, options.seed)
    how, pairs = _tokens(options, samples)
    encoded = keyed(samples, pairs)
    fitting = [each for each in encoded if len(each.prompt) + len(each.target) <= options.samples.most_tokens]
    if not fitting:
        raise InputError(f"every sample is longer than samples.most_tokens={options.samples.most_tokens}; raise it")
    left = len(encoded) - len(fitting)
    told = f"{how}, {left} of {len(encoded)} samples left out as longer than {options.samples.most_tokens}" if left else how
    return Found(_grown(fitting, options), 1, told)


def _grown(samples: Sequence[Encoded], options: TrainingOptions) -> list[TreeLengths]:
    """The trees that training would make of these samples, as lengths."""
    return [tree_of(tree) for tree in trees(samples, row_tokens(options))]


def tree_of(tree: prefix.Tree) -> TreeLengths:
    """The lengths of a tree."""
    branches = (BranchLengths(each.fork, len(each.ids), len(each.ids) - each.trained) for each in tree.branches)
    return TreeLengths(len(tree.trunk), tuple(branches))


def _tokens(options: TrainingOptions, samples: Sequence[Sample]) -> tuple[str, list[tuple[Ids, Ids]]]:
    """How tokens were counted, and the ids of prompt and target of every sample; made up where they are only estimated."""
    try:
        from pipelines.models.loading import load_tokenizer
        from pipelines.models.template import ChatTemplate

        if (model := _local(options.model)) is None:
            reason = f"the tokenizer of {options.model.base} is not on this machine"
        else:
            texts = (message.content for sample in samples for message in sample.messages)
            template = ChatTemplate(load_tokenizer(model, texts))
            return "counted with the model's own tokenizer", template.pairs(samples)
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed"
    return f"estimated from their letters: {reason}", list(_estimated(samples))


def _local(model: ModelOptions) -> ModelOptions | None:
    """The model's options with a base that needs no network; None where there is none."""
    if not model.base or paths.expanded(model.base).is_dir():
        return model
    cached = _cached(model, "tokenizer.json")
    return model.model_copy(update={"base": str(cached.parent), "revision": ""}) if cached else None


def _estimated(samples: Iterable[Sample]) -> Iterator[tuple[Ids, Ids]]:
    """Made-up ids of the estimated number: one id for all tokens of a message, so that equal messages are equal ids."""
    known: dict[Message, int] = {}
    for sample in samples:
        pieces = [
            np.full(estimate_tokens([message]), known.setdefault(message, len(known)), dtype=np.int32)
            for message in sample.messages
        ]
        yield np.concatenate(pieces[:-1]), pieces[-1]
