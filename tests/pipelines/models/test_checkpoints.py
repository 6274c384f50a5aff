"""pipelines/models/checkpoints.py: incomplete checkpoints are never resumed from, and old ones are deleted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.models.checkpoints import (
    complete_checkpoints,
    delete_incomplete,
    delete_old,
    last_checkpoint,
    marking_trainer,
    reduce_in_float32,  # noqa: I001
)


def write_checkpoint(run: Path, step: int, complete: bool = True) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if complete:
        (folder / "complete").touch()
    return folder


def test_an_incomplete_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    oldest, newest = write_checkpoint(tmp_path, 2), write_checkpoint(tmp_path, 10)
    write_checkpoint(tmp_path, 12, complete=False)
    assert last_checkpoint(tmp_path) == newest
    delete_incomplete(tmp_path)
    assert sorted((tmp_path / "checkpoints").iterdir()) == sorted([oldest, newest])
    delete_old(tmp_path, 1)
    assert complete_checkpoints(tmp_path) == [newest]
    assert last_checkpoint(tmp_path / "nowhere") is None


class FakeTrainer:
    """The part of a transformers trainer that `marking_trainer` uses; saving fails at step 3."""

    def __init__(self, run: Path) -> None:
        kind = type("Type", (), {"value": "NO"})()
        self.args = type("Args", (), {"output_dir": str(run / "checkpoints"), "should_save": True})()
        self.state = type("State", (), {"global_step": 0})()
        self.accelerator = type(
            "Accelerator", (), {"distributed_type": kind, "num_processes": 1, "wait_for_everyone": lambda _: None}
        )()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True)
        if self.state.global_step == 3:
            raise RuntimeError("lost the GPU")


def test_a_trainer_marks_complete_checkpoints_and_keeps_the_last(tmp_path: Path) -> None:
    trainer = marking_trainer(FakeTrainer, keep=1)(tmp_path)
    for step in (1, 2):
        trainer.state.global_step = step
        trainer._save_checkpoint(None, None)
    trainer.state.global_step = 3
    with pytest.raises(RuntimeError, match="lost the GPU"):
        trainer._save_checkpoint(None, None)
    (kept,) = (tmp_path / "checkpoints").iterdir()
    assert (kept.name, (kept / "complete").read_text("utf-8")) == ("checkpoint-2", "NO 1")


@pytest.mark.whole
def test_fsdp2_sums_gradients_in_float32() -> None:
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
    for plugin, expected in (
        (SimpleNamespace(fsdp_version=2, mixed_precision_policy=half), torch.float32),
        (SimpleNamespace(fsdp_version=1, mixed_precision_policy=half), torch.bfloat16),
    ):
        reduce_in_float32(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
        assert (plugin.mixed_precision_policy.reduce_dtype, plugin.mixed_precision_policy.param_dtype) == (
            expected,
            torch.bfloat16,
        )
    reduce_in_float32(SimpleNamespace(state=SimpleNamespace()))
