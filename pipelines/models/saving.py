"""Save a trained model as a folder that the playground and vLLM open: merged weights, tokenizer, template, configs, model card.

The folder is read back from disk before it takes its final name, and its logits are compared with those of the model in memory.
"""

import copy
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her.errors import HerError
from her.types import Value
from pipelines.models.atomic_folder import atomic_folder
from pipelines.models.loading import exact_attention
from pipelines.models.merging import adapter_of, base_of, merged_weights
from pipelines.models.model_card import adapter_card, licence_files, licence_of, model_card
from pipelines.models.response_template import with_template

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
SAMPLING = {"do_sample": True, "temperature": 0.7, "top_p": 0.95}
"""Sampling for a base whose generation config has none; the same as the playground's."""
_PROBE = (
    ("system", "You are Ann, a baker in the old mill."),
    ("user", "Bell: May I come in?"),
    ("assistant", "Ann: Come in, the kettle is on."),
)
_EXACT, _ROUNDED = 1e-3, 5e-2
"""Allowed difference of logits, relative to the largest: float32 on a CPU; bfloat16, a GPU or 4 bits."""


class Saved(Value):
    """Record of a saved model.

    Args:
        folder: folder of the model.
        adapter: folder of the adapter alone; None when all weights were trained, or when the base was random weights.
        difference: largest difference between logits in memory and read back, relative to the largest logit; 0 for a model in
            shards, whose weights are compared bit by bit instead.
        weights: number of weights.
        licence: licence in the model card.
    """

    folder: Path
    adapter: Path | None
    difference: float
    weights: int
    licence: str


def save(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    *,
    base: str,
    licence: str = "",
    facts: Mapping[str, Any],
    state: "Mapping[str, torch.Tensor] | None" = None,
    half: bool = False,
) -> Saved:
    """Save the model to `folder`, and a LoRA adapter to `adapter` beside it; both atomically.

    Args:
        model: a transformers model, with or without PEFT's wrapper, unwrapped from DDP or FSDP; it stays unchanged, bit for bit.
        tokenizer: with its chat template; its EOS token ends a turn.
        base: folder or repository that was trained from; empty for random weights.
        licence: licence of the base; empty takes it from the base's own model card.
        facts: facts of the run, for the model card.
        state: full state dict when the weights are sharded over processes; then only the main process calls this.
        half: save in bfloat16, in which `precision=mixed` computes; half the disk, and what a GPU serves.

    Raises:
        HerError: no room left on the disk (the last good checkpoint is named), the adapter cannot be merged, `state` is not
            complete, or the model read back gives other logits. `folder` is then as before.
    """
    licence = licence_of(base, licence)
    skeleton = _skeleton(model, tokenizer, half)
    weights = complete_weights(skeleton, merged_weights(model, state))
    if half:
        weights = {name: tensor.to(skeleton.dtype) if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    with atomic_folder(folder) as part:
        # A copy: save_pretrained removes the entries of the dict it is given, shard by shard.
        skeleton.save_pretrained(part, state_dict=dict(weights))
        with_template(tokenizer).save_pretrained(part)
        card = model_card(folder.name, base, licence, facts, _example_chat(tokenizer), tokenizer.eos_token)
        _write_card_and_licences(part, base, card)
        difference = _read_back(part, model, tokenizer, weights)
        adapter = _save_adapter(model, tokenizer, folder.with_name("adapter"), base, licence, state)
    count = skeleton.num_parameters()
    log.info("%s: %.1f million weights, read back with a difference of %.1e", folder, count / 1e6, difference)
    return Saved(folder=folder, adapter=adapter, difference=difference, weights=count, licence=licence)


def _skeleton(model: Any, tokenizer: "PreTrainedTokenizerBase", half: bool = False) -> "PreTrainedModel":
    """Return a model of the same class without weights and adapters, with the stop token in its configs."""
    import torch
    from transformers import AutoModelForCausalLM

    base = base_of(model)
    config = copy.deepcopy(base.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.get_text_config().eos_token_id = tokenizer.eos_token_id
    config.get_text_config().pad_token_id = tokenizer.pad_token_id
    config.use_cache = True  # training turned it off
    with torch.device("meta"):  # no memory: only names, shapes and configs are needed
        skeleton = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16 if half else _dtype(base), attn_implementation=exact_attention(config)
        )
    skeleton.generation_config = _generation_config(base.generation_config, tokenizer)
    return skeleton


def _dtype(base: "PreTrainedModel") -> "torch.dtype":
    """Return the dtype of the saved weights: that of the embeddings, which are never quantised."""
    dtype: torch.dtype = base.get_input_embeddings().weight.dtype
    return dtype


def _device(model: Any) -> "torch.device":
    device: torch.device = base_of(model).get_input_embeddings().weight.device
    return device


def _generation_config(config: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> "GenerationConfig":
    """Return the base's generation config with our stop token first, the pad token, and sampling turned on."""
    changed = copy.deepcopy(config)
    ends = changed.eos_token_id if isinstance(changed.eos_token_id, list) else [changed.eos_token_id]
    changed.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *(end for end in ends if end is not None)]))
    changed.pad_token_id = tokenizer.pad_token_id
    changed._from_model_config = False  # otherwise transformers derives it from the model's config again and drops the changes
    if not changed.do_sample:
        changed.update(**SAMPLING)
    return changed


