"""Train a run: TRL's SFTTrainer over prepared rows, in either layout, resumed from the last complete checkpoint.

TRL computes the loss over the targets, applies LoRA, accumulates gradients and resumes. Added here are the rows of shared
prefixes and a check that the model honours them, metrics in the run's folder, and turns sampled at every evaluation
(callbacks.py).
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from her import paths
from her.errors import InputError
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.atomic_folder import COMPLETE, explain_full_disk
from pipelines.models.attention import register_attention
from pipelines.models.checkpoints import delete_incomplete, last_checkpoint, launch_kind, reduce_in_float32, step_of
from pipelines.models.loading import load_model, lora_config
from pipelines.models.merging import base_of
from pipelines.models.shared_rows import JoinRows, select_trained
from pipelines.models.step_guards import AllStepsDone
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.prepare import Prepared
from pipelines.sft.train.arguments import log_step_size, require_fitting_launch, sft_config
from pipelines.sft.train.callbacks import Metric, add_run_callback
from pipelines.sft.train.trainer import sft_trainer

log = logging.getLogger(__name__)


def train(options: TrainingOptions, prepared: Prepared, folder: Path, metric: Metric, device: str) -> Any:
    """Train from the last complete checkpoint in `folder`, or from step 0; return the trainer with the trained model.

    Args:
        folder: folder of the run; checkpoints go to `checkpoints/` in it.
        metric: writes one line of metrics; only the main process calls it.
        device: `cpu` or `cuda`.

    Raises:
        HerError: the model does not honour shared prefixes, the loss is NaN or infinite, or a checkpoint could not be written.
    """
    from accelerate import PartialState

    log_step_size(options, prepared.facts, PartialState().num_processes)
    trainer = build_trainer(options, prepared, folder, device)
    last = last_checkpoint(folder)
    if trainer.is_world_process_zero():
        delete_incomplete(folder)  # one process, so that none is deleted twice
    if last is not None:
        _require_same_launch(last, trainer.accelerator)
        if trainer.is_world_process_zero():
            log.info("resumes from %s", last.name)
            metric(resumed_at=step_of(last))
    add_run_callback(trainer, options, prepared, metric)
    with suppress(AllStepsDone), explain_full_disk(folder):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if prepared.held_out is not None and not (options.evaluation.every and _is_evaluated(trainer)):
        trainer.evaluate()
    return trainer


def build_trainer(options: TrainingOptions, prepared: Prepared, folder: Path, device: str) -> Any:
    """Return the trainer of a run with its model; nothing is trained yet.

    Raises:
        InputError: the model cannot be loaded, or the launch configuration contradicts the settings.
    """
    from transformers import PrinterCallback, set_seed

    set_seed(options.seed)  # before the model: it may have random weights, and adapters always do
    shared = options.layout == "shared_prefix"
    attention = register_attention() if shared else ""
    tokenizer = prepared.template.tokenizer
    # Before the model: with ZeRO-3 the arguments make transformers shard the weights while it loads them.
    arguments = sft_config(options, prepared.facts, folder, device)
    if options.track == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(paths.home() / "trackio"))
    model = load_model(options.model, options.lora, tokenizer, device, attention=attention)
    if options.checkpointing == "light":
        enable_light_checkpointing(model)
    trainer = sft_trainer(options.keep)(
        model=model,
        args=arguments,
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
        data_collator=JoinRows(device != "cpu") if shared else None,
    )
    trainer.remove_callback(PrinterCallback)  # it prints every log line as a dict
    if shared:
        select_trained(base_of(trainer.model).base_model)
    require_fitting_launch(options, trainer.accelerator)
    reduce_in_float32(trainer.accelerator)
    return trainer


def _require_same_launch(checkpoint: Path, accelerator: Any) -> None:
    """Refuse another distributed type, which cannot read the shards; warn of another number of processes."""
    before, now = (checkpoint / COMPLETE).read_text("utf-8"), launch_kind(accelerator)
    if before.split()[:1] != now.split()[:1]:
        raise InputError(
            f"'{checkpoint}' was saved by a launch as {before or 'unknown'} and this one is {now}; "
            "start the run as before, with accelerate launch and the same --config_file"
        )
    if before != now:
        log.warning("%s was saved by %s and this launch is %s: the next batches differ", checkpoint.name, before, now)


def _is_evaluated(trainer: Any) -> bool:
    """Return whether the last step was evaluated."""
    lines = trainer.state.log_history
    return any("eval_loss" in line and line["step"] == trainer.state.global_step for line in lines)
