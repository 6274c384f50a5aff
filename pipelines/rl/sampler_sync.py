"""Keep the sampler and the policy one model: send adapters alone, measure what a merge would lose, compare log-probabilities.

A merge into bfloat16 keeps a base of sigma .02 exact but loses a small update: of a delta of sigma 1e-5 about 90 % (relative
error of the update that arrives), of 1e-4 about a third, of 1e-3 three in a hundred. So a merge is measured and refused above
`MOST_LOST`, and a canary compares the log-probabilities of fixed tokens on both sides with an adapter that was changed on
purpose: a sampler that ignores the adapter, or got another one, shows before the first step.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from her.errors import HerError
from pipelines.models.merging import adapter_of, base_of

log = logging.getLogger(__name__)
MOST_LOST = 0.1
"""Relative error of an update above which its merge is refused."""
MOST_GAP = 1e-3
"""Mean difference of log-probabilities in float32 above which the sampler is another model."""
PERTURBATION = 0.02
"""Deviation of the noise that the canary adds to the adapters' second factors."""


class Sampler(Protocol):
    """The sampling side of an adapter."""

    def load_adapter(self, adapter: bytes) -> None:
        """Use the adapter from now on; its tensors as safetensors."""

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Return the log-probability of every token but the first."""


def adapter_bytes(model: Any) -> bytes:
    """Return the adapter's tensors as safetensors; the base is neither read nor written."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    tensors = get_peft_model_state_dict(model, adapter_name=adapter_of(model), save_embedding_layers=False)
    found: bytes = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()})
    return found


def load_adapter(model: Any, adapter: bytes) -> None:
    """Put the tensors of `adapter_bytes` into the adapter of a model.

    Raises:
        HerError: they are of another adapter.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load

    found = set_peft_model_state_dict(model, load(adapter), adapter_name=adapter_of(model))
    missing = [name for name in found.missing_keys if ".lora_" in name]
    if missing or found.unexpected_keys:
        name = (missing or found.unexpected_keys)[0]
        raise HerError(
            f"the adapter that was sent does not fit the sampler's, such as at '{name}'; start both with one lora.rank"
        )


def token_logprobs(model: Any, ids: Sequence[int]) -> list[float]:
    """Return the log-probability of every token but the first, computed in float32."""
    import torch

    with torch.no_grad():
        row = torch.tensor([list(ids)], device=next(model.parameters()).device)
        logits = model(input_ids=row, use_cache=False).logits[0, :-1].float()
        found: list[float] = logits.log_softmax(-1).gather(1, row[0, 1:, None])[:, 0].tolist()
    return found


def update_lost(model: Any, dtype: Any) -> float:
    """Return the relative error of the update that arrives when the adapter is merged into a base of `dtype`; 0 without one."""
    import torch

    base = base_of(model)
    before = {name.replace(".base_layer", ""): weight for name, weight in base.state_dict().items() if ".lora_" not in name}
    with torch.no_grad():
        wanted = lost = 0.0
        for module_name, module in base.named_modules():
            if not hasattr(module, "get_delta_weight") or not hasattr(module, "lora_A"):
                continue
            delta = module.get_delta_weight(adapter_of(model)).double()
            weight = before[f"{module_name}.weight"].to(dtype)
            arrived = (weight.float() + delta.float()).to(dtype).double() - weight.double()
            wanted += float(delta.square().sum())
            lost += float((arrived - delta).square().sum())
    return float((lost / wanted) ** 0.5) if wanted else 0.0


def require_mergeable(model: Any, dtype: Any, most: float = MOST_LOST) -> float:
    """Return the share of the update that a merge loses.

    Raises:
        HerError: it is above `most`, so a sampler with merged weights would not be the policy.
    """
    lost = update_lost(model, dtype)
    if lost > most:
        raise HerError(
            f"merging the adapter into {str(dtype).removeprefix('torch.')} would change its update by {lost:.0%} (at most "
            f"{most:.0%}): the sampler would not be the policy. Send the adapter alone, sample with transformers "
            "(rollout.sampler=transformers), or hold the base in float32"
        )
    return lost


@contextmanager
def perturbed(model: Any, deviation: float = PERTURBATION, seed: int = 0) -> Iterator[None]:
    """Add noise to the adapters' second factors while the block runs; they are bit for bit as before afterwards."""
    import torch

    factors = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    before = [factor.detach().clone() for factor in factors]
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for factor in factors:
            factor.add_(deviation * torch.randn(factor.shape, generator=dice).to(factor))
    try:
        yield
    finally:
        with torch.no_grad():
            for factor, kept in zip(factors, before, strict=True):
                factor.copy_(kept)


def check_sampler(model: Any, sampler: Sampler, ids: Sequence[int], most: float = MOST_GAP) -> float:
    """Compare log-probabilities of fixed tokens on both sides with a perturbed adapter; return the mean gap.

    The sampler has the adapter without noise afterwards.

    Raises:
        HerError: the gap is above `most`, or the noise changes nothing, so that the canary would see nothing.
    """
    plain = token_logprobs(model, ids)
    with perturbed(model):
        sampler.load_adapter(adapter_bytes(model))
        own, other = token_logprobs(model, ids), sampler.logprobs(ids)
    sampler.load_adapter(adapter_bytes(model))
    gap, moved = mean_gap(own, other), mean_gap(own, plain)
    if gap > most:
        raise HerError(
            f"the sampler's log-probabilities are {gap:.1e} from the policy's on average (at most {most:.0e}; the noise moved "
            f"them by {moved:.1e}): it does not use the adapter that it was sent; restart it from the same base"
        )
    if moved <= most:
        raise HerError(f"the canary's noise moves log-probabilities by {moved:.1e} only, so it could not see a wrong sampler")
    return gap


def mean_gap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the mean absolute difference of two rows of log-probabilities.

    Raises:
        HerError: they have different lengths.
    """
    if len(first) != len(second) or not first:
        raise HerError(f"the sampler gave {len(second)} log-probabilities for {len(first)} tokens")
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)


def base_digest(model: Any) -> str:
    """Return a hash of all weights of the base, adapters excluded."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(base_of(model).state_dict().items()):
        if ".lora_" not in name:
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
