"""What a model from random weights reads before it is fine-tuned: its own samples in short, every token of them.

A base from a hub has read the world. One from nothing knows no word, and targets behind a thousand tokens of prompt teach it
slowly: on two CPU cores ten minutes of them left it at a loss of 5. So it first reads every target behind the first line of its
prompt and the message before it, with the same trainer and the same rows; what comes of it is the base of the run, in
`prepared/base` of its folder. `model.shape.reading` says how many steps of it; 0 for none.

The first line names the character. Where it was left out, a small model wrote the format and under any of the characters' names
(10 of 48 turns right, 5 minutes); with it, the name is right after 40 seconds, and in whole prompts after 40 more.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.models.disk import whole_folder
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.sft.options import EvaluationOptions, TrainingOptions
from pipelines.sft.rows.prepare import BASE, FOLDER, READING, Prepared, reads_first
from pipelines.sft.rows.rows import Facts, mapped

log = logging.getLogger("sft")


def read_first(
    options: TrainingOptions, prepared: Prepared, folder: Path, metric: Callable[..., None], device: str
) -> TrainingOptions:
    """Let the model read, unless an earlier start has; the settings with what came of it as their base.

    Every process takes part; a reading that was cut short begins anew, for it is short.
    """
    from pipelines.sft.train.loop import build, watched

    home = folder / FOLDER
    if not reads_first(options):
        return options
    after = _with_base(options, home / BASE)
    if (home / BASE).is_dir():
        return after
    rows = mapped(home / READING)
    count = len(rows)
    alone = Facts(targets=count, held_out=0, rows=count, expanded_tokens=count, laid_tokens=count, longest=1)
    asked = _alone(options, device)
    material = prepared._replace(train=rows, held_out=None, prompts=(), facts=alone)
    trainer = build(asked, material, home / READING, device)
    watched(trainer, asked, material, lambda **values: metric(reading=values))
    log.info("reads %d rows of short texts for %d steps", count, asked.steps)
    trainer.train()
    if trainer.is_world_process_zero():
        with whole_folder(home / BASE) as part:
            trainer.accelerator.unwrap_model(trainer.model).save_pretrained(part)
        shutil.rmtree(home / READING / "checkpoints")
    trainer.accelerator.wait_for_everyone()
    return after


def _with_base(options: TrainingOptions, base: Path) -> TrainingOptions:
    model: ModelOptions = options.model.model_copy(update={"base": str(base)})
    return options.model_copy(update={"model": model})


def _alone(options: TrainingOptions, device: str) -> TrainingOptions:
    """The settings of the reading: those of the run, one row a step on every device, no adapters, nothing evaluated."""
    from accelerate import PartialState

    reading: dict[str, Any] = {
        "layout": "shared_prefix",
        "steps": options.model.shape.reading,
        "batch": options.rows * PartialState().num_processes,
        "lora": LoraOptions(),
        "evaluation": EvaluationOptions(turns=0),
        "save_every": options.model.shape.reading,
        "track": "none",
        "device": device,
    }
    return options.model_copy(update=reading)
