"""Train a policy with TRL's GRPOTrainer over groups, resumed from the last complete checkpoint."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from her.errors import InputError
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.atomic_folder import explain_full_disk
from pipelines.models.attention import register_attention
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.checkpoints import delete_incomplete, last_checkpoint, step_of
from pipelines.models.loading import load_model, lora_config
from pipelines.models.merging import base_of
from pipelines.models.shared_rows import select_trained
from pipelines.models.step_guards import AllStepsDone
from pipelines.rl.arguments import grpo_config, require_whole_batches
from pipelines.rl.metrics import Metric, add_metrics
from pipelines.rl.options import RlOptions
from pipelines.rl.redrawing import Redrawing, Reward, RewardMemory
from pipelines.rl.session_rollouts import SessionRollouts, session_player
from pipelines.rl.trl_overrides import group_trainer, require_known_trl, sync_out_of_place

log = logging.getLogger(__name__)
Prepare = Callable[[Any], None]
"""What is done with a trainer before it trains."""


def reinforce(
    options: RlOptions,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    reward: Reward,
    folder: Path,
    metric: Metric,
    device: str,
    before_first_step: Prepare | None = None,
    prepare: Prepare | None = None,
) -> Any:
    """Train from the last complete checkpoint in `folder`, or from step 0; return the trainer with the trained model.

    Args:
        rows: the data set: `prompt` as messages and the columns that the reward reads.
        reward: the one reward function.
        before_first_step: called with the trainer when no step was done yet, such as the check of the format.
        prepare: called with the trainer at every start, such as to add the panel.

    Raises:
        HerError: the run cannot go on, such as at a NaN loss or when too many groups are flat.
        RunStopped: it can be resumed later, such as when the reward service is down.
    """
    trainer = build_trainer(options, tokenizer, rows, reward, folder, device)
    if prepare is not None:
        prepare(trainer)
    return resume(trainer, folder, metric, before_first_step)


def resume(trainer: Any, folder: Path, metric: Metric, before_first_step: Prepare | None = None) -> Any:
    """Train from the last complete checkpoint in `folder`, or from step 0; return the trainer."""
    last = last_checkpoint(folder)
    if trainer.is_world_process_zero():
        delete_incomplete(folder)
    if last is None and before_first_step is not None:
        before_first_step(trainer)
    if last is not None and trainer.is_world_process_zero():
        log.info("resumes from %s", last.name)
        metric(resumed_at=step_of(last))
    add_metrics(trainer, metric)
    with suppress(AllStepsDone), explain_full_disk(folder):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    return trainer


def build_trainer(
    options: RlOptions, tokenizer: Any, rows: Sequence[dict[str, Any]], reward: Reward, folder: Path, device: str
) -> Any:
    """Return the trainer with its model; nothing is trained yet.

    Raises:
        HerError: another TRL than the one that the overrides were written for.
        InputError: a launch that splits groups, too few prompts for one step, or a model that cannot be loaded.
    """
    from accelerate import PartialState
    from datasets import Dataset
    from transformers import set_seed

    processes = PartialState().num_processes
    require_known_trl()
    require_whole_batches(options, processes)
    if len(rows) < (wanted := options.batch // options.rollout.answers):
        raise InputError(
            f"there are {len(rows)} prompts and a step takes {wanted} different ones; lower batch, or give more prompts"
        )
    set_seed(options.seed)
    attention = register_attention() if options.rollout.shared_prefix else ""
    model = load_model(options.model, options.lora, tokenizer, device, attention=attention)
    trainer = group_trainer(options.keep)(
        model=model,
        reward_funcs=reward,
        args=grpo_config(options, folder, device, processes),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        peft_config=lora_config(options.lora),
    )
    trainer.shared = options.rollout.shared_prefix
    if trainer.shared:
        select_trained(base_of(trainer.model).base_model)
        if trainer.ref_model is not None:
            select_trained(trainer.ref_model.base_model)
    if options.checkpointing == "light":
        enable_light_checkpointing(base_of(trainer.model))
        trainer.light = True
    if trainer.use_vllm and options.lora.rank and not (trainer._dist.is_fsdp or trainer._dist.is_zero3):
        sync_out_of_place(trainer)
    memory = RewardMemory(folder / f"judged-{trainer.accelerator.process_index}.jsonl")
    flat = (options.rollout.redraws, options.rollout.most_dropped)
    if options.rollout.unit == "session":
        trainer.redrawing = SessionRollouts(reward, memory, *flat, session_player(options, tokenizer), ChatTemplate(tokenizer))
    else:
        trainer.redrawing = Redrawing(reward, memory, *flat)
    if options.rollout.token_weights.strength:
        trainer.persona_weights = options.rollout.token_weights
    return trainer
