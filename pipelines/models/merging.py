"""Weights of a model with its adapters added, layer by layer and out of place.

PEFT merges in place and takes the adapters out again, which moves a bfloat16 base a little each time; here the base is read only.
The sum is PEFT's own: the delta by its `get_delta_weight`, added in float32 and rounded once.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from her.errors import HerError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_WRAPPED = "base_model.model."
_SIDES = ("lora_A", "lora_B")


def base_of(model: Any) -> "PreTrainedModel":
    """The transformers model, which PEFT may have put its layers into."""
    return model.get_base_model() if _adapted(model) else model


def adapter_of(model: Any) -> str:
    """Name of the one active adapter; empty for a model without.

    Raises:
        HerError: several are active, or one of another kind than LoRA.
    """
    if not _adapted(model):
        return ""
    names = model.active_adapters
    kinds = {str(model.peft_config[name].peft_type.value) for name in names}
    if len(names) != 1 or kinds != {"LORA"}:
        raise HerError(f"a checkpoint is made of one LoRA adapter, and {', '.join(names)} ({', '.join(kinds)}) are active")
    return str(names[0])


def merged_weights(model: Any, state: "Mapping[str, torch.Tensor] | None" = None) -> "Iterator[tuple[str, torch.Tensor]]":
    """Name and tensor of every weight as a model without adapters has it; the model in memory stays as it is.

    Args:
        model: of transformers, with or without PEFT around it; unwrapped from DDP or FSDP.
        state: its whole state dict when its own parameters are shards (FSDP2, ZeRO-3).

    Raises:
        HerError: an adapter that cannot be merged out of place.
    """
    import torch

    adapter, base = adapter_of(model), base_of(model)
    held = base.state_dict() if state is None else {name.removeprefix(_WRAPPED): tensor for name, tensor in state.items()}
    modules = dict(base.named_modules())
    with torch.no_grad():
        for name, tensor in held.items():
            if ".lora_" in name or ".weight." in name:
                continue  # factors of an adapter; statistics of a quantised weight
            owner, _, leaf = name.rpartition(".")
            weight = _dequantised(modules.get(owner), tensor, state) if leaf == "weight" else tensor
            if owner.endswith(".base_layer"):
                owner = owner.removesuffix(".base_layer")
                if leaf == "weight":
                    weight = _merged(modules[owner], owner, adapter, weight, held, state)
            yield f"{owner}.{leaf}" if owner else leaf, weight.detach()


def _adapted(model: Any) -> bool:
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def _merged(layer: Any, name: str, adapter: str, weight: "torch.Tensor", held: "Mapping[str, torch.Tensor]", state: Any) -> Any:
    """The layer's weight with its adapter, in the weight's own type."""
    if layer.merged:
        raise HerError(f"the adapter of {name} is merged in place already; unmerge it, so that it is not added twice")
    if layer.lora_variant.get(adapter) is not None:
        if state is not None or not layer.use_dora.get(adapter):
            raise HerError(f"the adapter of {name} is a variant of LoRA that cannot be merged out of place; train plain LoRA")
        return layer.lora_variant[adapter].merge_safe(layer, adapter, weight.clone())
    own = [key for key in held if key.startswith(f"{name}.lora_") and adapter in key.split(".")]
    if not own:
        return weight
    factors = {side: held[key] for side in _SIDES if (key := f"{name}.{side}.{adapter}.weight") in held}
    if len(factors) != len(own) or weight.ndim != 2 or any(factor.ndim != 2 for factor in factors.values()):
        raise HerError(f"the adapter of {name} is not on a plain linear layer; adapt linear layers only")
    stand_in = SimpleNamespace(
        **{side: {adapter: SimpleNamespace(weight=factor.to(weight.device))} for side, factor in factors.items()},
        scaling=layer.scaling,
        fan_in_fan_out=layer.fan_in_fan_out,
    )
    delta = type(layer).get_delta_weight(stand_in, adapter)
    return (weight.float() + delta.float()).to(weight.dtype)


def _dequantised(module: Any, tensor: "torch.Tensor", state: Any) -> "torch.Tensor":
    """A weight held in 4 bits as the numbers it stands for, others as they are."""
    weight = getattr(module, "weight", None)
    if getattr(weight, "quant_state", None) is None:
        return tensor
    if state is not None:
        raise HerError("a quantised base cannot be merged while it is sharded; train QLoRA on one GPU, or without quantise")
    from peft.utils.integrations import dequantize_module_weight

    return dequantize_module_weight(module)
