"""Estimate the memory of one training step on each GPU, part by part. Pure arithmetic; no torch.

The parts are those of Rajbhandari et al., "ZeRO" (arXiv 1910.02054): weights, gradients, optimizer states, activations. The
activation formula follows the modules of transformers 5 (Qwen3, Qwen2, Llama, Mistral) without fused kernels, with an attention
that does not write the score matrix (FlashAttention, arXiv 2205.14135).

tests/capacity/test_training_memory.py compares the formulas with tensors that PyTorch really keeps: weights, gradients and
states exactly, activations within 10 %, light checkpointing within 2 %.
"""

from her.capacity.recipe import Recipe
from her.capacity.shapes import Shape, adapted_matrices, count_adapter, count_layer_weights, count_parameters
from her.types import Value

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight in NF4 with double quantisation (QLoRA, section 3): 4 bits, one byte of scale per block of 64 weights, and one
float32 per 256 of these scales."""
TILE = (4096, 32768)
"""Tokens and vocabulary entries of the logits that exist at once: TOKEN_CHUNK_SIZE of trl.kernels.chunked_logprob and
_CHUNKED_LOGPROB_CHUNK_SIZE of trl.trainer.utils, TRL 1.16."""


class Memory(Value):
    """Bytes on each GPU at the peak of a step, by part.

    Args:
        weights: of the model and its adapters.
        gradients: of the trained weights.
        states: both moments of AdamW.
        master: float32 copies of bfloat16 weights.
        copies: weights that exist a second time: gathered from other GPUs, cast for autocast, or unpacked from 4 bits.
        activations: kept for the backward pass. With checkpointing: the inputs of all layers and the inside of one layer.
        head: logits that exist at once, hidden states of trained tokens, and the head's own float32 gradient.
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
        """The sum of all parts."""
        parts = (self.weights, self.gradients, self.states, self.master, self.copies, self.activations, self.head)
        return sum(parts)


def estimate_memory(shape: Shape, recipe: Recipe, tokens: int, trained: int) -> Memory:
    """Return the bytes on each GPU for a step that reads `tokens` at once, `trained` of them with a loss."""
    frozen_bytes, trained_bytes = _weight_bytes(recipe)
    sharing = 1 if recipe.quantise else recipe.gpus
    learned = count_adapter(shape, recipe.rank, recipe.targets) if recipe.rank else count_parameters(shape).total
    has_master = recipe.master and not recipe.rank
    # AdamW has two moments per trained weight, in the weight's own type; beside a float32 master copy they are float32.
    state_bytes = 8 if has_master else 2 * trained_bytes
    return Memory(
        weights=(_frozen_weights(shape, recipe, frozen_bytes) + learned * trained_bytes) / sharing,
        gradients=learned * trained_bytes / sharing,
        states=learned * state_bytes / sharing,
        master=learned * 4 / sharing if has_master else 0,
        copies=_second_copies(shape, recipe),
        activations=_activations(shape, recipe, tokens),
        head=_head(shape, recipe, trained),
    )


def _weight_bytes(recipe: Recipe) -> tuple[int, int]:
    """Return the bytes of a frozen and of a trained weight; gradient and moments have the type of the trained weight.

    PEFT 0.21 creates adapters in float32 (`autocast_adapter_dtype`); TRL 1.16 casts those of a 4-bit base to bfloat16. With FSDP2
    accelerate 1.15 upcasts all trained weights to float32 (accelerate.utils.fsdp_utils), whatever type they were loaded in.
    """
    frozen = 2 if recipe.precision == "bfloat16" else 4
    if recipe.rank:
        return frozen, 2 if recipe.quantise else 4
    return frozen, 4 if recipe.gpus > 1 and not recipe.master else frozen


def _frozen_weights(shape: Shape, recipe: Recipe, frozen_bytes: int) -> float:
    """Return the bytes of the weights that are not trained; 0 where all are."""
    if not recipe.rank:
        return 0
    # bitsandbytes quantises the linear layers; embedding, head and norms stay as they are.
    quantised = shape.layers * count_layer_weights(shape) if recipe.quantise else 0
    return quantised * NF4 + (count_parameters(shape).total - quantised) * frozen_bytes


def _compute_bytes(recipe: Recipe) -> int:
    """Return the bytes of one number in a matrix product."""
    return 4 if recipe.precision == "float32" else 2


