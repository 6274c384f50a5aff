"""Turn samples into rows on disk, once a run: `prepared/` in its folder. Later starts and the other processes read it there.

prepared/  tokenizer/                 with its chat template; trained here for a model from scratch
           train/ held_out/           rows as the trainer reads them, memory-mapped Arrow files
           text_pretraining/          rows of text pretraining
           pretrained/                the model after text pretraining (train/text_pretraining.py)
           held_out.jsonl             samples whose prompts are sampled from
           audit.jsonl, audit.md      what training sees (her/training_data/audit.py)
           facts.json                 `RowFacts`; written last, so it marks `prepared/` as complete
"""

import logging
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import HerError, InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.training_data.audit import write_audit
from her.types import Sample
from pipelines.models.atomic_folder import explain_full_disk
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.fitness import require_fit
from pipelines.models.loading import load_tokenizer, read_config
from pipelines.models.model_card import licence_of
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.audit import audit_samples
from pipelines.sft.rows.noise import add_noise, noise_for
from pipelines.sft.rows.rows import RowFacts, encode_passages, encode_samples, load_rows, save_rows, text_rows, write_rows
from pipelines.sft.rows.sample_files import read_samples

log = logging.getLogger(__name__)
PREPARED, TEXT_ROWS, PRETRAINED = "prepared", "text_pretraining", "pretrained"


class Prepared(NamedTuple):
    """Input of training. `train` and `held_out` are `datasets.Dataset`; the latter is None when nothing is held out."""

    template: ChatTemplate
    train: Any
    held_out: Any
    prompts: tuple[Sample, ...]
    facts: RowFacts


def prepare_rows(options: TrainingOptions, folder: Path) -> RowFacts:
    """Read, audit, encode and write the samples, unless an earlier start did; `folder` is that of the run.

    Raises:
        InputError: nothing to learn, or the audit found a problem.
        HerError: no room left on the disk.
    """
    home = folder / PREPARED
    if (home / "facts.json").is_file():
        return _read_facts(home)
    shutil.rmtree(home, ignore_errors=True)  # what a kill left behind
    with explain_full_disk(folder):
        facts = _prepare(options, home)
    log.info(
        "%s targets in %s rows of %s tokens, %.2f times fewer than expanded rows",
        *(facts.targets, facts.rows, facts.laid_tokens, facts.expanded_tokens / facts.laid_tokens),
    )
    return facts


def load_prepared(folder: Path) -> Prepared:
    """Load what `prepare_rows` wrote.

    Raises:
        HerError: this process does not see it, so HER_HOME is not shared by all nodes.
    """
    home = folder / PREPARED
    if not (home / "facts.json").is_file():
        raise HerError(f"this process does not see '{home}'; HER_HOME must be a folder that all nodes share")
    return Prepared(
        ChatTemplate(str(home / "tokenizer")),
        load_rows(home / "train"),
        load_rows(home / "held_out"),
        tuple(jsonl.read(home / "held_out.jsonl", Sample)),
        _read_facts(home),
    )


def has_text_pretraining(options: TrainingOptions) -> bool:
    """Return whether the model is from scratch and is pretrained on text first."""
    return not options.model.base and options.model.shape.pretraining_steps > 0


def context_of(options: TrainingOptions) -> int:
    """Return the most positions of the model that is trained.

    Raises:
        InputError: the base has no config that transformers knows, or the config does not say.
    """
    base = options.model.base
    if not base:
        return options.model.shape.context
    positions = getattr(read_config(options.model), "max_position_embeddings", None)
    if not positions:
        raise InputError(f"the config of '{base}' has no max_position_embeddings, so the longest sample is not known")
    return int(positions)


def _prepare(options: TrainingOptions, home: Path) -> RowFacts:
    """Do all of it, into a `home` that does not exist yet."""
    require_fit(options.model, options.lora, unshared="layout=plain" if options.layout == "shared_prefix" else "")
    licence_of(options.model.base, options.model.licence)  # raises for an unreadable model card now, not after training
    train, held_out = read_samples(options.samples, options.seed)
    texts = (message.content for sample in train for message in sample.messages)
    template = ChatTemplate(load_tokenizer(options.model, texts))
    reports, train, held_out = audit_samples(train, held_out, template, options, context_of(options))
    home.mkdir(parents=True)
    template.tokenizer.save_pretrained(home / "tokenizer")
    write_audit(home, reports)
    prompts = random.Random(options.seed).sample(held_out, min(options.evaluation.turns, len(held_out)))
    jsonl.write(home / "held_out.jsonl", prompts)
    noise = noise_for(options, template)
    # Each pass over the samples gets its own noise, so the rows are written once for each pass.
    change = partial(add_noise, noise=noise, passes=options.steps * options.batch / len(train))
    facts = write_rows(options, home, encode_samples(train, template), list(encode_samples(held_out, template)), change)
    if has_text_pretraining(options):
        rows = list(text_rows(list(encode_passages(train, template)), options.seed))
        save_rows(home / TEXT_ROWS, add_noise(rows, noise, options.model.shape.pretraining_steps / len(rows)))
    with replacing(home / "facts.json") as file:
        file.write(facts.model_dump_json(indent=2))
    return facts


def _read_facts(home: Path) -> RowFacts:
    return RowFacts.model_validate_json((home / "facts.json").read_text("utf-8"))
