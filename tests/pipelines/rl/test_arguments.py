"""pipelines/rl/arguments.py: what the settings of a run mean for TRL."""

from pathlib import Path

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.whole

from her.config import load  # noqa: E402
from pipelines.rl.arguments import grpo_config  # noqa: E402
from pipelines.rl.options import RlOptions  # noqa: E402

WORDS = ("model.base=x", "prompts.runs=['books']", "reward.planted=short", "device=cpu", "rows=8", "batch=64")


@pytest.mark.parametrize(
    ("method", "loss", "level", "high", "scale"),
    [
        ("grpo", "grpo", "token", 0.28, "group"),
        ("dapo", "dapo", "token", 0.28, "group"),
        ("dr_grpo", "dr_grpo", "token", 0.28, "none"),
        ("gspo", "grpo", "sequence", 0.28, "group"),
        ("cispo", "cispo", "token", 1.28, "group"),
    ],
)
def test_a_method_is_a_loss_of_trl(tmp_path: Path, method: str, loss: str, level: str, high: float, scale: str) -> None:
    config = grpo_config(load(RlOptions, [*WORDS, f"method={method}"])[0], tmp_path, "cpu", 2)
    assert (config.loss_type, config.importance_sampling_level, config.scale_rewards) == (loss, level, scale)
    assert config.epsilon_high == pytest.approx(high)
    assert config.steps_per_generation == config.gradient_accumulation_steps == 4  # 64 answers, 8 on each of 2 devices


def test_the_reference_has_the_revision_of_the_policy(tmp_path: Path) -> None:
    pinned = load(RlOptions, [*WORDS, "kl=0.1", "model.revision=abc"])[0]
    assert grpo_config(pinned, tmp_path, "cpu", 1).model_init_kwargs == {"revision": "abc"}
