"""What a fine-tuning run takes, before it is started: arithmetic, memory, time and money. Pure; no torch.

Conventions, which tests/capacity/test_training_cost.py holds against the table of our study and against what runs measured:

- Work counts multiplications with weights (2 FLOPs a weight and token) and the pairs of attention that are needed (4 FLOPs a
  pair and unit of query width, in every layer). Looking up an embedding is free, so of an untied model the embedding is not
  counted; with N for all other weights this is the familiar 6 N a token, 8 N with checkpointing, 4 N and 6 N with adapters.
- A backward pass takes twice the forward's, half of it for the weights' own gradients, which frozen weights do not have.
  Full checkpointing repeats the forward of the layers (PyTorch leaves out the last matrix of each, at most 6 %; counted all the
  same). The head is computed at trained tokens alone and again in the backward
  pass, since its logits are never kept whole (TRL's chunked head).
- Expected is the ceiling times a share (MFU, 40 % where nobody says otherwise) that is taken to hold for both layouts and to
  contain what sharding costs.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from her.capacity.shapes import Gpu, Shape, adapted, adapter, layer_weights, multiplied, parameters
from her.types import Value

Precision = Literal["float32", "bfloat16", "mixed"]
Checkpointing = Literal["none", "light", "full"]
USABLE = 0.9
"""Share of a card's memory that is planned with; the rest is for the CUDA context, fragments and buffers."""
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight in NF4: 4 bits, a byte for each block of 64, and 4 bytes for 256 of these (double quantisation)."""
MOST_CARDS = 1024
TILE = (4096, 32768)
"""Tokens and vocabulary of the logits that exist at once in TRL's chunked head."""
KV_BYTES = 2
"""Of one number in a key-value cache in bfloat16."""


class Recipe(Value):
    """How a model is trained.

    Args:
        precision: of weights and arithmetic, as in the settings of a run.
        master: whether bfloat16 weights have a float32 copy and float32 states beside them, as DeepSpeed keeps them.
        rank: of adapters; 0 trains all weights. `targets` are the matrices that get one.
        quantise: `nf4` holds the matrices of the layers in 4 bits.
        checkpointing: which activations are kept: all (`none`), what matrices and attention return (`light`), or the inputs of
            layers (`full`).
        compiled: whether attention is compiled, as shared prefixes have it on a GPU: then `light` computes it again.
        chunked_head: whether logits are computed in tiles at trained tokens, and again in the backward pass.
        gpus: cards that share weights, gradients and states (FSDP2, ZeRO-3); of a base in 4 bits each has all.
    """

    precision: Precision = "bfloat16"
    master: bool = False
    rank: int = Field(default=0, ge=0)
    targets: tuple[str, ...] = ("all-linear",)
    quantise: Literal["", "nf4"] = ""
    checkpointing: Checkpointing = "full"
    compiled: bool = False
    chunked_head: bool = True
    gpus: int = Field(default=1, ge=1)


class Work(Value):
    """Tokens read, of these trained, and (asking, asked) pairs of tokens in each head's attention."""

    tokens: int = 0
    trained: int = 0
    pairs: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(tokens=self.tokens + other.tokens, trained=self.trained + other.trained, pairs=self.pairs + other.pairs)

    def times(self, factor: float) -> "Work":
        """So many times the work."""
        return Work(tokens=round(self.tokens * factor), trained=round(self.trained * factor), pairs=round(self.pairs * factor))


class BranchLengths(NamedTuple):
    """A target that leaves its trunk after `fork` tokens and has `length` of its own, of which the last `trained` are it."""

    fork: int
    length: int
    trained: int


class TreeLengths(NamedTuple):
    """A history of `trunk` tokens, read once, and the targets that branch off it."""

    trunk: int
    branches: tuple[BranchLengths, ...]


def causal(tokens: int) -> int:
    """Pairs of a causal sequence: every token sees itself and all before it."""
    return tokens * (tokens + 1) // 2


def plain(samples: Iterable[tuple[int, int]]) -> Work:
    """The work of one row a target; samples as tokens of prompt and target."""
    work = Work()
    for prompt, target in samples:
        work += Work(tokens=prompt + target, trained=target, pairs=causal(prompt + target))
    return work


def shared(trees: Iterable[TreeLengths]) -> Work:
    """The work of the same targets as branches: each sees its part of the trunk and itself."""
    work = Work()
    for tree in trees:
        own = sum(branch.length for branch in tree.branches)
        pairs = causal(tree.trunk) + sum(branch.length * branch.fork + causal(branch.length) for branch in tree.branches)
        work += Work(tokens=tree.trunk + own, trained=sum(branch.trained for branch in tree.branches), pairs=pairs)
    return work


class Load(Value):
    """What is learned in one epoch, in both layouts.

    Args:
        targets: turns that are trained; `trees` the trunks they share.
        longest: tokens of the longest sample.
    """

    targets: int
    trees: int
    longest: int
    plain: Work
    shared: Work


