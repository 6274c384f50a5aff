"""Learn from preferences that are there already, without sampling: DPO (arXiv:2305.18290) and KTO (arXiv:2402.01306) by TRL."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.format import render
from her.judging.preference_pairs import why_unfit
from her.training_data.preference_files import preferences_in
from her.types import Message, Preference, Turn
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.checkpoints import marking_trainer
from pipelines.models.loading import load_model, lora_config
from pipelines.models.merging import base_of
from pipelines.rl.arguments import require_whole_batches, shared_arguments
from pipelines.rl.metrics import Metric
from pipelines.rl.options import RlOptions
from pipelines.rl.training import resume

log = logging.getLogger(__name__)


def learn_preferences(options: RlOptions, template: ChatTemplate, folder: Path, metric: Metric, device: str) -> Any:
    """Train with `dpo` or `kto` from the last complete checkpoint in `folder`, or from step 0; return the trainer.

    Raises:
        InputError: a file cannot be read, or no preference is fit to learn from.
        HerError: the loss is NaN or infinite, or a checkpoint could not be written.
    """
    from accelerate import PartialState
    from datasets import Dataset
    from transformers import set_seed
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    preferences = fit_preferences(options, template)
    batches = require_whole_batches(options, PartialState().num_processes)
    set_seed(options.seed)
    model = load_model(options.model, options.lora, template.tokenizer, device)
    arguments = {**shared_arguments(options, folder, device, batches), "max_length": None, "beta": options.preferences.beta}
    if options.method == "dpo":
        kind, config, rows = DPOTrainer, DPOConfig(**arguments), list(map(pair_row, preferences))
    else:
        kind, config = KTOTrainer, KTOConfig(**arguments)
        rows = [row for preference in preferences for row in label_rows(preference)]
    trainer = marking_trainer(kind, options.keep)(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=template.tokenizer,
        peft_config=lora_config(options.lora),
    )
    if options.checkpointing == "light":
        enable_light_checkpointing(base_of(trainer.model))
    metric(preferences=len(preferences))
    return resume(trainer, folder, metric)


def fit_preferences(options: RlOptions, template: ChatTemplate) -> list[Preference]:
    """Return the preferences to learn from; others are counted by reason.

    Raises:
        InputError: none is left.
    """
    left_out: Counter[str] = Counter()
    kept = []
    for preference in _read(options.preferences.files):
        why = why_unfit(preference, 0.0) or _too_long(preference, template, options.preferences.most_tokens)
        if why:
            left_out[why] += 1
        else:
            kept.append(preference)
    reasons = ", ".join(f"{count} {why}" for why, count in left_out.items())
    if not kept:
        raise InputError(
            f"no preference is left to learn from ({reasons or 'the files are empty'}); give an export of ratings with votes"
        )
    log.info("%d preferences%s", len(kept), f"; left out: {reasons}" if reasons else "")
    return kept


def pair_row(preference: Preference) -> dict[str, Any]:
    """Return the row of DPO: both answers as the model writes them, plan included."""
    sides = {"chosen": preference.chosen, "rejected": preference.rejected}
    return {"prompt": _rows(preference.prompt), **{name: _rows([answer(turn)]) for name, turn in sides.items()}}


def label_rows(preference: Preference) -> list[dict[str, Any]]:
    """Return the two rows of KTO: the chosen answer as desirable, the other as undesirable."""
    pairs = ((preference.chosen, True), (preference.rejected, False))
    prompt = _rows(preference.prompt)
    return [{"prompt": prompt, "completion": _rows([answer(turn)]), "label": label} for turn, label in pairs]


def answer(turn: Turn) -> Message:
    """Return a turn as the message of a model."""
    return Message(role="assistant", content=render(turn.parts, turn.speaker))


def _read(paths: Sequence[Path]) -> Iterator[Preference]:
    for path in paths:
        yield from preferences_in(path)


def _rows(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [message.model_dump() for message in messages]


def _too_long(preference: Preference, template: ChatTemplate, most: int) -> str:
    turns = (preference.chosen, preference.rejected)
    longest = max(len(template.ids((*preference.prompt, answer(turn)), ask=False)) for turn in turns)
    return f"over {most} tokens" if longest > most else ""
