"""Refuse a base that the settings do not fit, before anything is prepared: one sentence, with advice that works."""

import difflib
from pathlib import Path
from typing import Any

from her.deploy.checkpoints import weights_problem
from her.errors import InputError
from pipelines.models.loading import model_source, read_config
from pipelines.models.options import LoraOptions, ModelOptions

_PLAIN_KINDS = {"full_attention", "global", "attention"}
"""Kinds of layers, as configs of transformers name them, that shared prefixes can compute."""


def require_fit(model: ModelOptions, lora: LoraOptions, *, unshared: str = "") -> None:
    """Check base, adapters and layout against each other; reads the config and names of files only.

    Args:
        unshared: where rows with shared prefixes are trained, the setting that trains others, for the advice.

    Raises:
        InputError: weights that are missing or no weights; shared prefixes with an attention that cannot compute them; adapters
            of layers that are not there.
    """
    if not model.base:
        return
    source = Path(model_source(model))
    if source.is_dir() and (problem := weights_problem(source)):
        raise InputError(f"model.base '{model.base}': {problem}")
    config = read_config(model)
    if unshared and (feature := unshared_feature(config)):
        raise InputError(
            f"model.base '{model.base}' has {feature}, which rows with shared prefixes do not compute; set {unshared}"
        )
    if lora.rank and "all-linear" not in lora.targets:
        _require_targets(model, lora, config)


def unshared_feature(config: Any) -> str:
    """Return what of a model's attention shared prefixes cannot compute; empty when they can."""
    if getattr(config, "attn_logit_softcapping", None):
        return f"soft-capped attention scores (attn_logit_softcapping={config.attn_logit_softcapping})"
    kinds = set(getattr(config, "layer_types", None) or ()) - _PLAIN_KINDS
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" in kinds or (window and not getattr(config, "layer_types", None) and _uses_window(config)):
        return f"layers with a sliding window of {window} tokens"
    return f"layers of the kind {sorted(kinds)[0]}" if kinds else ""


def _uses_window(config: Any) -> bool:
    """Return whether a window that is configured is used: Qwen has a switch for it."""
    return bool(getattr(config, "use_sliding_window", True))


def _require_targets(model: ModelOptions, lora: LoraOptions, config: Any) -> None:
    """Raise InputError for a name in `lora.targets` that no linear layer of the model has."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):  # names only
        skeleton = AutoModelForCausalLM.from_config(config)
    names = [name for name, module in skeleton.named_modules() if isinstance(module, torch.nn.Linear)]
    ends = {name.rpartition(".")[2] for name in names} - {"lm_head"}
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            near = difflib.get_close_matches(target, ends, 1, 0.3)
            there = f"{repr(near[0]) + ' is near; ' if near else ''}it has {', '.join(sorted(ends))}"
            raise InputError(f"lora.targets names {target!r}, and '{model.base}' has no such linear layer: {there}")


def require_launcher(state: Any, device: str) -> None:
    """Refuse several GPUs in one process: the trainer would copy the model to each, which neither rows nor sums here expect.

    Args:
        state: accelerate's `PartialState`.
    """
    import torch

    if device == "cuda" and state.num_processes == 1 and (count := torch.cuda.device_count()) > 1:
        raise InputError(
            f"{count} GPUs are visible and no launcher was used; start with `accelerate launch --config_file "
            "pipelines/configs/accelerate/fsdp2_node.yaml -m pipelines...`, or set CUDA_VISIBLE_DEVICES=0 for one GPU"
        )
