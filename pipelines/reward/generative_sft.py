"""Fine-tune a generative reward model with TRL's SFTTrainer: from two candidates to principles and verdict, in both orders.

Both orders of a pair stand in one batch. Fine-tuning can end when a share of verdicts on set-aside pairs is right: what follows
is reinforcement learning, which needs answers that differ.
"""

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from her.errors import InputError
from pipelines.models.atomic_folder import explain_full_disk
from pipelines.models.checkpoints import delete_incomplete, last_checkpoint, marking_trainer, step_of
from pipelines.models.loading import load_model, lora_config
from pipelines.models.step_guards import AllStepsDone
from pipelines.reward.options import RewardOptions
from pipelines.reward.scalar import Metric, add_callback

log = logging.getLogger(__name__)
Check = Callable[[Any], float]
"""Share of verdicts on set-aside pairs that a model has right."""


def fine_tune(
    options: RewardOptions, tokenizer: Any, rows: dict[str, list[Any]], folder: Path, metric: Metric, device: str, check: Check
) -> Any:
    """Train from the last complete checkpoint in `folder`, or from step 0; return the trainer with the trained model.

    Args:
        rows: of pipelines/reward/generative_rows.py; the two rows of a pair are neighbours.
        check: called every `generative.check_every` steps where `generative.stop_accuracy` is above 0.

    Raises:
        HerError: the loss is NaN or infinite, or a checkpoint could not be written.
    """
    from datasets import Dataset
    from transformers import PrinterCallback, set_seed

    if not rows["input_ids"]:
        raise InputError("no critique is left to train on; see left_out in the log, or raise pairs.most_tokens")
    set_seed(options.seed)
    trainer = _trainer_class(options.keep)(
        model=load_model(options.model, options.lora, tokenizer, device),
        args=_arguments(options, folder, device),
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    if len(trainer.train_dataset) != len(rows["input_ids"]):
        raise InputError("TRL dropped rows; every critique must have an end that is trained")
    trainer.remove_callback(PrinterCallback)
    last = last_checkpoint(folder)
    delete_incomplete(folder)
    if last is not None:
        metric(resumed_at=step_of(last))
    add_callback(trainer, metric)
    if options.generative.stop_accuracy:
        _add_check(trainer, options, check, metric)
    try:
        with explain_full_disk(folder):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except AllStepsDone:
        log.info("all steps of fine-tuning were done before")
    return trainer


def _trainer_class(keep: int) -> type[Any]:
    from trl import SFTTrainer

    class TwinTrainer(SFTTrainer):  # type: ignore[misc]
        """SFTTrainer whose batches hold both rows of a pair."""

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            dataset = self.train_dataset if train_dataset is None else train_dataset
            return TwinSampler(len(dataset), self.args.seed)

    return marking_trainer(TwinTrainer, keep)


class TwinSampler:
    """Draws pairs in a new order each epoch; the two rows of a pair, neighbours in the data set, stay neighbours."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._seed, self._epoch = rows, seed, 0

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        pairs = list(range(self._rows // 2))
        random.Random(f"{self._seed} {self._epoch}").shuffle(pairs)
        self._epoch += 1
        return iter([row for pair in pairs for row in (2 * pair, 2 * pair + 1)])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, as the trainer does after a resume."""
        self._epoch = epoch


def _arguments(options: RewardOptions, folder: Path, device: str) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_length=None,  # TRL would drop rows silently; generative_rows.py counts those that are too long
        packing=False,
        per_device_train_batch_size=options.rows,
        gradient_accumulation_steps=options.batch // options.rows,
        num_train_epochs=options.epochs,
        max_steps=options.steps or -1,
        learning_rate=options.learning_rate,
        # transformers' `constant` has no warm-up, and from random weights the first steps at the full rate do harm
        lr_scheduler_type="constant_with_warmup" if options.schedule == "constant" else options.schedule,
        warmup_steps=options.warmup,  # below 1 transformers reads it as a share of all steps
        weight_decay=options.weight_decay,
        adam_beta2=options.beta2,
        max_grad_norm=options.clip,
        gradient_checkpointing=options.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.checkpointing else None,
        bf16=options.model.precision != "float32",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        logging_steps=options.log_every,
        logging_nan_inf_filter=False,  # a NaN loss must reach the callback that stops the run
        save_steps=options.save_every,
        report_to=[],
        seed=options.seed,
        data_seed=options.seed,
        disable_tqdm=True,
    )


def _add_check(trainer: Any, options: RewardOptions, check: Check, metric: Metric) -> None:
    from transformers import TrainerCallback

    wanted, every = options.generative.stop_accuracy, options.generative.check_every

    class AccuracyCheck(TrainerCallback):  # type: ignore[misc]
        """End fine-tuning once enough verdicts on set-aside pairs are right."""

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step % every:
                return
            accuracy = check(trainer.accelerator.unwrap_model(trainer.model))
            metric(step=state.global_step, checked_accuracy=accuracy)
            log.info("step %d: %.3f of the verdicts on set-aside pairs are right", state.global_step, accuracy)
            if accuracy >= wanted:
                control.should_training_stop = control.should_save = True

    trainer.add_callback(AccuracyCheck())