def load(trees: Sequence[TreeLengths], copies: float = 1) -> Load:
    """The load of these trees, so many times over: a branch's prompt is its fork and what it has of its own before the target."""
    whole = [(b.fork + b.length - b.trained, b.trained) for tree in trees for b in tree.branches]
    return Load(
        targets=round(len(whole) * copies),
        trees=round(len(trees) * copies),
        longest=max((prompt + target for prompt, target in whole), default=0),
        plain=plain(whole).times(copies),
        shared=shared(trees).times(copies),
    )


def flops(shape: Shape, work: Work, recipe: Recipe) -> float:
    """FLOPs of one forward and backward pass over this work."""
    again = 2 * (recipe.checkpointing == "full")
    own = 2 * (not recipe.rank)
    layers = (4 + own + again) * shape.layers * layer_weights(shape)
    layers += (6 + again) * adapter(shape, recipe.rank, recipe.targets)
    head = (4 + own + 2 * recipe.chunked_head) * shape.vocabulary * shape.hidden
    attended = 2 * (recipe.checkpointing == "full" or (recipe.checkpointing == "light" and recipe.compiled))
    attention = (6 + attended) * 2 * shape.layers * shape.queries
    return float(layers * work.tokens + head * work.trained + attention * work.pairs)


class Memory(Value):
    """Bytes on each card, by part.

    Args:
        weights: adapters among them; `gradients`, `states` (both moments of AdamW) and `master` of what is trained.
        copies: weights a second time: gathered from the other cards, in the precision of the arithmetic, or out of 4 bits.
        activations: kept for the backward pass; with checkpointing the inputs of all layers and the inside of one.
        head: logits that exist at once, hidden states of trained tokens, and the head's own gradient in float32.
    """

    weights: float
    gradients: float
    states: float
    master: float
    copies: float
    activations: float
    head: float

    @property
    def total(self) -> float:
        """All of them; no attention mask is ever written out."""
        parts = (self.weights, self.gradients, self.states, self.master, self.copies, self.activations, self.head)
        return sum(parts)


def memory(shape: Shape, recipe: Recipe, tokens: int, trained: int) -> Memory:
    """Bytes on each card at the peak of a step that reads `tokens` at once, `trained` of them to be predicted."""
    frozen, trained_width = _widths(recipe)
    total = parameters(shape).total
    shared_by = 1 if recipe.quantise else recipe.gpus
    extra = adapter(shape, recipe.rank, recipe.targets)
    learned = extra if recipe.rank else total
    mastered = recipe.master and not recipe.rank
    return Memory(
        weights=(_base(shape, recipe, frozen) + learned * trained_width) / shared_by,
        gradients=learned * trained_width / shared_by,
        states=learned * (8 if mastered else 2 * trained_width) / shared_by,
        master=learned * 4 / shared_by if mastered else 0,
        copies=_copies(shape, recipe),
        activations=_activations(shape, recipe, tokens),
        head=_head(shape, recipe, trained),
    )


def _widths(recipe: Recipe) -> tuple[int, int]:
    """Bytes of a frozen weight and of a trained one, which AdamW's moments and the gradient have as well.

    PEFT trains adapters in float32, TRL those of a 4-bit base in bfloat16; FSDP2 under accelerate trains in float32 whatever
    the weights were.
    """
    frozen = 2 if recipe.precision == "bfloat16" else 4
    if recipe.rank:
        return frozen, 2 if recipe.quantise else 4
    return frozen, 4 if recipe.gpus > 1 and not recipe.master else frozen


def _base(shape: Shape, recipe: Recipe, width: int) -> float:
    """Bytes of the weights that are not trained."""
    total = parameters(shape).total
    if not recipe.rank:
        return 0
    matrices = shape.layers * layer_weights(shape) if recipe.quantise else 0
    return matrices * NF4 + (total - matrices) * width


def _arithmetic(recipe: Recipe) -> int:
    return 4 if recipe.precision == "float32" else 2


def _copies(shape: Shape, recipe: Recipe) -> float:
    """Weights that are there a second time.

    Sharded: two layers at once (one is fetched ahead), the gradients of one, and embedding and head, which are in use from
    the first to the last. On one card autocast keeps bfloat16 copies of trained matrices to the end of the forward pass, and
    without any checkpointing of all matrices to the backward pass.
    """
    width, layer = _arithmetic(recipe), layer_weights(shape)
    if recipe.gpus > 1 and not recipe.quantise:
        own = 0 if recipe.rank else layer
        return float(width * (2 * layer + own + shape.vocabulary * shape.hidden * (1 if shape.tied else 2)))
    if recipe.quantise:
        return float(width * max(rows * columns for rows, columns in shape.linears().values()))
    if recipe.precision != "mixed":
        return 0.0
    return float(width * layer * (1 if recipe.rank and recipe.checkpointing != "none" else shape.layers))


