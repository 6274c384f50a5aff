"""Checkpoints of a trainer: complete or not there. A file `complete` marks a checkpoint once all of it is written."""

import dataclasses
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipelines.models.atomic_folder import COMPLETE, explain_full_disk


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in the folder of a run."""
    complete = complete_checkpoints(folder)
    return complete[-1] if complete else None


def complete_checkpoints(folder: Path) -> list[Path]:
    """List the complete checkpoints in the folder of a run, oldest first."""
    checkpoints = [path for path in (folder / "checkpoints").glob("checkpoint-*") if (path / COMPLETE).is_file()]
    return sorted(checkpoints, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the training step of `checkpoint-STEP`."""
    return int(checkpoint.name.rpartition("-")[2])  # as a number: checkpoint-10 comes after checkpoint-9


def delete_incomplete(folder: Path) -> None:
    """Delete the checkpoints that a kill left incomplete; nothing resumes from them, and each is as large as a complete one."""
    for checkpoint in (folder / "checkpoints").glob("checkpoint-*"):
        if not (checkpoint / COMPLETE).is_file():
            shutil.rmtree(checkpoint)


def delete_old(folder: Path, keep: int, spared: Collection[int] = ()) -> None:
    """Delete all complete checkpoints but the last `keep` and those of the steps `spared`."""
    for checkpoint in complete_checkpoints(folder)[:-keep]:
        if step_of(checkpoint) in spared:
            continue
        (checkpoint / COMPLETE).unlink()  # first: a kill in the middle of rmtree must leave an incomplete checkpoint
        shutil.rmtree(checkpoint)


def launch_kind(accelerator: Any) -> str:
    """Return how a checkpoint is sharded: distributed type and number of processes, such as `FSDP 8`."""
    return f"{accelerator.distributed_type.value} {accelerator.num_processes}"


def marking_trainer(trainer: type[Any], keep: int) -> type[Any]:
    """Return a subclass of a transformers trainer that marks complete checkpoints and keeps the last `keep`.

    The mark holds `launch_kind`. A checkpoint that could not be written completely is deleted. A function, because trl and
    transformers are imported only when a run trains.
    """

    class MarkingTrainer(trainer):  # type: ignore[misc]
        """Trainer that writes complete checkpoints or none; those of the steps `spared` are kept beside the last ones."""

        spared: Collection[int] = ()

        def create_model_card(self, *words: Any, **named: Any) -> None:
            """Write nothing: pipelines/models/saving.py writes the model card."""

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            home = Path(self.args.output_dir)
            checkpoint = home / f"checkpoint-{self.state.global_step}"
            with explain_full_disk(home.parent):
                try:
                    super()._save_checkpoint(model, trial)
                    self.accelerator.wait_for_everyone()  # a sharded checkpoint is complete when every process has written
                    if self.args.should_save:
                        # Written under another name first, so that the mark never exists without its content.
                        (checkpoint / ".part").write_text(launch_kind(self.accelerator), "utf-8")
                        (checkpoint / ".part").rename(checkpoint / COMPLETE)
                        delete_old(home.parent, keep, self.spared)
                except BaseException:
                    if self.args.should_save and not (checkpoint / COMPLETE).is_file():
                        shutil.rmtree(checkpoint, ignore_errors=True)
                    raise

    return MarkingTrainer


def reduce_in_float32(accelerator: Any) -> None:
    """Make FSDP2 sum gradients in float32; accelerate sums them in bfloat16, which loses small ones over many GPUs.

    Call it before the model is prepared; it does nothing in another kind of launch.
    """
    plugin: Any = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if policy is None or getattr(plugin, "fsdp_version", 1) != 2 or policy.reduce_dtype is None:
        return
    import torch

    plugin.mixed_precision_policy = dataclasses.replace(policy, reduce_dtype=torch.float32)
