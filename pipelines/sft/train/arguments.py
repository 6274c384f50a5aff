"""Translate the settings of a run into TRL's arguments, and refuse a launch that does not fit them."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import InputError
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.rows import RowFacts, row_tokens

log = logging.getLogger(__name__)
LARGE_STEP = 1.25
"""A step of so many times `batch` target turns gives a warning: there are fewer steps than intended, at the same rate."""


class StepSize(NamedTuple):
    """Size of an optimiser step.

    Args:
        accumulation: batches that one device reads for one step.
        targets: target turns of a step, on average, over all devices.
    """

    accumulation: int
    targets: float


def step_size(options: TrainingOptions, facts: RowFacts, processes: int) -> StepSize:
    """Return the step that comes closest to `batch` target turns; exactly `batch` when every row holds one target.

    Raises:
        InputError: every row holds one target, and `batch` is not a multiple of what all devices read at once.
    """
    at_once = options.rows * processes
    if facts.rows == facts.targets and options.batch % at_once:
        raise InputError(
            f"batch={options.batch} is not a multiple of {at_once} (rows={options.rows} on each of {processes} devices); "
            f"take {max(1, round(options.batch / at_once)) * at_once}"
        )
    in_row = facts.targets / facts.rows
    accumulation = max(1, round(options.batch / (in_row * at_once)))
    return StepSize(accumulation, accumulation * at_once * in_row)


def log_step_size(options: TrainingOptions, facts: RowFacts, processes: int) -> None:
    """Log the size of a step; a warning when it is far above `batch`."""
    size = step_size(options, facts, processes)
    large = size.targets > LARGE_STEP * options.batch
    advice = "; lower row_tokens, or use fewer devices" if large else ""
    message = f"a step has {size.targets:.1f} target turns on average (batch={options.batch}){advice}"
    log.log(logging.WARNING if large else logging.INFO, message)


def sft_config(options: TrainingOptions, facts: RowFacts, folder: Path, device: str) -> Any:
    """Return TRL's arguments for a run.

    Args:
        folder: folder of the run; checkpoints go to `checkpoints/` in it.
        device: `cpu` or `cuda`.
    """
    from accelerate import PartialState
    from trl import SFTConfig

    cuda = device == "cuda"
    shared = options.layout == "shared_prefix"
    packing = options.packing and not shared
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_length=row_tokens(options) if packing else None,
        packing=packing,
        shuffle_dataset=False,
        remove_unused_columns=not shared,  # `spans` would count as unused: it is not an argument of the model's forward
        per_device_train_batch_size=options.rows,
        per_device_eval_batch_size=options.rows,
        gradient_accumulation_steps=step_size(options, facts, PartialState().num_processes).accumulation,
        num_train_epochs=options.epochs,
        max_steps=options.steps or -1,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,  # below 1 transformers reads it as a share of all steps
        weight_decay=options.weight_decay,
        adam_beta2=options.beta2,
        max_grad_norm=options.clip,
        gradient_checkpointing=options.checkpointing == "full",
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.checkpointing == "full" else None,
        bf16=options.model.precision != "float32",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_steps=options.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN loss must reach the callback that stops the run
        ddp_find_unused_parameters=False,
        save_steps=options.save_every,
        eval_strategy="steps" if options.evaluation.every and facts.held_out else "no",
        eval_steps=options.evaluation.every or None,
        report_to=["trackio"] if options.track == "trackio" else [],
        project="her",
        run_name=options.name,
        trackio_static_space_id=False,
        seed=options.seed,
        data_seed=options.seed,
        disable_tqdm=True,
    )


def require_fitting_launch(options: TrainingOptions, accelerator: Any) -> None:
    """Refuse a launch configuration that contradicts the settings.

    Raises:
        InputError: another precision, a quantised base that would be sharded, or light checkpointing with DeepSpeed and LoRA.
    """
    wanted = "no" if options.model.precision == "float32" else "bf16"
    if accelerator.mixed_precision != wanted:  # the launch configuration silently overrides the trainer's arguments
        raise InputError(
            f"model.precision={options.model.precision} computes in {wanted!r} and the launch configuration has "
            f"mixed_precision: {accelerator.mixed_precision}; make them agree, such as with model.precision=mixed"
        )
    kind = str(accelerator.distributed_type.value)
    if options.lora.quantise and kind in ("FSDP", "DEEPSPEED"):  # sharded 4-bit weights could not be merged at the end
        raise InputError(
            f"lora.quantise={options.lora.quantise} and a launch configuration with {kind}: a base in 4 bits must be complete on "
            "every GPU; launch with pipelines/configs/accelerate/one_gpu.yaml, or leave quantise out"
        )
    if options.checkpointing == "light" and options.lora.rank and kind == "DEEPSPEED":
        raise InputError(
            "checkpointing=light with adapters and DeepSpeed: with adapters, ZeRO-3 needs reentrant checkpointing, which keeps "
            "no activations; take checkpointing=full, or launch with pipelines/configs/accelerate/fsdp2_node.yaml"
        )
