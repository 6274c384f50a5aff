"""The trainer: TRL's SFTTrainer over prepared rows, in either layout, with checkpoints that are whole or not there.

TRL does the work: loss over the targets alone, LoRA, accumulation, resuming. Added here: the rows of shared prefixes, a
check that this model honours them, metrics in the run's folder, turns sampled at every evaluation.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from her import paths
from her.errors import HerError, InputError
from pipelines.models.attention import register
from pipelines.models.checkpointing import keep_dear
from pipelines.models.disk import WHOLE, naming_last_good
from pipelines.models.loading import load_model, lora_config
from pipelines.models.merging import base_of
from pipelines.models.shared_rows import Join, honours_spans, only_trained
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.prepare import Prepared
from pipelines.sft.rows.rows import Facts, row_tokens
from pipelines.sft.train.checkpoints import drop_halves, last_checkpoint
from pipelines.sft.train.sampled_turns import sample_turns
from pipelines.sft.train.trainer import launched, trainer_class

log = logging.getLogger("sft")
Metric = Callable[..., None]
FAR = 1.25
"""A step of so many times `batch` target turns is warned of: there are fewer steps than were meant, at the same rate."""


class AlreadyTrained(Exception):
    """The checkpoint that a run goes on from has all steps already; transformers would make one more."""


class Steps(NamedTuple):
    """How rows become optimiser steps.

    Args:
        accumulation: rows (or batches of rows) that one device reads for one step.
        targets: target turns of a step, on average, over all devices.
    """

    accumulation: int
    targets: float


def steps(options: TrainingOptions, facts: Facts, processes: int) -> Steps:
    """As near to `batch` target turns as whole rows come; exactly, with one target in a row.

    Raises:
        InputError: one target a row, and `batch` is no multiple of what the devices read at once.
    """
    at_once = options.rows * processes
    one_each = facts.rows == facts.targets
    if one_each and options.batch % at_once:
        raise InputError(
            f"batch={options.batch} is no multiple of {at_once} (rows={options.rows} on each of {processes} devices); "
            f"take {max(1, round(options.batch / at_once)) * at_once}"
        )
    in_row = facts.targets / facts.rows
    accumulation = max(1, round(options.batch / (in_row * at_once)))
    return Steps(accumulation, accumulation * at_once * in_row)


def train(options: TrainingOptions, prepared: Prepared, folder: Path, metric: Metric, device: str) -> Any:
    """Train from the last whole checkpoint in `folder`, or from the beginning; the trainer, with the trained model in it.

    Args:
        folder: of the run; checkpoints go to `checkpoints/` in it.
        metric: writes one line of metrics; called by the first process alone.
        device: `cpu` or `cuda`.

    Raises:
        HerError: the model does not honour shared prefixes, the loss is not finite, or a checkpoint could not be written.
    """
    from accelerate import PartialState

    _tell(steps(options, prepared.facts, PartialState().num_processes), options)
    trainer = build(options, prepared, folder, device)
    last = last_checkpoint(folder)
    if trainer.is_world_process_zero():
        drop_halves(folder)
    if last is not None:
        _same_launch(last, trainer.accelerator)
        if trainer.is_world_process_zero():
            log.info("goes on from %s", last.name)
            metric(resumed_at=int(last.name.rpartition("-")[2]))
    watched(trainer, options, prepared, metric)
    with suppress(AlreadyTrained), naming_last_good(folder):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if prepared.held_out is not None and not (options.evaluation.every and _just_evaluated(trainer)):
        trainer.evaluate()
    return trainer


def _same_launch(checkpoint: Path, accelerator: Any) -> None:
    """A checkpoint in pieces is read by the kind of launch that wrote it; another number of processes sees other batches."""
    before, now = (checkpoint / WHOLE).read_text("utf-8"), launched(accelerator)
    if before.split()[:1] != now.split()[:1]:
        raise InputError(
            f"'{checkpoint}' was saved by processes launched as {before or 'nobody knows what'} and these are {now}; "
            "start the run as before, with accelerate launch and the same --config_file"
        )
    if before != now:
        log.warning("%s was saved by %s and these are %s: the batches to come are others", checkpoint.name, before, now)


def build(options: TrainingOptions, prepared: Prepared, folder: Path, device: str) -> Any:
    """The trainer of a run, with its model; nothing is trained yet."""
    from transformers import PrinterCallback, set_seed

    set_seed(options.seed)
    shared = options.layout == "shared_prefix"
    attention = register() if shared else "sdpa"
    tokenizer = prepared.template.tokenizer
    arguments = _arguments(options, prepared.facts, folder, device)  # before the model: DeepSpeed cuts it up while it is read
    if options.track == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(paths.home() / "trackio"))
    model = load_model(options.model, options.lora, tokenizer, device, attention=attention)
    if options.checkpointing == "light":
        keep_dear(model)
    trainer = trainer_class(options.keep)(
        model=model,
        args=arguments,
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
        data_collator=Join(device != "cpu") if shared else None,
    )
    trainer.remove_callback(PrinterCallback)
    if shared:
        only_trained(base_of(trainer.model).base_model)
    _require_precision(options, trainer.accelerator.mixed_precision)
    _require_whole(options, str(trainer.accelerator.distributed_type.value))
    return trainer


def _tell(taken: Steps, options: TrainingOptions) -> None:
    """How large a step is, and a warning where that is far from what was asked for."""
    far = taken.targets > FAR * options.batch
    mend = "; lower row_tokens, or take fewer devices" if far else ""
    said = f"a step has {taken.targets:.1f} target turns on average ({options.batch} asked for){mend}"
    log.log(logging.WARNING if far else logging.INFO, said)


def _require_precision(options: TrainingOptions, launched: str) -> None:
    """A launch configuration's `mixed_precision` goes over the trainer's own, without a word."""
    wanted = "no" if options.model.precision == "float32" else "bf16"
    if launched != wanted:
        raise InputError(
            f"model.precision={options.model.precision} computes in {wanted!r} and the launch configuration says "
            f"mixed_precision: {launched}; make them agree, such as with model.precision=mixed"
        )


def _require_whole(options: TrainingOptions, kind: str) -> None:
    """Weights in 4 bits that lie in pieces could not be merged at the end; and DeepSpeed does not know light checkpointing."""
    if options.lora.quantise and kind in ("FSDP", "DEEPSPEED"):
        raise InputError(
            f"lora.quantise={options.lora.quantise} and a launch configuration with {kind}: a base in 4 bits has to lie whole on "
            "every GPU; launch with pipelines/configs/accelerate/one_gpu.yaml, or leave quantise out"
        )
    if options.checkpointing == "light" and options.lora.rank and kind == "DEEPSPEED":
        raise InputError(
            "checkpointing=light with adapters and DeepSpeed: ZeRO-3 needs the older, reentrant way for adapters, which keeps "
            "nothing; take checkpointing=full, or launch with pipelines/configs/accelerate/fsdp2_node.yaml"
        )


def _arguments(options: TrainingOptions, facts: Facts, folder: Path, device: str) -> Any:
    """TRL's own settings."""
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
        remove_unused_columns=not shared,
        per_device_train_batch_size=options.rows,
        per_device_eval_batch_size=options.rows,
        gradient_accumulation_steps=steps(options, facts, PartialState().num_processes).accumulation,
        num_train_epochs=options.epochs,
        max_steps=options.steps or -1,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,
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
        logging_nan_inf_filter=False,
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


