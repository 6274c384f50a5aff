"""Count the tokens of one epoch, of samples on disk or of samples that are only described, as trees of shared prefixes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from her.capacity.work import BranchLengths, TreeLengths
from her.deploy.hub.bases import local_base
from her.errors import InputError
from her.tokens import estimate_tokens
from her.types import Message, Sample
from pipelines.models.model_shape import cached_file
from pipelines.models.options import ModelOptions
from pipelines.models.prefix_tree import Encoded, Ids, Tree, grow_trees
from pipelines.sft.estimate.settings import EstimateOptions
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.rows import row_tokens, with_keys


class CountedTrees(NamedTuple):
    """Trees of a part of one epoch, how many such parts an epoch has, and how their tokens were counted."""

    trees: list[TreeLengths]
    copies: float
    method: str


def describe_trees(options: EstimateOptions) -> CountedTrees:
    """Return the trees of one conversation as `estimate.*` describes it; an epoch has many of it."""
    settings = options.estimate
    # All prompts are prefixes of one sequence 0, 1, 2, ..., as those of a conversation are; only lengths matter.
    samples = [
        Encoded("", np.arange(prompt, dtype=np.int32), np.zeros(target, dtype=np.int32))
        for prompt, target in settings.conversation()
    ]
    method = f"as described: {settings.turns} targets a conversation and character, {settings.between} tokens apart"
    return CountedTrees(_tree_lengths(samples, options), settings.targets / settings.turns, method)


def count_trees(options: EstimateOptions) -> CountedTrees:
    """Return the trees of the samples on disk.

    Raises:
        InputError: a file is missing, or all samples are too long.
    """
    # Imported late: described samples need neither pyarrow nor the personas.
    from pipelines.sft.rows.sample_files import read_samples, training_files

    if missing := [path for path in training_files(options.samples) if not path.exists()]:
        raise InputError(
            f"samples: '{missing[0]}' does not exist; make it (her run synthesize), copy it, or describe the samples: "
            "estimate.targets=340000 estimate.prompt_tokens=2600 estimate.target_tokens=700 estimate.turns=4"
        )
    samples, _ = read_samples(options.samples, options.seed)
    method, pairs = _encode(options, samples)
    most = options.samples.most_tokens
    encoded = with_keys(samples, pairs)
    fitting = [sample for sample in encoded if len(sample.prompt) + len(sample.target) <= most]
    if not fitting:
        raise InputError(f"every sample is longer than samples.most_tokens={most}; raise it")
    if dropped := len(encoded) - len(fitting):
        method = f"{method}, {dropped} of {len(encoded)} samples left out as longer than {most}"
    return CountedTrees(_tree_lengths(fitting, options), 1, method)


def tree_lengths(tree: Tree) -> TreeLengths:
    """Return the lengths of a tree."""
    branches = (BranchLengths(branch.fork, len(branch.ids), len(branch.ids) - branch.trained) for branch in tree.branches)
    return TreeLengths(len(tree.trunk), tuple(branches))


def _tree_lengths(samples: Sequence[Encoded], options: TrainingOptions) -> list[TreeLengths]:
    return [tree_lengths(tree) for tree in grow_trees(samples, row_tokens(options))]


def _encode(options: TrainingOptions, samples: Sequence[Sample]) -> tuple[str, list[tuple[Ids, Ids]]]:
    """Return how tokens were counted, and ids of prompt and target of every sample; made-up ids without a tokenizer."""
    try:
        from pipelines.models.chat_template import ChatTemplate
        from pipelines.models.loading import load_tokenizer

        if (model := _local_model(options.model)) is None:
            reason = f"the tokenizer of {options.model.base} is not on this machine"
        else:
            texts = (message.content for sample in samples for message in sample.messages)
            template = ChatTemplate(load_tokenizer(model, texts))
            return "counted with the model's own tokenizer", template.pairs(samples)
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed"
    return f"estimated from the number of characters: {reason}", list(_estimated_ids(samples))


def _local_model(model: ModelOptions) -> ModelOptions | None:
    """Return model settings whose base needs no network; None when the tokenizer was never downloaded."""
    if not model.base or local_base(model.base).is_dir():
        return model
    cached = cached_file(model, "tokenizer.json")
    return model.model_copy(update={"base": str(cached.parent), "revision": ""}) if cached else None


def _estimated_ids(samples: Iterable[Sample]) -> Iterator[tuple[Ids, Ids]]:
    """Yield ids in the estimated number: one id for all tokens of a message, so that equal messages have equal ids."""
    ids: dict[Message, int] = {}
    for sample in samples:
        pieces = [
            np.full(estimate_tokens([message]), ids.setdefault(message, len(ids)), dtype=np.int32) for message in sample.messages
        ]
        yield np.concatenate(pieces[:-1]), pieces[-1]
