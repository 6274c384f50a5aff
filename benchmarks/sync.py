"""Send an adapter over and over to a sampler in a process of its own. Run: `python -m benchmarks.sync`

The policy and the sampler start from one base of random weights (sigma .02, hidden size 128, float32). The policy's adapter
changes and is sent 100 times, alone; each time the log-probabilities of fixed tokens are compared. Both bases must be bit for bit
as before. Then the merge of an adapter whose update has sigma 1e-5 into bfloat16 is tried, which must be refused, and one of
1e-2, which must pass. vLLM is not measured without a card. Prints one JSON object.
"""

import multiprocessing
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.report import report

SENT, TOKENS, RANK = 100, 64, 8
BAR = {"largest_gap": 1e-3, "base_changed": 0, "refused_small_merge": 1, "refused_large_merge": 0}


class SamplerProcess:
    """The sampler at the other end of a pipe."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(str(folder), other), daemon=True)
        self._process.start()

    def load_adapter(self, adapter: bytes) -> None:
        """Send the adapter."""
        self._ask("adapter", adapter)

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Return the sampler's log-probabilities."""
        found: list[float] = self._ask("logprobs", list(ids))
        return found

    def digest(self) -> str:
        """Return the hash of the sampler's base."""
        return str(self._ask("digest", None))

    def close(self) -> None:
        """End the process."""
        self._pipe.send(("end", None))
        self._process.join(10)

    def _ask(self, what: str, value: Any) -> Any:
        self._pipe.send((what, value))
        return self._pipe.recv()


def _serve(folder: str, pipe: Connection) -> None:
    from pipelines.rl.sampler_sync import base_digest, load_adapter, token_logprobs

    model = _adapted(Path(folder))
    while True:
        what, value = pipe.recv()
        if what == "end":
            return
        if what == "adapter":
            load_adapter(model, value)
            pipe.send(None)
        else:
            pipe.send(base_digest(model) if what == "digest" else token_logprobs(model, value))


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as home:
        measured = measure(Path(home) / "base")
    ok = all(measured[name] <= BAR[name] for name in ("largest_gap", "base_changed", "refused_large_merge"))
    report("sync", BAR, measured, ok and measured["refused_small_merge"] == 1)


def measure(folder: Path) -> dict[str, Any]:
    """Send, compare, and try both merges."""
    import torch

    from pipelines.rl.sampler_sync import adapter_bytes, base_digest, check_sampler, mean_gap, token_logprobs

    torch.set_num_threads(1)
    _write_base(folder)
    model, sampler = _adapted(folder), SamplerProcess(folder)
    ids = torch.randint(
        0, model.get_input_embeddings().num_embeddings, (TOKENS,), generator=torch.Generator().manual_seed(2)
    ).tolist()
    before = (base_digest(model), sampler.digest())
    gaps = [check_sampler(model, sampler, ids)]
    dice = torch.Generator().manual_seed(3)
    factors = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    for _ in range(SENT):
        with torch.no_grad():
            for factor in factors:
                factor.add_(1e-3 * torch.randn(factor.shape, generator=dice))
        sampler.load_adapter(adapter_bytes(model))
        gaps.append(mean_gap(token_logprobs(model, ids), sampler.logprobs(ids)))
    after = (base_digest(model), sampler.digest())
    sampler.close()
    small, large = (_refused(model, sigma) for sigma in (1e-5, 1e-2))
    return {
        "sent": SENT,
        "largest_gap": max(gaps),
        "base_changed": int(before != after or before[0] != before[1]),
        "refused_small_merge": int(small[0]),
        "refused_large_merge": int(large[0]),
        "lost_at_1e-5": round(small[1], 3),
        "lost_at_1e-2": round(large[1], 4),
        "vllm": "not measured: no card",
    }


def _refused(model: Any, sigma: float) -> tuple[bool, float]:
    """Return whether the merge of an adapter whose update has this deviation is refused, and what it would lose."""
    import torch

    from her.errors import HerError
    from pipelines.rl.sampler_sync import require_mergeable, update_lost

    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "get_delta_weight") and hasattr(module, "lora_A"):
                factor = module.lora_B["default"].weight
                factor.copy_(torch.randn(factor.shape, generator=torch.Generator().manual_seed(4)))
                factor.mul_(sigma / module.get_delta_weight("default").std())
    try:
        require_mergeable(model, torch.bfloat16)
    except HerError:
        return True, update_lost(model, torch.bfloat16)
    return False, update_lost(model, torch.bfloat16)


def _write_base(folder: Path) -> None:
    import torch

    from pipelines.models.from_scratch import create_model, train_tokenizer
    from pipelines.models.options import ShapeOptions

    shape = ShapeOptions(hidden=128, intermediate=384, layers=2, heads=4, kv_heads=4, head=32, vocabulary=400, context=512)
    torch.manual_seed(1)
    create_model(shape, train_tokenizer(["Who is it? Good evening."], 400, 512), torch.float32).save_pretrained(folder)


def _adapted(folder: Path) -> Any:
    """Return the base with a new adapter that changes nothing yet."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")).eval()


if __name__ == "__main__":
    main()
