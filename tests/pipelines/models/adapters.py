"""Models with adapters, for tests of merging and saving."""

from pathlib import Path
from typing import Any

from pipelines.models.loading import load_model, lora_config
from pipelines.models.options import LoraOptions, ModelOptions

LORA = LoraOptions(rank=4, alpha=8)


def load_base(base: Path, tokenizer: Any, precision: str = "float32") -> Any:
    """Load the model of a folder on the CPU."""
    options = ModelOptions.model_validate({"base": str(base), "precision": precision})
    return load_model(options, LoraOptions(), tokenizer, "cpu")


def with_adapter(model: Any, **changes: Any) -> Any:
    """Return the model with an adapter that changes its output; `changes` are fields of PEFT's configuration."""
    import torch
    from peft import get_peft_model

    config = lora_config(LORA)
    for name, value in changes.items():
        setattr(config, name, value)
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:  # PEFT sets B to zero, so that a new adapter changes nothing
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) * 0.05)
    return adapted


def equal_weights(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether both state dicts hold the same tensors under the same names, bit for bit."""
    import torch

    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
