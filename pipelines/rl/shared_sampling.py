"""Sample the answers of groups with transformers such that every prompt is read once: its cache is repeated for the answers."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


def generate_groups(model: Any, prompts: Sequence[Sequence[int]], size: int, config: "GenerationConfig") -> "list[list[int]]":
    """Return one answer for each prompt, its stop token included, with the numbers that transformers would draw.

    Args:
        model: a causal language model of transformers or PEFT.
        prompts: token ids; the prompt of a group stands `size` times, one after the other.
        size: answers of a group.
        config: sampling settings with pad and stop tokens.
    """
    import torch

    distinct = [list(prompt) for prompt, _ in groupby(prompts)]
    repeats = size if len(distinct) * size == len(prompts) else 1
    if repeats == 1:  # two groups of one prompt side by side
        distinct = [list(prompt) for prompt in prompts]
    device = next(model.parameters()).device
    ids, mask = padded(distinct, config.pad_token_id, device)
    training = model.training
    model.eval()  # no dropout: an answer is drawn from the policy itself
    try:
        with torch.no_grad():
            cache = _read(model, ids, mask) if ids.shape[1] > 1 else None
            if cache is not None:
                cache.batch_repeat_interleave(repeats)
            ids, mask = ids.repeat_interleave(repeats, dim=0), mask.repeat_interleave(repeats, dim=0)
            drawn = model.generate(input_ids=ids, attention_mask=mask, past_key_values=cache, generation_config=config)
    finally:
        model.train(training)
    stops = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return [_cut(row, stops) for row in drawn[:, ids.shape[1] :].tolist()]


def padded(prompts: Sequence[Sequence[int]], pad: int, device: Any) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return token ids, padded on the left, and the mask of those that count."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


def _read(model: Any, ids: "torch.Tensor", mask: "torch.Tensor") -> Any:
    """Return the cache of all tokens but the last, from which generation goes on."""
    from transformers import DynamicCache

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    cache = DynamicCache(config=base.config)
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # as `generate` counts them
    base.base_model(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=positions[:, :-1],
        past_key_values=cache,
        use_cache=True,
    )
    return cache


def _cut(row: Sequence[int], stops: Sequence[int]) -> list[int]:
    """Return an answer up to and with its first stop token."""
    ends = [place for place, token in enumerate(row) if token in stops]
    return list(row[: ends[0] + 1] if ends else row)