def complete_weights(skeleton: "PreTrainedModel", weights: Any) -> "dict[str, torch.Tensor]":
    """Return the weights by name on the CPU; of two tied weights only the first, as safetensors stores them.

    Raises:
        HerError: a weight is missing, unexpected, a shard, or not finite.
    """
    import torch

    wanted = skeleton.state_dict()
    tied = set(skeleton.all_tied_weights_keys) if skeleton.config.get_text_config().tie_word_embeddings else set()
    tensors = {name: tensor.cpu() for name, tensor in weights if name not in tied}
    if odd := sorted((wanted.keys() - tied) ^ tensors.keys()):
        raise HerError(f"the model's weights are not a complete checkpoint: {', '.join(odd[:3])} is missing or unexpected")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise HerError(f"{name} has NaN or infinite numbers: the training diverged; go back to an earlier checkpoint")
        if tensor.shape != wanted[name].shape:
            raise HerError(
                f"{name} has the shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}; gather the shards first"
            )
    return tensors


def _write_card_and_licences(part: Path, base: str, card: str) -> None:
    for path in licence_files(base):
        shutil.copyfile(path, part / path.name)
    (part / "README.md").write_text(card, "utf-8")


def _save_adapter(
    model: Any, tokenizer: "PreTrainedTokenizerBase", folder: Path, base: str, licence: str, state: Any
) -> Path | None:
    """Save the adapter in PEFT's format with the name of its base; None without an adapter, or when there is no base."""
    name = adapter_of(model)
    if not name or not base:
        return None
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = copy.deepcopy(model.peft_config[name])
    config.inference_mode, config.base_model_name_or_path = True, base
    factors = get_peft_model_state_dict(model, state_dict=state, adapter_name=name, save_embedding_layers=False)
    with atomic_folder(folder) as part:
        save_file(
            {key: tensor.contiguous() for key, tensor in factors.items()},
            part / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        config.save_pretrained(part)
        tokenizer.save_pretrained(part)
        _write_card_and_licences(part, base, adapter_card(folder.name, base, licence))
    return folder


def _read_back(part: Path, model: Any, tokenizer: "PreTrainedTokenizerBase", weights: "Mapping[str, torch.Tensor]") -> float:
    """Load what was written, compare it with what is in memory, and return the relative difference of logits.

    Raises:
        HerError: weights are missing or differ, the tokenizer encodes differently, or the logits differ too much.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded, report = AutoModelForCausalLM.from_pretrained(
        part,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        attn_implementation=exact_attention(base_of(model).config),
    )
    if report["missing_keys"] or report["unexpected_keys"]:
        raise HerError(f"'{part.name}' was read back with other weights than were written; nothing was kept")
    require_equal(loaded.state_dict(), weights)
    reread = AutoTokenizer.from_pretrained(part, trust_remote_code=False)
    ids = tokenizer.encode(_example_chat(tokenizer), add_special_tokens=False)
    if reread.encode(_example_chat(reread), add_special_tokens=False) != ids or reread.eos_token_id != tokenizer.eos_token_id:
        raise HerError("the tokenizer that was read back encodes differently than the one written; nothing was kept")
    return 0.0 if _is_sharded(model) else _compare_logits(model, loaded, weights, ids)


def require_equal(found: "Mapping[str, torch.Tensor]", weights: "Mapping[str, torch.Tensor]") -> None:
    """Raise HerError unless every tensor that was read back equals the one written."""
    import torch

    if different := [name for name, tensor in weights.items() if not torch.equal(found[name], tensor.to(found[name].device))]:
        raise HerError(
            f"{different[0]} was read back with other numbers than were written; the disk may be failing, nothing was kept"
        )


def _compare_logits(model: Any, loaded: Any, weights: "Mapping[str, torch.Tensor]", ids: list[int]) -> float:
    """Return the relative difference of the logits of one chat; HerError when it is too large."""
    import torch

    device = _comparison_device(weights, model)
    before, after = logits(model, ids), logits(loaded.to(device), ids)
    difference = _relative_difference(before, after)
    same = {_dtype(base_of(model)), loaded.dtype} == {torch.float32}
    exact = device == _device(model) and device.type == "cpu" and same
    allowed = _EXACT if exact else _ROUNDED
    if difference > allowed and adapter_of(model):
        # Sharp attention can amplify rounding. A wrong merge is about as far away as the base without its adapter, so a quarter
        # of that distance still tells the two apart.
        with model.disable_adapter():
            allowed = max(allowed, _relative_difference(before, logits(model, ids)) / 4)
    if not difference <= allowed:  # also true for NaN
        raise HerError(
            f"the model read back gives other logits than the one in memory: {difference:.1e} apart, {allowed:.0e} allowed"
        )
    return difference


def _relative_difference(before: "torch.Tensor", after: "torch.Tensor") -> float:
    """Return the largest difference relative to the largest number of `before`."""
    return float((before - after).abs().max() / before.abs().max().clamp_min(1e-9))


def logits(model: Any, ids: list[int]) -> "torch.Tensor":
    """Return the logits of one row as float32 (tokens, vocabulary) on the CPU; the model's mode stays as before."""
    import torch

    training = model.training
    model.eval()
    # The trainer wraps `forward` to compute in bfloat16; the comparison is of weights, so it takes the original.
    forward = vars(model).get("_original_forward", model)
    try:
        with torch.no_grad():
            row = torch.tensor([ids], device=_device(model))
            output: torch.Tensor = forward(input_ids=row, use_cache=False).logits[0].float().cpu()
            return output
    finally:
        model.train(training)


def _example_chat(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a short chat as the template renders it."""
    return str(tokenizer.apply_chat_template([{"role": role, "content": text} for role, text in _PROBE], tokenize=False))


def _is_sharded(model: Any) -> bool:
    """Return whether this process holds shards only: FSDP2's DTensor has `placements`, ZeRO-3's parameters have `ds_id`."""
    return any(hasattr(weight, "placements") or hasattr(weight, "ds_id") for weight in model.parameters())


def _comparison_device(weights: "Mapping[str, torch.Tensor]", model: Any) -> "torch.device":
    """Return where the loaded model is compared: the GPU of the model in memory when both fit there, else the CPU."""
    import torch

    device = _device(model)
    if device.type != "cuda":
        return torch.device("cpu")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    return device if torch.cuda.mem_get_info(device)[0] > 1.2 * needed else torch.device("cpu")  # 20 % for activations