def _second_copies(shape: Shape, recipe: Recipe) -> float:
    """Return the bytes of weights that exist a second time during a step."""
    compute, layer = _compute_bytes(recipe), count_layer_weights(shape)
    if recipe.gpus > 1 and not recipe.quantise:
        # FSDP gathers the layer it computes and prefetches the next one. Full training also holds one layer's unsharded
        # gradients. Embedding and head are gathered from the first to the last moment of the step.
        gradients = 0 if recipe.rank else layer
        ends = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
        return float(compute * (2 * layer + gradients + ends))
    if recipe.quantise:
        # bitsandbytes unpacks one matrix at a time; the largest decides.
        return float(compute * max(rows * columns for rows, columns in shape.linears().values()))
    if recipe.precision != "mixed":
        return 0.0
    # Autocast caches a bfloat16 copy of every trained float32 matrix until the forward pass ends. Frozen matrices are not
    # cached, but without checkpointing autograd keeps each copy for the backward pass.
    layers = 1 if recipe.rank and recipe.checkpointing != "none" else shape.layers
    return float(compute * layer * layers)


def _activations(shape: Shape, recipe: Recipe, tokens: int) -> float:
    """Return the bytes that autograd keeps between forward and backward pass.

    Adapters on frozen matrices keep about as much as trained matrices do, so they are not counted apart.
    """
    stream = _stream_bytes(recipe)
    layer = _layer_activations(shape, recipe)
    if recipe.checkpointing == "none":
        return float(tokens * shape.layers * layer)
    # Each layer keeps its input; during the backward pass one layer at a time is computed again in full.
    kept = stream * shape.hidden + (_kept_by_light(shape, recipe) if recipe.checkpointing == "light" else 0)
    return float(tokens * (shape.layers * kept + layer))


def _stream_bytes(recipe: Recipe) -> int:
    """Return the bytes of one number of the residual stream; autocast leaves it in float32."""
    return 2 if recipe.precision == "bfloat16" else 4


def _layer_activations(shape: Shape, recipe: Recipe) -> int:
    """Return the bytes per token that the inside of one layer keeps."""
    compute, stream = _compute_bytes(recipe), _stream_bytes(recipe)
    # Two RMSNorms per layer. Each keeps its input as float32 (4), the normalised value before its weight (stream), and the
    # matrices behind it keep their common input (compute).
    norms = 2 * shape.hidden * (4 + stream + compute)
    # Qwen3 also normalises queries and keys per head: a float32 input and the normalised value.
    head_norms = (4 + stream) * (shape.queries + shape.keys) * shape.head_norms
    # Attention keeps queries, keys, values, its result (input of o_proj), and one float32 log-sum-exp per head.
    attention = compute * (2 * shape.queries + 2 * shape.keys) + 4 * shape.heads
    # The gated MLP keeps gate, up, the activated gate, and their product (input of down_proj).
    mlp = 4 * compute * shape.intermediate
    return norms + head_norms + attention + mlp


def _kept_by_light(shape: Shape, recipe: Recipe) -> int:
    """Return the bytes per token and layer that light checkpointing keeps: results of matrix products and of attention."""
    compute = _compute_bytes(recipe)
    # PyTorch's selective checkpointing cannot look into a compiled attention, which is therefore computed again.
    attention = 0 if recipe.compiled else compute * shape.queries + 4 * shape.heads
    columns = sum(out for _, out in shape.linears().values())
    # An adapter has two matrix products: down to the rank and up to the width of its matrix.
    adapters = sum(recipe.rank + out for _, out in adapted_matrices(shape, recipe.targets)) if recipe.rank else 0
    return compute * (columns + adapters) + attention


def _head(shape: Shape, recipe: Recipe, trained: int) -> float:
    """Return the bytes of logits and of what the loss needs.

    Without tiles: logits, their float32 copy and its gradient. With tiles: one tile of logits, hidden states of trained tokens
    with a float32 gradient, and the head's gradient, which TRL adds up in float32.
    """
    compute = _compute_bytes(recipe)
    if not recipe.chunked_head:
        return float(trained * shape.vocabulary * (compute + 4 + 4))
    tile = min(trained, TILE[0]) * min(shape.vocabulary, TILE[1]) * compute
    weight_gradient = 0 if recipe.rank else shape.vocabulary * shape.hidden * 4
    return float(tile + trained * shape.hidden * (compute + 4) + weight_gradient)
