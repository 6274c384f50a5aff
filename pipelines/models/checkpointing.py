"""Which activations are kept for the backward pass: all, those that are dear to compute again, or the inputs of layers alone.

    none    all of them
    light   what matrices and attention return, and the inputs of layers; norms, rotations and activation functions are computed
            again, which costs hardly any time: about half the memory where all weights are trained, less of a gain with adapters
            (selective activation checkpointing of PyTorch)
    full    the inputs of layers; their forward pass is computed again, a third more work: the least memory

On a GPU the attention of shared prefixes is compiled, and PyTorch does not look into what is compiled: there `light` computes it
again. `none` and `full` are transformers' own, and TRL's arguments ask for them; `light` is asked of the model, here.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_DEAR = {
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
"""Operators that multiply matrices; all others only read and write what is there."""


def keep_dear(model: "PreTrainedModel") -> None:
    """Make a model checkpoint its activations in the light way, whenever it is in training mode."""
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    # transformers 5.17 knows the second name alone, 5.23 warns of it
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": partial(create_selective_checkpoint_contexts, _choose)})


def _choose(context: Any, operator: Any, *inputs: Any, **named: Any) -> Any:
    """What PyTorch asks about every operator of a layer."""
    from torch.utils.checkpoint import CheckpointPolicy

    return CheckpointPolicy.MUST_SAVE if _name(operator) in _DEAR else CheckpointPolicy.PREFER_RECOMPUTE


@cache
def _name(operator: Any) -> str:
    """Such as `aten::mm`, of whatever overload."""
    return str(operator.name()).partition(".")[0]
