"""Merge a LoRA adapter into the weights of its base, layer by layer and out of place.

PEFT merges in place and subtracts the adapter again afterwards, which changes a bfloat16 base a little each time. Here the base
is only read. The sum is PEFT's own: the delta from its `get_delta_weight`, added in float32 and rounded once.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from her.errors import HerError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_PEFT_PREFIX = "base_model.model."
_FACTORS = ("lora_A", "lora_B")


def base_of(model: Any) -> "PreTrainedModel":
    """Return the transformers model inside PEFT's wrapper, or the model itself."""
    return model.get_base_model() if _has_adapter(model) else model


def adapter_of(model: Any) -> str:
    """Return the name of the one active adapter; empty for a model without adapters.

    Raises:
        HerError: several adapters are active, or one that is not LoRA.
    """
    if not _has_adapter(model):
        return ""
    names = model.active_adapters
    kinds = {str(model.peft_config[name].peft_type.value) for name in names}
    if len(names) != 1 or kinds != {"LORA"}:
        raise HerError(f"a checkpoint is made of one LoRA adapter, and {', '.join(names)} ({', '.join(kinds)}) are active")
    return str(names[0])


def merged_weights(model: Any, state: "Mapping[str, torch.Tensor] | None" = None) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield name and tensor of every weight of the model without adapters; the model in memory stays unchanged.

    Args:
        model: a transformers model, with or without PEFT's wrapper; unwrapped from DDP or FSDP.
        state: its full state dict when the model's own parameters are shards (FSDP2, ZeRO-3).

    Raises:
        HerError: an adapter that cannot be merged out of place.
    """
    import torch

    adapter, base = adapter_of(model), base_of(model)
    tensors = base.state_dict() if state is None else {name.removeprefix(_PEFT_PREFIX): tensor for name, tensor in state.items()}
    modules = dict(base.named_modules())
    with torch.no_grad():
        for name, tensor in tensors.items():
            if ".lora_" in name or ".weight." in name:
                continue  # an adapter's factors; a quantised weight's statistics
            owner, _, leaf = name.rpartition(".")
            weight = _dequantise(modules.get(owner), tensor, state) if leaf == "weight" else tensor
            if owner.endswith(".base_layer"):
                owner = owner.removesuffix(".base_layer")
                if leaf == "weight":
                    weight = _merge(modules[owner], owner, adapter, weight, tensors, state)
            yield f"{owner}.{leaf}" if owner else leaf, weight.detach()


def _has_adapter(model: Any) -> bool:
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def _merge(layer: Any, name: str, adapter: str, weight: "torch.Tensor", tensors: "Mapping[str, torch.Tensor]", state: Any) -> Any:
    """Return the layer's weight plus its adapter, in the weight's own dtype."""
    if layer.merged:
        raise HerError(f"the adapter of {name} is merged in place already; unmerge it, so that it is not added twice")
    if layer.lora_variant.get(adapter) is not None:
        # DoRA rescales the columns of the whole weight; PEFT's own function does it on a copy, but not from a state dict.
        if state is not None or not layer.use_dora.get(adapter):
            raise HerError(f"the adapter of {name} is a variant of LoRA that cannot be merged out of place; train plain LoRA")
        return layer.lora_variant[adapter].merge_safe(layer, adapter, weight.clone())
    adapter_keys = [key for key in tensors if key.startswith(f"{name}.lora_") and adapter in key.split(".")]
    if not adapter_keys:
        return weight
    factors = {side: tensors[key] for side in _FACTORS if (key := f"{name}.{side}.{adapter}.weight") in tensors}
    if len(factors) != len(adapter_keys) or weight.ndim != 2 or any(factor.ndim != 2 for factor in factors.values()):
        raise HerError(f"the adapter of {name} is not on a plain linear layer; adapt linear layers only")
    # get_delta_weight reads the factors from the layer, which may hold shards only: give it an object with the full factors.
    stand_in = SimpleNamespace(
        **{side: {adapter: SimpleNamespace(weight=factor.to(weight.device))} for side, factor in factors.items()},
        scaling=layer.scaling,
        fan_in_fan_out=layer.fan_in_fan_out,
    )
    delta = type(layer).get_delta_weight(stand_in, adapter)
    return (weight.float() + delta.float()).to(weight.dtype)


def _dequantise(module: Any, tensor: "torch.Tensor", state: Any) -> "torch.Tensor":
    """Return the numbers of a weight that is held in 4 bits; other weights unchanged."""
    weight = getattr(module, "weight", None)
    if getattr(weight, "quant_state", None) is None:
        return tensor
    if state is not None:
        raise HerError("a quantised base cannot be merged while it is sharded; train QLoRA on one GPU, or without quantise")
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(module)
