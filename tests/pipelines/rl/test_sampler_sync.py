"""pipelines/rl/sampler_sync.py: a sampler that is not the policy is noticed, and a merge that loses the update is refused."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("peft")
pytestmark = pytest.mark.whole

from her.errors import HerError  # noqa: E402
from pipelines.rl import sampler_sync as sync  # noqa: E402
from tests.tiny import make_tiny  # noqa: E402

IDS = [5, 80, 7, 120, 33, 9, 201, 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


def adapted(folder: Path, rank: int = 4) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear")).eval()


class OtherSide:
    """A sampler in this process; `deaf` ignores adapters."""

    def __init__(self, model: Any, deaf: bool = False) -> None:
        self.model, self._deaf = model, deaf

    def load_adapter(self, adapter: bytes) -> None:
        if not self._deaf:
            sync.load_adapter(self.model, adapter)

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        return sync.token_logprobs(self.model, ids)


def set_update(model: Any, sigma: float) -> None:
    import torch

    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
                factor = module.lora_B["default"].weight
                factor.copy_(torch.randn(factor.shape, generator=torch.Generator().manual_seed(1)))
                factor.mul_(sigma / module.get_delta_weight("default").std())


def test_an_honest_sampler_passes_and_nothing_is_left_of_the_noise(folder: Path) -> None:
    model, other = adapted(folder), OtherSide(adapted(folder))
    set_update(model, 1e-3)
    base, adapter = sync.base_digest(model), sync.adapter_bytes(model)
    assert sync.check_sampler(model, other, IDS) <= 1e-6
    assert (sync.base_digest(model), sync.adapter_bytes(model)) == (base, adapter)
    assert sync.adapter_bytes(other.model) == adapter and sync.base_digest(other.model) == base


def test_a_sampler_that_ignores_the_adapter_is_noticed(folder: Path) -> None:
    with pytest.raises(HerError, match="does not use the adapter that it was sent"):
        sync.check_sampler(adapted(folder), OtherSide(adapted(folder), deaf=True), IDS)


def test_an_adapter_of_another_rank_is_refused(folder: Path) -> None:
    with pytest.raises((HerError, RuntimeError)):
        sync.load_adapter(adapted(folder, rank=2), sync.adapter_bytes(adapted(folder, rank=4)))


@pytest.mark.parametrize(("sigma", "lost"), [(1e-5, 0.9), (1e-4, 0.32), (1e-3, 0.03)])
def test_what_a_merge_into_bfloat16_loses_is_measured(folder: Path, sigma: float, lost: float) -> None:
    import torch

    model = adapted(folder)
    set_update(model, sigma)
    assert sync.update_lost(model, torch.bfloat16) == pytest.approx(lost, rel=0.15)
    assert sync.update_lost(model, torch.float32) < 1e-3
    if lost > sync.MOST_LOST:
        with pytest.raises(HerError, match=f"by {sync.update_lost(model, torch.bfloat16):.0%}"):
            sync.require_mergeable(model, torch.bfloat16)
    else:
        sync.require_mergeable(model, torch.bfloat16)


def test_the_engine_gets_merged_weights_and_the_base_stays(folder: Path) -> None:
    import torch

    from pipelines.rl.trl_overrides import sync_out_of_place

    model = adapted(folder)
    set_update(model, 1e-2)
    generation = SimpleNamespace(_fix_param_name_to_vllm=lambda name: name)
    trainer = SimpleNamespace(
        vllm_generation=generation, model=model, accelerator=SimpleNamespace(unwrap_model=lambda each: each)
    )
    sync_out_of_place(trainer)
    base = sync.base_digest(model)
    sent = {name: weight.clone() for name, weight in generation._iter_named_params()}
    assert sync.base_digest(model) == base
    merged = model.merge_and_unload().state_dict()
    assert (
        all(torch.allclose(sent[name], weight, atol=1e-6) for name, weight in merged.items() if name in sent) and len(sent) > 10
    )


def test_an_update_that_the_engine_would_lose_stops_the_synchronisation(folder: Path) -> None:
    from pipelines.rl.trl_overrides import sync_out_of_place

    model = adapted(folder)
    set_update(model, 1e-5)
    generation = SimpleNamespace(_fix_param_name_to_vllm=lambda name: name)
    trainer = SimpleNamespace(
        vllm_generation=generation, model=model, accelerator=SimpleNamespace(unwrap_model=lambda each: each)
    )
    sync_out_of_place(trainer)
    with pytest.raises(HerError, match="the sampler would not be the policy"):
        list(generation._iter_named_params())
