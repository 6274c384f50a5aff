"""Reinforcement learning of a generative reward model on labelled pairs, with TRL's GRPOTrainer.

    reward = form x (agreement with the label + consistency x share of the twin's answers with the same verdict)

The form is what her/judging reads, and the answer must have ended by itself. Both orders of a pair (twins) are in one batch of
answers, since each is worth more when the other's answers agree. There is exactly one reward function: with a second one TRL
1.16 does not treat a missing reward as neutral. Its parts are logged.
"""

import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.models.atomic_folder import explain_full_disk
from pipelines.models.checkpoints import delete_incomplete, last_checkpoint, marking_trainer, step_of
from pipelines.models.loading import load_model, lora_config
from pipelines.models.options import ModelOptions
from pipelines.models.prompt_tokens import TextPrompts
from pipelines.models.step_guards import AllStepsDone
from pipelines.reward.generative_heads import HEADS, Head, Worth
from pipelines.reward.generative_rows import grpo_rows
from pipelines.reward.labelled_pairs import LabelledPair
from pipelines.reward.options import RewardOptions
from pipelines.reward.scalar import Metric, add_callback

log = logging.getLogger(__name__)


def reinforce(
    options: RewardOptions,
    base: ModelOptions,
    tokenizer: Any,
    pairs: Sequence[LabelledPair],
    folder: Path,
    metric: Metric,
    device: str,
) -> Any:
    """Train `base` from the last complete checkpoint in `folder`, or from step 0; return the trainer.

    Args:
        base: model to start from.
        pairs: labelled pairs, none of them settled without a judge.
        folder: checkpoints go to `checkpoints/` in it.

    Raises:
        HerError: the loss is NaN or infinite, or a checkpoint could not be written.
    """
    trainer = build_trainer(options, base, tokenizer, pairs, folder, device)
    last = last_checkpoint(folder)
    delete_incomplete(folder)
    if last is not None:
        log.info("resumes from %s", last.name)
        metric(resumed_at=step_of(last))
    add_callback(trainer, metric)
    if options.generative.grpo.minutes:
        _add_clock(trainer, options.generative.grpo.minutes)
    try:
        with explain_full_disk(folder):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except AllStepsDone:
        log.info("all steps of reinforcement learning were done before")
    return trainer


def build_trainer(
    options: RewardOptions, base: ModelOptions, tokenizer: Any, pairs: Sequence[LabelledPair], folder: Path, device: str
) -> Any:
    """Return the trainer with its model; nothing is trained yet."""
    from datasets import Dataset
    from transformers import PrinterCallback, set_seed
    from trl import GRPOTrainer

    head = HEADS[options.generative.form]
    drawn = list(pairs)
    random.Random(f"grpo {options.seed}").shuffle(drawn)
    set_seed(options.seed)
    trainer = marking_trainer(type("VerdictTrainer", (TextPrompts, GRPOTrainer), {}), options.keep)(
        model=load_model(base, options.lora, tokenizer, device),
        reward_funcs=verdict_reward(head, drawn, options.generative.grpo.consistency, tokenizer.eos_token_id),
        args=_arguments(options, folder, device),
        train_dataset=Dataset.from_list(grpo_rows(head, drawn, options.generative.instructions)),
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def verdict_reward(head: Head, pairs: Sequence[LabelledPair], consistency: float, stop: int) -> Any:
    """Return the reward function of a batch; `place` and `side` are columns of the data set, `pairs` in its order."""

    def verdict(completions: Any, completion_ids: Any, place: Any, side: Any, **others: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        ended = [stop in ids for ids in completion_ids]
        values = [
            head.read(pairs[at], which, text).value if whole else None
            for at, which, text, whole in zip(place, side, texts, ended, strict=True)
        ]
        worths = twin_worths(head, pairs, place, side, values)
        if report := others.get("log_metric"):
            for name, value in _parts(worths, values).items():
                report(name, value)
        return [worth.reward(consistency) for worth in worths]

    return verdict


def twin_worths(
    head: Head, pairs: Sequence[LabelledPair], places: Sequence[int], sides: Sequence[Any], values: Sequence[Any]
) -> list[Worth]:
    """Return the worth of every answer of a batch.

    Raises:
        ValueError: a prompt's twin is not in the batch.
    """
    groups: dict[tuple[int, str], list[Any]] = {}
    for at, side, value in zip(places, sides, values, strict=True):
        groups.setdefault((at, side), []).append(value)
    if alone := [key for key in groups if (key[0], _other(key[1])) not in groups]:
        raise ValueError(f"the twin of pair {pairs[alone[0][0]].id!r} is in another batch; a batch holds whole pairs")
    return [
        head.worth(pairs[at], side, value, groups[at, _other(side)])
        for at, side, value in zip(places, sides, values, strict=True)
    ]


def _other(side: str) -> str:
    return "b" if side == "a" else "a"


def _parts(worths: Sequence[Worth], values: Sequence[Any]) -> dict[str, float]:
    readable = [worth for worth in worths if worth.readable]
    share = 1 / max(1, len(readable))
    return {
        "readable": len(readable) / len(worths),
        "agreement": sum(worth.agreement for worth in readable) * share,
        "consistency": sum(worth.consistency for worth in readable) * share,
        "ties": sum(value == "tie" for value in values) * share,
    }


def _arguments(options: RewardOptions, folder: Path, device: str) -> Any:
    from trl import GRPOConfig

    grpo = options.generative.grpo
    answers = 2 * grpo.pairs * grpo.answers
    return GRPOConfig(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=grpo.rows,
        gradient_accumulation_steps=answers // grpo.rows,
        steps_per_generation=answers // grpo.rows,  # one batch of answers a step: whole pairs on every device
        num_generations=grpo.answers,
        max_completion_length=grpo.tokens,
        max_steps=grpo.steps,
        temperature=grpo.temperature,
        top_p=1.0,
        top_k=0,
        shuffle_dataset=False,  # the order is drawn in build_trainer; TRL would part twins
        beta=grpo.kl,
        learning_rate=grpo.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=options.warmup,
        adam_beta2=options.beta2,
        max_grad_norm=options.clip,
        gradient_checkpointing=options.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if options.checkpointing else None,
        bf16=options.model.precision != "float32",
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        logging_steps=options.log_every,
        logging_nan_inf_filter=False,
        save_steps=options.save_every,
        report_to=[],
        seed=options.seed,
        data_seed=options.seed,
        disable_tqdm=True,
    )


def _add_clock(trainer: Any, minutes: float) -> None:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        """End the training after so many minutes."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.began = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if time.monotonic() - self.began >= 60 * minutes:
                control.should_training_stop = control.should_save = True

    trainer.add_callback(Clock())
