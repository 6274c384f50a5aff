"""Run supervised fine-tuning: samples -> rows -> a checkpoint that chats in the playground.

    python -m pipelines.sft @pipelines/configs/sft_smoke.toml name=first --dry-run
    accelerate launch --config_file pipelines/configs/accelerate/fsdp2_node.yaml -m pipelines.sft @FILE.toml

The first is also `her run sft @pipelines/configs/sft_smoke.toml`. The run folder is HER_HOME/runs/NAME, the model is in its
`model/`. Started again with the same settings, an unfinished run resumes from its last complete checkpoint.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from her.deploy.checkpoints import deciding_files
from her.files import atomic as files
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder
from her.runs.open_run import Run, open_run
from pipelines.models.fitness import require_launcher
from pipelines.models.loading import base_commit, base_files, resolve_device
from pipelines.models.saving import save
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.prepare import Prepared, load_prepared, prepare_rows
from pipelines.sft.rows.sample_files import input_files

PREPARATION_HOURS = 6
"""Longest time that the other processes wait while the main process prepares the samples."""


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, TrainingOptions, run, "sft")


def run(options: TrainingOptions) -> Path:
    """Run all of it and return the folder of the model.

    Raises:
        HerError: the run cannot start or go on; RunStopped when it can be resumed.
    """
    from accelerate import PartialState
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    device = resolve_device(options.device)
    # First of all, because it joins the processes of a launch. NCCL gives up after 10 minutes and gloo after 30 by default, but
    # the main process may prepare a large data set for longer.
    state = PartialState(cpu=device == "cpu", timeout=timedelta(hours=PREPARATION_HOURS))
    require_launcher(state, device)
    folder = run_folder(options.name)
    with _open_in_main_process(options, state) as opened:
        if state.is_main_process:
            prepare_rows(options, folder)
        state.wait_for_everyone()
        _train_and_save(options, folder, opened, device)
    # The launcher would report a process that exits while the main process saves as lost.
    state.wait_for_everyone()
    state.destroy_process_group()
    return folder / "model"


@contextmanager
def _open_in_main_process(options: TrainingOptions, state: Any) -> Iterator[Run | None]:
    """Open the run in the main process; yield None in the others, which write nothing."""
    if not state.is_main_process:
        yield None
        return
    inputs = [*input_files(options.samples), *base_files(options.model)]
    hashes = files.file_hashes(inputs) | base_commit(options.model)
    with open_run("sft", options.name, options, seed=options.seed, hashes=hashes) as opened:
        yield opened


def _train_and_save(options: TrainingOptions, folder: Path, opened: Run | None, device: str) -> None:
    from pipelines.sft.train.text_pretraining import pretrain_on_text
    from pipelines.sft.train.training import train

    def no_metric(**_: Any) -> None:
        """Write nothing: only the main process writes metrics."""

    prepared = load_prepared(folder)
    metric = opened.log_metric if opened else no_metric
    pretrained = pretrain_on_text(options, prepared, folder, metric, device)
    trainer = train(pretrained, prepared, folder, metric, device)
    state = _full_state(trainer)  # in all processes
    if opened is not None:
        _save_model(options, prepared, folder, opened, trainer, state)


def _save_model(options: TrainingOptions, prepared: Prepared, folder: Path, opened: Run, trainer: Any, state: Any) -> None:
    """Save the model where the playground opens it, and record its hashes."""
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
        state=state,
        half=options.model.precision == "mixed",
    )
    opened.log_metric(step=trainer.state.global_step, saved="model", difference=saved.difference)
    deciding = deciding_files(folder / "model")
    opened.update_status(outputs={f"model/{path.name}": files.file_hash(path) for path in deciding})


def _full_state(trainer: Any) -> Any:
    """Gather the full state dict when the weights are sharded (FSDP, DeepSpeed), else return None. All processes call this."""
    from accelerate import DistributedType

    kind = trainer.accelerator.distributed_type
    if kind not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return None
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if kind == DistributedType.DEEPSPEED:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        # Otherwise transformers would shard the model that is read back over all processes, of which only this one loads it.
        unset_hf_deepspeed_config()
    return state


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
