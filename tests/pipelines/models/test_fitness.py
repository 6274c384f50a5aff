"""pipelines/models/fitness.py: a base that the settings do not fit is refused in one sentence, before anything is prepared."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from her.errors import InputError
from pipelines.models.fitness import require_fit, require_launcher
from pipelines.models.loading import choose_attention
from pipelines.models.options import LoraOptions, ModelOptions

pytestmark = pytest.mark.whole


def configured(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))

    return change


def pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


GEMMA2 = {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "layer_types": None, "rope_parameters": None}
SLIDING = {"use_sliding_window": True, "sliding_window": 64, "layer_types": ["full_attention", "sliding_attention"]}


@pytest.mark.parametrize(
    ("spoil", "lora", "sentence"),
    [
        (pointer, (), "model.safetensors is a pointer of Git LFS, not weights; run `git lfs pull`"),
        (configured(**GEMMA2), (), r"soft-capped attention scores \(attn_logit_softcapping=50.0\).*; set layout=plain"),
        (configured(**SLIDING), (), "layers with a sliding window of 64 tokens, .*; set layout=plain"),
        (
            configured(),
            ("q_proj", "v_prj"),
            "lora.targets names 'v_prj', .* no such linear layer: 'v_proj' is near; it has down_proj",
        ),
        (configured(), ("q_proj", "layers.1.mlp.up_proj", "all-linear"), ""),
        (configured(), ("q_proj", "layers.1.mlp.up_proj"), ""),
    ],
)
def test_what_does_not_fit(
    base: Path, tmp_path: Path, spoil: Callable[[Path], None], lora: tuple[str, ...], sentence: str
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "copied"))
    spoil(folder)
    adapters = LoraOptions(rank=4 if lora else 0, targets=lora or ("all-linear",))
    model = ModelOptions(base=str(folder))
    if not sentence:
        require_fit(model, adapters, unshared="layout=plain")
        return
    with pytest.raises(InputError, match=sentence):
        require_fit(model, adapters, unshared="layout=plain")
    if "layout=plain" in sentence:  # the advice works
        require_fit(model, adapters)
        assert choose_attention(model, "cpu") == ("eager" if "soft" in sentence else "sdpa")


def test_several_gpus_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(InputError, match="4 GPUs are visible and no launcher was used; start with `accelerate launch"):
        require_launcher(SimpleNamespace(num_processes=1), "cuda")
    require_launcher(SimpleNamespace(num_processes=4), "cuda")
    require_launcher(SimpleNamespace(num_processes=1), "cpu")
