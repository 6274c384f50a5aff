"""A trained model as a folder that the playground and vLLM open: merged, in safetensors, with all that belongs to it.

It is read back from disk before it appears, and its answers are compared with those of the model in memory.
"""

import copy
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her.errors import HerError
from her.types import Value
from pipelines.models.card import adapter_card, licence_files, licence_of, model_card
from pipelines.models.disk import whole_folder
from pipelines.models.merging import adapter_of, base_of, merged_weights

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)
SAMPLING = {"do_sample": True, "temperature": 0.7, "top_p": 0.95}
"""Of a base that does not say how it is to be sampled: the playground's own."""
_PROBE = (
    ("system", "You are Ann, a baker in the old mill."),
    ("user", "Bell: May I come in?"),
    ("assistant", "Ann: Come in, the kettle is on."),
)
_EXACT, _ROUNDED = 1e-3, 5e-2
"""Of the largest logit: what float32 on one device may differ by, and what bfloat16, a GPU's own rounding or 4 bits may."""


class Saved(Value):
    """What was written.

    Args:
        folder: the model; `adapter` the adapter alone, None when all weights were trained or the base is kept nowhere.
        apart: largest difference between the logits of the model in memory and of the one read back, as a share of the
            largest logit; 0 where the model lies in shards, whose weights are compared bit by bit instead.
        weights: how many; `licence` as the card says it.
    """

    folder: Path
    adapter: Path | None
    apart: float
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
) -> Saved:
    """Write the model to `folder`, and the adapter of a LoRA to `adapter` beside it; each appears whole or not at all.

    Args:
        model: of transformers, with or without PEFT around it, unwrapped; it stays as it is, bit for bit.
        tokenizer: with its template; its end-of-sequence token ends a turn.
        base: folder or repository it was trained from; empty for random weights.
        licence: of the base; empty takes that of the base's own card.
        facts: for the card.
        state: the whole state dict when several processes trained; then only the first one calls this.

    Raises:
        HerError: there is no room left (the last good checkpoint is named), the adapter cannot be merged, `state` is not
            whole, or what was read back answers otherwise. `folder` is then as it was before.
    """
    licence = licence_of(base, licence)
    clean = _clean(model, tokenizer)
    held = _complete(clean, merged_weights(model, state))
    with whole_folder(folder) as part:
        # save_pretrained empties the dict it is given, shard by shard
        clean.save_pretrained(part, state_dict=dict(held))
        tokenizer.save_pretrained(part)
        _accompany(part, folder.name, base, model_card(folder.name, base, licence, facts, _shown(tokenizer), tokenizer.eos_token))
        apart = _read_back(part, model, tokenizer, held)
        adapter = _save_adapter(model, tokenizer, folder.with_name("adapter"), base, licence, state)
    log.info("%s: %.1f million weights, read back and %.1e apart", folder, clean.num_parameters() / 1e6, apart)
    return Saved(folder=folder, adapter=adapter, apart=apart, weights=clean.num_parameters(), licence=licence)


def _clean(model: Any, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """The model's own class without weights and adapters, with the stop token in its configs."""
    import torch
    from transformers import AutoModelForCausalLM

    base = base_of(model)
    config = copy.deepcopy(base.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.get_text_config().eos_token_id = tokenizer.eos_token_id
    config.get_text_config().pad_token_id = tokenizer.pad_token_id
    config.use_cache = True
    with torch.device("meta"):
        clean = AutoModelForCausalLM.from_config(config, dtype=_dtype(base), attn_implementation="sdpa")
    clean.generation_config = _generation(base.generation_config, tokenizer)
    return clean


def _dtype(base: "PreTrainedModel") -> "torch.dtype":
    """Of the weights that are saved: of the embeddings, which nothing quantises."""
    return base.get_input_embeddings().weight.dtype


def _device(model: Any) -> "torch.device":
    return base_of(model).get_input_embeddings().weight.device


def _generation(config: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> "GenerationConfig":
    """The base's, with the stop token first among those that end a reply, a pad token, and a way of sampling."""
    made = copy.deepcopy(config)
    ends = made.eos_token_id if isinstance(made.eos_token_id, list) else [made.eos_token_id]
    made.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *(end for end in ends if end is not None)]))
    made.pad_token_id = tokenizer.pad_token_id
    made._from_model_config = False
    if not made.do_sample:
        made.update(**SAMPLING)
    return made


def _complete(clean: "PreTrainedModel", weights: Any) -> "dict[str, torch.Tensor]":
    """The weights by name on the CPU, as many and of the shapes the clean model has; the second of two tied ones is left out.

    Raises:
        HerError: a weight is missing, too many, a shard, or not finite.
    """
    wanted = clean.state_dict()
    tied = set(clean.all_tied_weights_keys) if clean.config.get_text_config().tie_word_embeddings else set()
    held = {name: tensor.cpu() for name, tensor in weights if name not in tied}
    if odd := sorted((wanted.keys() - tied) ^ held.keys()):
        raise HerError(f"the model's weights do not make a whole checkpoint: {', '.join(odd[:3])} is missing or too many")
    import torch

    for name, tensor in held.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise HerError(f"{name} has numbers that are not finite; the training went astray, go back to an earlier checkpoint")
        if tensor.shape != wanted[name].shape:
            raise HerError(
                f"{name} has the shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}; gather the shards first"
            )
    return held


