"""Save a scalar reward model as a folder with merged weights, and compare its scores with those of the model in memory."""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her.errors import HerError
from pipelines.models.atomic_folder import atomic_folder
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.merging import base_of, merged_weights
from pipelines.models.saving import complete_weights, require_equal
from pipelines.reward.scalar import HEAD
from pipelines.reward.scorer import ScalarScorer

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
EXACT, ROUNDED = 1e-4, 5e-2
"""Allowed difference of scores, relative to the largest: float32 on a CPU; bfloat16 or a GPU."""


def save_scalar(model: Any, template: ChatTemplate, folder: Path, *, card: str, probes: Sequence[Sequence[int]]) -> float:
    """Save the model to `folder` atomically; return the relative difference of the scores of `probes` after reading it back.

    Args:
        model: sequence classification model, with or without PEFT's wrapper; it stays unchanged.
        card: text of its README.md.
        probes: rows of token ids, such as some held-out candidates.

    Raises:
        HerError: no room on the disk, an incomplete model, or scores that differ. `folder` is then as before.
    """
    skeleton = _skeleton(model)
    weights = complete_weights(skeleton, _merged(model))
    with atomic_folder(folder) as part:
        # A copy: save_pretrained removes the entries of the dict it is given.
        skeleton.save_pretrained(part, state_dict=dict(weights))
        template.tokenizer.save_pretrained(part)
        (part / "README.md").write_text(card, "utf-8")
        difference = _compare(part, model, template, weights, probes)
    log.info("%s: saved, read back with a difference of %.1e", folder, difference)
    return difference


def _skeleton(model: Any) -> Any:
    """Return a model of the same class without weights and adapters."""
    import torch
    from transformers import AutoModelForSequenceClassification

    base = base_of(model)
    config = copy.deepcopy(base.config)
    with torch.device("meta"):
        dtype = base.get_input_embeddings().weight.dtype
        return AutoModelForSequenceClassification.from_config(config, dtype=dtype, attn_implementation="sdpa")


def _merged(model: Any) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the merged weights. PEFT keeps a head that is trained whole beside the original one; the trained one is taken."""
    for name, tensor in merged_weights(model):
        if name.startswith(f"{HEAD}.original_module."):
            continue
        if name.startswith(f"{HEAD}.modules_to_save."):
            name = f"{HEAD}.{name.rpartition('.')[2]}"
        yield name, tensor


def _compare(
    part: Path, model: Any, template: ChatTemplate, weights: "Mapping[str, torch.Tensor]", probes: Sequence[Sequence[int]]
) -> float:
    from transformers import AutoModelForSequenceClassification

    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        part, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if report["missing_keys"] or report["unexpected_keys"]:
        raise HerError(f"'{part.name}' was read back with other weights than were written; nothing was kept")
    require_equal(loaded.state_dict(), weights)
    device = next(model.parameters()).device
    before = ScalarScorer(model, template).score_ids(probes)
    after = ScalarScorer(loaded.to(device), ChatTemplate(str(part))).score_ids(probes)
    difference = relative_difference(before, after)
    exact = device.type == "cpu" and str(loaded.dtype) == "torch.float32"
    if not difference <= (EXACT if exact else ROUNDED):  # also true for NaN
        raise HerError(f"the reward model read back gives other scores than the one in memory ({difference:.1e} apart)")
    return difference


def relative_difference(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the largest difference of two lists of scores, relative to the largest score of the first."""
    largest = max((abs(score) for score in before), default=0.0)
    differences = [abs(first - second) for first, second in zip(before, after, strict=True)]
    if any(difference != difference for difference in differences):
        return float("nan")
    return max(differences, default=0.0) / max(largest, 1e-9)
