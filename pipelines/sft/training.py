"""The trainer: TRL's SFTTrainer over prepared rows, in either layout, with checkpoints that are whole or not there.

TRL does the work: loss over the targets alone, LoRA, accumulation, resuming. Added here: the rows of shared prefixes, a
check that this model honours them, metrics in the run's folder, turns sampled at every evaluation.
"""

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from her import paths
from her.errors import HerError, InputError
from pipelines.models.disk import WHOLE, naming_last_good
from pipelines.models.loading import load_model, lora_config
from pipelines.sft.attention import register
from pipelines.sft.options import Options
from pipelines.sft.prefix import IGNORED
from pipelines.sft.preparing import Prepared
from pipelines.sft.rows import Facts, row_tokens
from pipelines.sft.sampled_turns import sample_turns

log = logging.getLogger("sft")
Metric = Callable[..., None]


class Steps(NamedTuple):
    """How rows become optimiser steps.

    Args:
        accumulation: rows (or batches of rows) that one device reads for one step.
        targets: target turns of a step, on average, over all devices.
    """

    accumulation: int
    targets: float


def steps(options: Options, facts: Facts, processes: int) -> Steps:
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


def train(options: Options, prepared: Prepared, folder: Path, metric: Metric, device: str) -> Any:
    """Train from the last whole checkpoint in `folder`, or from the beginning; the trainer, with the trained model in it.

    Args:
        folder: of the run; checkpoints go to `checkpoints/` in it.
        metric: writes one line of metrics; called by the first process alone.
        device: `cpu` or `cuda`.

    Raises:
        HerError: the model does not honour shared prefixes, or a checkpoint could not be written.
    """
    trainer = build(options, prepared, folder, device)
    last = last_checkpoint(folder)
    if last is not None and trainer.is_world_process_zero():
        log.info("goes on from %s", last.name)
        metric(resumed_at=int(last.name.rpartition("-")[2]))
    trainer.add_callback(_callback(options, prepared, metric, trainer))
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    if prepared.held_out is not None and not (options.evaluation.every and _just_evaluated(trainer)):
        trainer.evaluate()
    return trainer


def build(options: Options, prepared: Prepared, folder: Path, device: str) -> Any:
    """The trainer of a run, with its model; nothing is trained yet."""
    from transformers import PrinterCallback, set_seed

    set_seed(options.seed)
    shared = options.layout == "shared_prefix"
    attention = register() if shared else "sdpa"
    tokenizer = prepared.template.tokenizer
    if options.track == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(paths.home() / "trackio"))
    trainer = _trainer_class(options.keep)(
        model=load_model(options.model, options.lora, tokenizer, device, attention=attention),
        args=_arguments(options, prepared.facts, folder, device),
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
        data_collator=Join(device != "cpu") if shared else None,
    )
    trainer.remove_callback(PrinterCallback)
    _require_precision(options, trainer.accelerator.mixed_precision)
    return trainer


def _require_precision(options: Options, launched: str) -> None:
    """A launch configuration's `mixed_precision` goes over the trainer's own, without a word."""
    wanted = "no" if options.model.precision == "float32" else "bf16"
    if launched != wanted:
        raise InputError(
            f"model.precision={options.model.precision} computes in {wanted!r} and the launch configuration says "
            f"mixed_precision: {launched}; make them agree, such as with model.precision=mixed"
        )


class Join:
    """Puts shared rows one behind the other: a batch is one long row, and no token of it is padding but on a GPU.

    There the length is raised to a multiple of `BLOCK`, so that FlexAttention is compiled for few lengths.
    """

    BLOCK = 512

    def __init__(self, blocks: bool) -> None:
        self._blocks = blocks

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Tensors (1, tokens) of ids, labels, positions and ones; `spans` (spans, 4)."""
        import torch

        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        spans: list[list[int]] = []
        for row in rows:
            spans += [[edge + len(ids) for edge in span] for span in row["spans"]]
            ids += row["input_ids"]
            labels += row["labels"]
            positions += row["position_ids"]
        if self._blocks and (missing := -len(ids) % self.BLOCK):
            ids, positions = ids + [0] * missing, positions + [0] * missing
            labels = labels + [IGNORED] * missing
        tensors = {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": [1] * len(ids)}
        return {**{name: torch.tensor([each]) for name, each in tensors.items()}, "spans": torch.tensor(spans)}


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end."""
    whole = whole_checkpoints(folder)
    return whole[-1] if whole else None


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run that were written to their end, oldest first."""
    found = [path for path in (folder / "checkpoints").glob("checkpoint-*") if (path / WHOLE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _arguments(options: Options, facts: Facts, folder: Path, device: str) -> Any:
    """TRL's own settings."""
    from accelerate import PartialState
    from trl import SFTConfig

    taken = steps(options, facts, PartialState().num_processes)
    log.info("a step has %.1f target turns on average (%d asked for)", taken.targets, options.batch)
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
        gradient_accumulation_steps=taken.accumulation,
        num_train_epochs=options.epochs,
        max_steps=options.steps or -1,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        gradient_checkpointing=options.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.checkpointing else None,
        bf16=options.model.precision != "float32",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_steps=options.log_every,
        logging_first_step=True,
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


