"""Choose which activations stay in memory for the backward pass.

    none    all of them
    light   outputs of matrix products and attention, and inputs of layers; norms, rotary embeddings and activation functions are
            recomputed, which takes little time. About half the memory when all weights are trained, less gain with adapters.
            (PyTorch's selective activation checkpointing.)
    full    inputs of layers only; their forward pass is recomputed, about a third more work. Least memory.

On a GPU the attention of shared prefixes is compiled and PyTorch cannot select operators inside compiled code, so `light`
recomputes it there. TRL's arguments turn on `full` (transformers' gradient checkpointing); `light` is turned on here.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEPT_OPERATORS = {
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::_scaled_mm",
    "aten::_grouped_mm",
    "her::joined_spans",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
}
"""Operators that are expensive to recompute: they multiply matrices. All others are bound by memory bandwidth."""


def enable_light_checkpointing(model: "PreTrainedModel") -> None:
    """Make a model use `light` checkpointing whenever it is in training mode."""
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    # transformers 5.17 has only the second name; 5.23 warns that it is deprecated.
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": partial(create_selective_checkpoint_contexts, _policy)})


def _policy(context: Any, operator: Any, *inputs: Any, **named: Any) -> Any:
    """Return PyTorch's policy for one operator of a layer."""
    from torch.utils.checkpoint import CheckpointPolicy

    return CheckpointPolicy.MUST_SAVE if _name(operator) in KEPT_OPERATORS else CheckpointPolicy.PREFER_RECOMPUTE


@cache
def _name(operator: Any) -> str:
    """Return the name without the overload, such as `aten::mm`."""
    return str(operator.name()).partition(".")[0]
