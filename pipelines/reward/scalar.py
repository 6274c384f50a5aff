"""Train the scalar reward model: a causal language model with a head of one number over its last token."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from her.errors import InputError
from pipelines.models.atomic_folder import explain_full_disk
from pipelines.models.checkpoints import delete_incomplete, last_checkpoint, step_of
from pipelines.models.from_scratch import create_model
from pipelines.models.loading import lora_config, model_source
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.step_guards import AllStepsDone, require_finite
from pipelines.reward.inputs import Rows
from pipelines.reward.options import RewardOptions
from pipelines.reward.trainer import pair_collator, reward_trainer

log = logging.getLogger(__name__)
HEAD = "score"
"""Name of the head in transformers' sequence classification models of the Qwen and Llama families."""
Metric = Callable[..., None]


def train_scalar(options: RewardOptions, tokenizer: Any, rows: Rows, folder: Path, metric: Metric, device: str) -> Any:
    """Train from the last complete checkpoint in `folder`, or from step 0; return the trainer with the trained model.

    Args:
        rows: encoded pairs.
        folder: checkpoints go to `checkpoints/` in it.
        metric: writes one line of metrics.
        device: `cpu` or `cuda`.

    Raises:
        HerError: the loss is NaN or infinite, or a checkpoint could not be written.
    """
    trainer = build_trainer(options, tokenizer, rows, folder, device)
    last = last_checkpoint(folder)
    delete_incomplete(folder)
    if last is not None:
        log.info("resumes from %s", last.name)
        metric(resumed_at=step_of(last))
    add_callback(trainer, metric)
    with suppress(AllStepsDone), explain_full_disk(folder):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    return trainer


def build_trainer(options: RewardOptions, tokenizer: Any, rows: Rows, folder: Path, device: str) -> Any:
    """Return the trainer with its model; nothing is trained yet."""
    from datasets import Dataset
    from transformers import PrinterCallback, set_seed

    set_seed(options.seed)
    trainer = reward_trainer(options.keep)(
        model=load_classifier(options.model, tokenizer),
        args=_arguments(options, folder, device),
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
        data_collator=pair_collator(tokenizer.pad_token_id),
        peft_config=classifier_lora(options.lora),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def load_classifier(options: ModelOptions, tokenizer: Any) -> Any:
    """Return the base with a new head of one output; a model of random weights when there is no base.

    Raises:
        InputError: the base cannot be read, lacks weights other than the head's, or has fewer embeddings than tokens.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    if not options.base:
        config = create_model(options.shape, tokenizer, dtype).config
        config.num_labels = 1
        return AutoModelForSequenceClassification.from_config(config, dtype=dtype, attn_implementation="sdpa")
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            model_source(options),
            revision=options.revision or "main",
            num_labels=1,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        why = " ".join(str(error).split())[:240]
        raise InputError(f"model.base '{options.base}' cannot be read as a model with safetensors: {why}") from error
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith(f"{HEAD}.")):
        raise InputError(f"model.base '{options.base}' lacks {len(missing)} of its weights, such as {missing[0]}")
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise InputError(f"the tokenizer has {len(tokenizer)} tokens and the model '{options.base}' takes {embeddings}")
    return model


def classifier_lora(lora: LoraOptions) -> Any:
    """Return PEFT's configuration of the adapters with the head trained whole; None when all weights are trained."""
    config = lora_config(lora)
    if config is not None:
        config.task_type, config.modules_to_save = "SEQ_CLS", [HEAD]
    return config


def _arguments(options: RewardOptions, folder: Path, device: str) -> Any:
    from trl import RewardConfig

    return RewardConfig(
        output_dir=str(folder / "checkpoints"),
        max_length=None,  # TRL would filter silently; pairs that are too long are counted in inputs.py
        center_rewards_coefficient=options.loss.centring or None,
        per_device_train_batch_size=options.rows,
        gradient_accumulation_steps=options.batch // options.rows,
        num_train_epochs=options.epochs,
        max_steps=options.steps or -1,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.schedule,
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


def add_callback(trainer: Any, metric: Metric) -> None:
    """Add metrics and the end at a NaN loss to a trainer."""
    from transformers import TrainerCallback

    class MetricCallback(TrainerCallback):  # type: ignore[misc]
        """Write metrics, and stop at a NaN or infinite loss before its step is saved."""

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step >= state.max_steps:
                raise AllStepsDone

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            control.should_log |= control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, (int, float))}
            require_finite(state.global_step, numbers)
            metric(step=state.global_step, **numbers)
            if "loss" in numbers:
                log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, numbers["loss"])

    trainer.add_callback(MetricCallback())