def _activations(shape: Shape, recipe: Recipe, tokens: int) -> float:
    """As the modules of transformers keep them without fused kernels, with an attention that keeps no weights.

    A norm keeps its input in float32, what it is before its weight, and the matrices behind it their own input. Adapters on
    frozen matrices keep about as much.
    """
    width = _arithmetic(recipe)
    stream = 2 if recipe.precision == "bfloat16" else 4
    cast = width if stream != width or width == 2 else 4
    norms = 2 * shape.hidden * (4 + stream + cast)
    inner = (4 + stream) * (shape.queries + shape.keys) * shape.head_norms
    attention = inner + width * (2 * shape.queries + 2 * shape.keys) + 4 * shape.heads
    mlp = 4 * width * shape.intermediate
    layer = norms + attention + mlp
    if recipe.checkpointing == "none":
        return float(tokens * shape.layers * layer)
    kept = stream * shape.hidden + (_returned(shape, recipe) if recipe.checkpointing == "light" else 0)
    return float(tokens * (shape.layers * kept + layer))


def _returned(shape: Shape, recipe: Recipe) -> int:
    """Bytes a token that the matrices of a layer return, those of adapters among them, and its attention."""
    attention = 0 if recipe.compiled else _arithmetic(recipe) * shape.queries + 4 * shape.heads
    columns = sum(out for _, out in shape.linears().values())
    beside = sum(recipe.rank + out for _, out in adapted(shape, recipe.targets)) if recipe.rank else 0
    return _arithmetic(recipe) * (columns + beside) + attention


def _head(shape: Shape, recipe: Recipe, trained: int) -> float:
    width = _arithmetic(recipe)
    table = 0 if recipe.rank else shape.vocabulary * shape.hidden * 4
    if not recipe.chunked_head:
        return float(trained * shape.vocabulary * (width + 8))
    tile = min(trained, TILE[0]) * min(shape.vocabulary, TILE[1]) * width
    return float(tile + trained * shape.hidden * (width + 4) + table)


class TrainingForecast(Value):
    """What a run takes in one layout.

    Args:
        work: of the whole run; `flops` of it. `read` target turns in it, each counted as often as it is read.
        tokens_at_once: on each card, in one forward pass.
        memory: on each card at the peak; `fits` when that is at most USABLE of the card's.
        cards: the fewest that hold it when they share the weights; None when no number does.
        ceiling: tokens a second on all cards at the data sheet's rate; `expected` with the share that is reached.
        targets: of the run, a second, expected.
        hours: expected, of the whole run; `dollars` None where no price was given.
    """

    work: Work
    read: int
    flops: float
    tokens_at_once: int
    memory: Memory
    fits: bool
    cards: int | None
    ceiling: float
    expected: float
    targets: float
    hours: float
    dollars: float | None


def forecast(
    shape: Shape, card: Gpu, recipe: Recipe, work: Work, *, targets: int, at_once: int, mfu: float = 0.4
) -> TrainingForecast:
    """The run that does this work.

    Args:
        work: of all epochs; `targets` the target turns in it, each counted as often as it is read.
        at_once: tokens of one forward pass on a card.
    """
    arithmetic = flops(shape, work, recipe)
    rate = card.flops * recipe.gpus
    seconds = arithmetic / (rate * mfu)
    trained = math.ceil(at_once * work.trained / max(work.tokens, 1))
    needed = memory(shape, recipe, at_once, trained)
    return TrainingForecast(
        work=work,
        read=targets,
        flops=arithmetic,
        tokens_at_once=at_once,
        memory=needed,
        fits=needed.total <= USABLE * card.memory,
        cards=cards_needed(shape, card, recipe, at_once, trained),
        ceiling=work.tokens * rate / arithmetic if arithmetic else 0,
        expected=work.tokens / seconds if seconds else 0,
        targets=targets / seconds if seconds else 0,
        hours=seconds / 3600,
        dollars=seconds / 3600 * recipe.gpus * card.dollars if card.dollars else None,
    )


def cards_needed(shape: Shape, card: Gpu, recipe: Recipe, tokens: int, trained: int) -> int | None:
    """The fewest cards that hold such a step when they share the weights; None when MOST_CARDS do not."""
    for gpus in range(1, 2 if recipe.quantise else MOST_CARDS + 1):
        asked = recipe.model_copy(update={"gpus": gpus})
        if memory(shape, asked, tokens, trained).total <= USABLE * card.memory:
            return gpus
    return None


class ServingEstimate(Value):
    """What one card can answer at most, weights and cache in bfloat16; vLLM reaches 50 to 65 % of `decode`.

    Args:
        kv_bytes: of the cache, a token.
        concurrency: chats of `context` tokens at once in USABLE of the memory.
        decode: tokens a second that are written, all chats together; `prefill` that are read, attention left out.
    """

    context: int
    kv_bytes: int
    concurrency: int
    decode: float
    prefill: float


def serving(shape: Shape, card: Gpu, context: int) -> ServingEstimate:
    """Ceilings of one card: a step of decoding reads all weights and every chat's cache, or is bound by its arithmetic."""
    weights = 2 * parameters(shape).total
    cache = 2 * shape.layers * shape.keys * KV_BYTES
    chats = max(0, math.floor((USABLE * card.memory - weights) / (context * cache)))
    arithmetic = 2 * multiplied(shape)
    step = max((weights + chats * context * cache) / card.bandwidth, arithmetic * chats / card.flops)
    return ServingEstimate(
        context=context, kv_bytes=cache, concurrency=chats, decode=chats / step, prefill=card.flops / arithmetic if chats else 0
    )
