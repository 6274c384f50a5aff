"""Pretrain a model from scratch on its own samples in short form, all tokens trained, before it is fine-tuned.

A base model has read much text. One from scratch knows no word, and targets behind a thousand tokens of prompt teach it slowly:
ten minutes of them on two CPU cores left a loss of 5. So it is first trained on passages: the first line of a prompt, the
message before the target, and the target, with the same trainer and rows. The result, `prepared/pretrained` in the run's
folder, is the base of the run. `model.shape.pretraining_steps` is the number of steps; 0 for none.

The first line names the speakers. Without it a small model wrote the format under the name of any character (10 of 48 turns
right after 5 minutes). With it, names are right after 40 seconds, and in full prompts after 40 more.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from pipelines.models.atomic_folder import atomic_folder
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.sft.options import EvaluationOptions, TrainingOptions
from pipelines.sft.rows.prepare import PREPARED, PRETRAINED, TEXT_ROWS, Prepared, has_text_pretraining
from pipelines.sft.rows.rows import RowFacts, load_rows
from pipelines.sft.train.callbacks import Metric, add_run_callback
from pipelines.sft.train.training import build_trainer

log = logging.getLogger(__name__)


def pretrain_on_text(options: TrainingOptions, prepared: Prepared, folder: Path, metric: Metric, device: str) -> TrainingOptions:
    """Pretrain the model, unless an earlier start did; return the settings with the pretrained model as their base.

    All processes call this. An interrupted pretraining starts again from step 0, because it is short.
    """
    home = folder / PREPARED
    if not has_text_pretraining(options):
        return options
    pretrained = _with_base(options, home / PRETRAINED)
    if (home / PRETRAINED).is_dir():
        return pretrained
    rows = load_rows(home / TEXT_ROWS)
    count = len(rows)
    # One target a row, so that a step is `batch` rows.
    facts = RowFacts(targets=count, held_out=0, rows=count, expanded_tokens=count, laid_tokens=count, longest=1)
    pretraining = _pretraining_options(options, device)
    passages = prepared._replace(train=rows, held_out=None, prompts=(), facts=facts)
    trainer = build_trainer(pretraining, passages, home / TEXT_ROWS, device)
    add_run_callback(trainer, pretraining, passages, lambda **values: metric(text_pretraining=values))
    log.info("text pretraining: %d rows, %d steps", count, pretraining.steps)
    trainer.train()
    if trainer.is_world_process_zero():
        with atomic_folder(home / PRETRAINED) as part:
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(part)
        shutil.rmtree(home / TEXT_ROWS / "checkpoints")  # the last step saved one, as large as the model
    trainer.accelerator.wait_for_everyone()
    return pretrained


def _with_base(options: TrainingOptions, base: Path) -> TrainingOptions:
    model: ModelOptions = options.model.model_copy(update={"base": str(base)})
    return options.model_copy(update={"model": model})


def _pretraining_options(options: TrainingOptions, device: str) -> TrainingOptions:
    """Return the run's settings with one row a step on every device, no adapters and no evaluation."""
    from accelerate import PartialState

    changes: dict[str, Any] = {
        "layout": "shared_prefix",
        "steps": options.model.shape.pretraining_steps,
        "batch": options.rows * PartialState().num_processes,
        "lora": LoraOptions(),
        "evaluation": EvaluationOptions(turns=0),
        "save_every": options.model.shape.pretraining_steps,  # no checkpoint before the end
        "track": "none",
        "device": device,
    }
    return options.model_copy(update=changes)