def _trainer_class(keep: int) -> Any:
    """SFTTrainer, whose checkpoints are marked when they are whole; the last `keep` stay. Made here: trl is imported late."""
    from trl import SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc]
        """See the module."""

        def create_model_card(self, *words: Any, **named: Any) -> None:
            """The card is written with the model, by pipelines/models/saving.py."""

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            home = Path(self.args.output_dir)
            made = home / f"checkpoint-{self.state.global_step}"
            with naming_last_good(home.parent):
                try:
                    super()._save_checkpoint(model, trial)
                    self.accelerator.wait_for_everyone()  # a sharded checkpoint is whole when every process has written its part
                    if self.args.should_save:
                        (made / WHOLE).touch()
                        for old in whole_checkpoints(home.parent)[:-keep]:
                            shutil.rmtree(old)
                except BaseException:
                    if self.args.should_save and not (made / WHOLE).is_file():
                        shutil.rmtree(made, ignore_errors=True)
                    raise

    return Trainer


def _just_evaluated(trainer: Any) -> bool:
    lines = trainer.state.log_history
    return any("eval_loss" in line and line["step"] == trainer.state.global_step for line in lines)


def _callback(options: Options, prepared: Prepared, metric: Metric, trainer: Any) -> Any:
    """What happens beside the steps."""
    from transformers import TrainerCallback

    class Beside(TrainerCallback):  # type: ignore[misc]
        """Metrics, sampled turns, and the check of shared prefixes before the first step."""

        began = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if options.layout == "shared_prefix":
                honours_spans(trainer)
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
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
            )
            if state.is_world_process_zero:
                counts = {f"defect_{name}": count for name, count in sampled.defects.items()}
                metric(step=state.global_step, sampled=sampled.turns, well_formed=sampled.well_formed, **counts)
                log.info("%d of %d sampled turns are well formed", sampled.well_formed, sampled.turns)

    return Beside()


def honours_spans(trainer: Any, tolerance: float = 1e-4) -> None:
    """Compare one small tree with its expanded rows on the very model that will be trained.

    Architectures that do not hand their keywords on, or have no softmax attention, would train on the wrong context without a
    word. Every process takes part, as sharded weights need.

    Raises:
        HerError: the losses differ by more than `tolerance`, in half precision by a hundred times that.
    """
    import torch

    made = smallest_shared(trainer.train_dataset)
    if made is None:
        return
    model, device = trainer.model, trainer.args.device
    training = model.training
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        ours, theirs = (_losses(model, rows, device) for rows in ([made], expanded(made)))
    model.train(training)
    exact = next(model.parameters()).dtype == torch.float32 and not trainer.args.bf16
    apart = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
    if not math.isfinite(apart) or apart > (tolerance if exact else 100 * tolerance):
        raise HerError(
            f"{type(model).__name__} does not honour shared prefixes: its losses differ by {apart:.1e} from those of expanded "
            "rows; use layout=plain"
        )
    log.info("shared prefixes agree with expanded rows to %.1e", apart)


def smallest_shared(rows: Any, looked_at: int = 64) -> dict[str, list[Any]] | None:
    """Of the first rows, the smallest trunk that has a branch, alone with it: a row of two spans."""
    best: dict[str, list[Any]] | None = None
    for row in (rows[place] for place in range(min(len(rows), looked_at))):
        starts = {span[0]: span for span in row["spans"] if span[2] == span[3]}
        for start, stop, first, last in row["spans"]:
            if last <= first:
                continue
            trunk = starts[first]
            size = trunk[1] - trunk[0] + stop - start
            if best is not None and size >= len(best["input_ids"]):
                continue
            cut = {
                name: row[name][trunk[0] : trunk[1]] + row[name][start:stop] for name in ("input_ids", "labels", "position_ids")
            }
            wide = trunk[1] - trunk[0]
            best = {**cut, "spans": [[0, wide, 0, 0], [wide, size, 0, last - first]]}
    return best


def expanded(row: Mapping[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """Each span of a row as a row of its own, with all that it sees before it."""
    rows = []
    for start, stop, first, last in row["spans"]:
        seen = {name: row[name][first:last] + row[name][start:stop] for name in ("input_ids", "position_ids")}
        labels = [IGNORED] * (last - first) + row["labels"][start:stop]
        rows.append({**seen, "labels": labels, "spans": [[0, len(labels), 0, 0]]})
    return rows


def _losses(model: Any, rows: Sequence[Mapping[str, Any]], device: Any) -> Any:
    """Of every trained token, in order."""
    import torch

    found = []
    for row in rows:
        inputs = {name: tensor.to(device) for name, tensor in Join(device.type != "cpu")([row]).items()}
        out = model(**inputs, use_cache=False, fused_lm_head=True)
        found.append(-out.log_probs[out.label_mask].float())
    return torch.cat(found)