def _accompany(part: Path, name: str, base: str, card: str) -> None:
    """The card, and the licence files of a base that is a folder."""
    for path in licence_files(base):
        shutil.copyfile(path, part / path.name)
    (part / "README.md").write_text(card, "utf-8")


def _save_adapter(
    model: Any, tokenizer: "PreTrainedTokenizerBase", folder: Path, base: str, licence: str, state: Any
) -> Path | None:
    """The adapter in PEFT's format, with the base it goes onto; None when there is none, or its base is kept nowhere."""
    name = adapter_of(model)
    if not name or not base:
        return None
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = copy.deepcopy(model.peft_config[name])
    config.inference_mode, config.base_model_name_or_path = True, base
    factors = get_peft_model_state_dict(model, state_dict=state, adapter_name=name, save_embedding_layers=False)
    with whole_folder(folder) as part:
        save_file(
            {key: tensor.contiguous() for key, tensor in factors.items()},
            part / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        config.save_pretrained(part)
        tokenizer.save_pretrained(part)
        _accompany(part, folder.name, base, adapter_card(folder.name, base, licence))
    return folder


def _read_back(part: Path, model: Any, tokenizer: "PreTrainedTokenizerBase", held: "Mapping[str, torch.Tensor]") -> float:
    """Open what was written, compare it, and say how far its logits are from those in memory.

    Raises:
        HerError: weights are missing, differ, or answer otherwise; or the tokenizer reads otherwise.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = _room_for(held, model)
    written, report = AutoModelForCausalLM.from_pretrained(
        part, use_safetensors=True, trust_remote_code=False, output_loading_info=True, attn_implementation="sdpa"
    )
    if report["missing_keys"] or report["unexpected_keys"]:
        raise HerError(f"'{part.name}' was read back with other weights than were written; nothing was kept")
    found = written.state_dict()
    if other := [name for name, tensor in held.items() if not torch.equal(found[name], tensor.to(found[name].device))]:
        raise HerError(
            f"{other[0]} was read back with other numbers than were written; the disk may be failing, nothing was kept"
        )
    reread = AutoTokenizer.from_pretrained(part, trust_remote_code=False)
    ids = tokenizer.encode(_shown(tokenizer), add_special_tokens=False)
    if reread.encode(_shown(reread), add_special_tokens=False) != ids or reread.eos_token_id != tokenizer.eos_token_id:
        raise HerError("the tokenizer was read back otherwise than it was written; nothing was kept")
    if _sharded(model):
        return 0.0
    before, after = logits(model, ids), logits(written.to(device), ids)
    apart = _apart(before, after)
    exact = device == _device(model) and device.type == "cpu" and _dtype(base_of(model)) == torch.float32
    allowed = _EXACT if exact else _ROUNDED
    if apart > allowed and adapter_of(model):
        # rounding may be made large by sharp attention; a wrong sum is as far away as the base without its adapter
        with model.disable_adapter():
            allowed = max(allowed, _apart(before, logits(model, ids)) / 4)
    if not apart <= allowed:
        raise HerError(f"the model read back answers otherwise than the one in memory: {apart:.1e} apart, {allowed:.0e} at most")
    return apart


def _apart(before: "torch.Tensor", after: "torch.Tensor") -> float:
    """The largest difference as a share of the largest of `before`."""
    return float((before - after).abs().max() / before.abs().max().clamp_min(1e-9))


def logits(model: Any, ids: list[int]) -> "torch.Tensor":
    """Of one row, in float32 on the CPU, shape (tokens, vocabulary); the model's mode is as before afterwards."""
    import torch

    mode = model.training
    model.eval()
    # the trainer's wrapper computes in bfloat16, and what is compared are the weights
    forward = vars(model).get("_original_forward", model)
    try:
        with torch.no_grad():
            row = torch.tensor([ids], device=_device(model))
            return forward(input_ids=row, use_cache=False).logits[0].float().cpu()
    finally:
        model.train(mode)


def _shown(tokenizer: "PreTrainedTokenizerBase") -> str:
    """A chat as the template writes it."""
    return str(tokenizer.apply_chat_template([{"role": role, "content": text} for role, text in _PROBE], tokenize=False))


def _sharded(model: Any) -> bool:
    """Whether this process holds pieces of the weights only (FSDP2's DTensor, ZeRO-3's emptied parameters)."""
    return any(hasattr(weight, "placements") or hasattr(weight, "ds_id") for weight in model.parameters())


def _room_for(held: "Mapping[str, torch.Tensor]", model: Any) -> "torch.device":
    """Where the model that is read back is tried: beside the one in memory when there is room for both, else on the CPU."""
    import torch

    device = _device(model)
    if device.type != "cuda":
        return torch.device("cpu")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in held.values())
    return device if torch.cuda.mem_get_info(device)[0] > 1.2 * needed else torch.device("cpu")
