"""Supervised fine-tuning, whole: samples -> rows -> a checkpoint that chats in the playground.

    python -m pipelines.sft @pipelines/configs/sft_smoke.toml name=first --dry-run
    accelerate launch --config_file pipelines/configs/accelerate/fsdp2_node.yaml -m pipelines.sft @FILE.toml

The first is also `her run sft @pipelines/configs/sft_smoke.toml`. The run folder is HER_HOME/runs/NAME; the model is in its
`model/`. Started again with the same settings it goes on from its last whole checkpoint.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from her.files import atomic as files
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder
from her.runs.open_run import Run, open_run
from pipelines.models.loading import base_files, device_of
from pipelines.models.saving import save
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows import prepare as preparing
from pipelines.sft.rows.reading import file_list

PATIENCE_HOURS = 6
"""How long the other processes wait while the first one prepares the samples."""


def main(words: Sequence[str]) -> int:
    """The command line; its exit code as `her.runs.command_line.run_command_line` says."""
    return run_command_line(words, TrainingOptions, run, "sft")


def run(options: TrainingOptions) -> Path:
    """A whole run; the model it left. Raises HerError; `RunStopped` among them when it can be gone on with."""
    from accelerate import PartialState
    from transformers.utils import logging as library

    library.disable_progress_bar()
    device = device_of(options.device)
    state = PartialState(cpu=device == "cpu", timeout=timedelta(hours=PATIENCE_HOURS))
    folder = run_folder(options.name)
    with _open_in_main_process(options, state) as opened:
        if state.is_main_process:
            preparing.prepare(options, folder)
        state.wait_for_everyone()
        _train_and_save(options, folder, opened, device)
    state.wait_for_everyone()  # a process that ended while the first one saves would be reported as lost
    state.destroy_process_group()
    return folder / "model"


@contextmanager
def _open_in_main_process(options: TrainingOptions, state: Any) -> Iterator[Run | None]:
    """The run, in the first of several processes; the others have none and write nothing."""
    if not state.is_main_process:
        yield None
        return
    inputs = [*file_list(options.samples), *base_files(options.model)]
    with open_run("sft", options.name, options, seed=options.seed, hashes=files.file_hashes(inputs)) as opened:
        yield opened


def _train_and_save(options: TrainingOptions, folder: Path, opened: Run | None, device: str) -> None:
    """Train, and save what was trained where the playground opens it."""
    from pipelines.sft.train.first_reading import read_first
    from pipelines.sft.train.loop import train

    def silent(**_: Any) -> None:
        """Only the first process writes metrics."""

    prepared = preparing.load(folder)
    metric = opened.log_metric if opened else silent
    trainer = train(read_first(options, prepared, folder, metric, device), prepared, folder, metric, device)
    whole = _gathered(trainer)
    if opened is None:
        return
    facts = {
        "pipeline": "sft",
        "layout": options.layout,
        "targets": prepared.facts.targets,
        "steps": trainer.state.global_step,
        "inputs": dict(opened.status.hashes),
        "commit": opened.status.commit,
    }
    saved = save(
        trainer.accelerator.unwrap_model(trainer.model),
        prepared.template.tokenizer,
        folder / "model",
        base=options.model.base,
        licence=options.model.licence,
        facts=facts,
        state=whole,
    )
    opened.log_metric(step=trainer.state.global_step, saved="model", apart=saved.apart)
    weights = sorted((folder / "model").glob("*.safetensors"))
    opened.update_status(outputs={f"model/{path.name}": files.file_hash(path) for path in weights})


def _gathered(trainer: Any) -> Any:
    """The whole state dict where every process holds a piece of the weights (FSDP, DeepSpeed), else None; all take part."""
    from accelerate import DistributedType

    kind = trainer.accelerator.distributed_type
    if kind not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return None
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if kind == DistributedType.DEEPSPEED:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # or the model that is read back would be cut up among processes that have gone
    return state


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
