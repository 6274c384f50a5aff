"""Estimate arithmetic, time and money of a fine-tuning run before it starts. Pure arithmetic; no torch.

How FLOPs are counted:

- A weight costs 2 FLOPs per token in the forward pass (one multiplication, one addition). The backward pass costs twice the
  forward: once for the gradient of the input, once for the gradient of the weight. A frozen weight has no gradient of its own.
  With N weights that makes the familiar 6 N per token (Kaplan et al., arXiv 2001.08361), 4 N for frozen weights under adapters;
  full checkpointing repeats the forward of the layers and adds 2 N.
- Attention costs 4 FLOPs per pair and unit of query width in every layer (scores and weighted sum), twice that backward.
- Looking up an embedding costs nothing. The head is computed for trained tokens only; with TRL's fused head its forward runs
  again in the backward pass, because the logits are never kept whole.
- PyTorch leaves out the last matrix of a layer when it repeats the layer for full checkpointing (at most 6 % of the repeat). The
  estimate counts it.

Speed is the data sheet's rate times MFU, the share of the rate that a run reaches (Chowdhery et al., PaLM, arXiv 2204.02311,
appendix B). 40 % is assumed unless the caller says otherwise; the share also covers the cost of communication between GPUs.
"""

import math

from her.capacity.gpus import USABLE, Gpu
from her.capacity.recipe import Recipe
from her.capacity.shapes import Shape, count_adapter, count_layer_weights
from her.capacity.training_memory import Memory, estimate_memory
from her.capacity.work import Work
from her.types import Value

MOST_GPUS = 1024
"""Largest number of GPUs that `gpus_needed` tries."""


class TrainingForecast(Value):
    """Cost of one run in one row layout.

    Args:
        work: of the whole run, all epochs.
        target_reads: target turns in `work`; a target counts once per epoch.
        flops: of the whole run.
        tokens_at_once: on each GPU, in one forward pass.
        memory: on each GPU at the peak of a step.
        fits: `memory` is at most the USABLE share of the GPU's.
        gpus_needed: the fewest GPUs that hold a step when they share the weights; None when MOST_GPUS do not.
        ceiling: tokens per second on all GPUs at the data sheet's rate.
        expected: tokens per second at the given MFU.
        targets: target turns per second at the given MFU.
        hours: of the whole run at the given MFU.
        dollars: of the whole run; None where the GPU has no price.
    """

    work: Work
    target_reads: int
    flops: float
    tokens_at_once: int
    memory: Memory
    fits: bool
    gpus_needed: int | None
    ceiling: float
    expected: float
    targets: float
    hours: float
    dollars: float | None


def count_flops(shape: Shape, work: Work, recipe: Recipe) -> float:
    """Return the FLOPs of one forward and backward pass over `work`."""
    repeated = 2 * (recipe.checkpointing == "full")
    weight_gradient = 2 * (not recipe.rank)
    # 4 = 2 forward + 2 for the gradient of the input.
    layers = (4 + weight_gradient + repeated) * shape.layers * count_layer_weights(shape)
    # Adapters are always trained: 2 forward + 4 backward.
    layers += (6 + repeated) * count_adapter(shape, recipe.rank, recipe.targets)
    head = (4 + weight_gradient + 2 * recipe.chunked_head) * shape.vocabulary * shape.hidden
    attention_repeated = recipe.checkpointing == "full" or (recipe.checkpointing == "light" and recipe.compiled)
    # Two products of width `queries` per pair: scores and weighted sum.
    attention = (6 + 2 * attention_repeated) * 2 * shape.layers * shape.queries
    return float(layers * work.tokens + head * work.trained + attention * work.pairs)


def count_forward_flops(shape: Shape, work: Work) -> float:
    """Return the FLOPs of one forward pass over `work`, such as for log-probabilities of a reference model."""
    layers = 2 * shape.layers * count_layer_weights(shape) * work.tokens
    head = 2 * shape.vocabulary * shape.hidden * work.trained
    return float(layers + head + 4 * shape.layers * shape.queries * work.pairs)


def forecast_training(
    shape: Shape, gpu: Gpu, recipe: Recipe, work: Work, *, targets: int, at_once: int, mfu: float = 0.4
) -> TrainingForecast:
    """Return the cost of a run.

    Args:
        work: of all epochs.
        targets: target turns in `work`; a target counts once per epoch.
        at_once: tokens of one forward pass on one GPU.
        mfu: share of the data sheet's rate that is reached, in (0, 1].
    """
    flops = count_flops(shape, work, recipe)
    rate = gpu.flops * recipe.gpus
    seconds = flops / (rate * mfu)
    # A pass has as large a share of trained tokens as the whole run.
    trained = math.ceil(at_once * work.trained / max(work.tokens, 1))
    memory = estimate_memory(shape, recipe, at_once, trained)
    return TrainingForecast(
        work=work,
        target_reads=targets,
        flops=flops,
        tokens_at_once=at_once,
        memory=memory,
        fits=memory.total <= USABLE * gpu.memory,
        gpus_needed=gpus_needed(shape, gpu, recipe, at_once, trained),
        ceiling=work.tokens * rate / flops if flops else 0,
        expected=work.tokens / seconds if seconds else 0,
        targets=targets / seconds if seconds else 0,
        hours=seconds / 3600,
        dollars=seconds / 3600 * recipe.gpus * gpu.dollars if gpu.dollars else None,
    )


def gpus_needed(shape: Shape, gpu: Gpu, recipe: Recipe, tokens: int, trained: int) -> int | None:
    """Return the fewest GPUs that hold such a step when they share the weights; None when MOST_GPUS do not."""
    most = 1 if recipe.quantise else MOST_GPUS  # a 4-bit base is never shared, so more GPUs do not help
    for count in range(1, most + 1):
        sharing = recipe.model_copy(update={"gpus": count})
        if estimate_memory(shape, sharing, tokens, trained).total <= USABLE * gpu.memory:
            return count
    return None