def _just_evaluated(trainer: Any) -> bool:
    lines = trainer.state.log_history
    return any("eval_loss" in line and line["step"] == trainer.state.global_step for line in lines)


def watched(trainer: Any, options: TrainingOptions, prepared: Prepared, metric: Metric) -> None:
    """Add what happens beside the steps: metrics, sampled turns, the check of shared prefixes, an end at a loss that is none."""
    from transformers import TrainerCallback

    class Beside(TrainerCallback):  # type: ignore[misc]
        """Metrics, sampled turns, and the check of shared prefixes before the first step."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if options.layout == "shared_prefix":
                honours_spans(trainer)
            # of the settings that may change, transformers would take those of the checkpoint
            state.save_steps, state.logging_steps = args.save_steps, args.logging_steps

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step >= state.max_steps:
                raise AlreadyTrained

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            # A loss that is none is seen before its step is saved, and a resumed run logs means over the same steps.
            control.should_log |= control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            _require_finite(state.global_step, logs or {})
            if state.is_world_process_zero and logs:
                numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
                metric(step=state.global_step, **numbers)
                if "loss" in numbers:
                    log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, numbers["loss"])

        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
            if not prepared.prompts:
                return
            asked = options.evaluation
            sampled = sample_turns(
                model,
                prepared.template,
                prepared.prompts,
                temperature=asked.temperature,
                tokens=asked.tokens,
                seed=options.seed,
                plans=options.samples.plans,
            )
            if state.is_world_process_zero:
                counts = {f"defect_{name}": count for name, count in sampled.defects.items()}
                metric(step=state.global_step, sampled=sampled.turns, well_formed=sampled.well_formed, **counts)
                log.info("%d of %d sampled turns are well formed", sampled.well_formed, sampled.turns)

    trainer.add_callback(Beside())


def _require_finite(step: int, logs: Mapping[str, Any]) -> None:
    """Before the step is saved, so that the last checkpoint is one from before; every process sees the same numbers."""
    for name in ("loss", "grad_norm"):
        if not math.isfinite(value := float(logs.get(name, 0))):
            raise HerError(
                f"{name} is {value} at step {step}; the training went astray, and going on would spoil the model: "
                "start a run of another name with a lower learning_rate, or clip"
            )
