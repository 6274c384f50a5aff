"""From samples to rows on disk, once a run: `prepared/` in its folder. A later start, and every other process, reads it there.

prepared/  tokenizer/        with its chat template; of a model from random weights it is made here
           train/ held_out/  rows as the trainer takes them, Arrow files that are mapped and not read
           reading/ base/    what a model from nothing reads first, and what comes of it (first_reading.py)
           held_out.jsonl    the samples from whose prompts turns are sampled
           audit.jsonl, .md  what was counted (her/training_data/audit.py)
           facts.json        `Facts`; written last, so it says that all the rest is whole
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
from pipelines.models.card import licence_of
from pipelines.models.disk import naming_last_good
from pipelines.models.loading import load_tokenizer, source_of
from pipelines.models.template import ChatTemplate
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.audit import check
from pipelines.sft.rows.noise import noise_of, noised
from pipelines.sft.rows.reading import read_samples
from pipelines.sft.rows.rows import Facts, encoded, lay_out, mapped, passages, read_rows, save_rows

log = logging.getLogger("sft")
FOLDER, READING, BASE = "prepared", "reading", "base"


class Prepared(NamedTuple):
    """What training needs; `train` and `held_out` are `datasets.Dataset`, the second None when nothing is held out."""

    template: ChatTemplate
    train: Any
    held_out: Any
    prompts: tuple[Sample, ...]
    facts: Facts


def prepare(options: TrainingOptions, folder: Path) -> Facts:
    """Read, check and lay out the samples, unless an earlier start has; `folder` is the run's.

    Raises:
        InputError: nothing to learn, or the audit found something that training would do in silence.
        HerError: there is no room left for the rows.
    """
    home = folder / FOLDER
    if (home / "facts.json").is_file():
        return Facts.model_validate_json((home / "facts.json").read_text("utf-8"))
    shutil.rmtree(home, ignore_errors=True)
    with naming_last_good(folder):
        facts = _prepared(options, home)
    log.info(
        "%s targets in %s rows of %s tokens, %.2f times fewer than expanded rows",
        *(facts.targets, facts.rows, facts.laid_tokens, facts.expanded_tokens / facts.laid_tokens),
    )
    return facts


def _prepared(options: TrainingOptions, home: Path) -> Facts:
    """Everything from the beginning, into an empty `home`."""
    licence_of(options.model.base, options.model.licence)  # a card that cannot be read is said now, not when all is trained
    train, held_out = read_samples(options.samples, options.seed)
    texts = (message.content for sample in train for message in sample.messages)
    template = ChatTemplate(load_tokenizer(options.model, texts))
    reports, train, held_out = check(train, held_out, template, options, context_of(options))
    home.mkdir(parents=True)
    template.tokenizer.save_pretrained(home / "tokenizer")
    write_audit(home, reports)
    dice = random.Random(options.seed)
    jsonl.write(home / "held_out.jsonl", dice.sample(held_out, min(options.evaluation.turns, len(held_out))))
    noise = noise_of(options, template)
    change = partial(noised, noise=noise, passes=options.steps * options.batch / len(train))
    facts = lay_out(options, home, encoded(train, template), list(encoded(held_out, template)), change)
    if reads_first(options):
        short = list(read_rows(list(passages(train, template)), options.seed))
        save_rows(home / READING, noised(short, noise, options.model.shape.reading / len(short)))
    _write(home / "facts.json", facts.model_dump_json(indent=2))
    return facts


def load(folder: Path) -> Prepared:
    """What `prepare` wrote; HerError where this process does not see it."""
    home = folder / FOLDER
    if not (home / "facts.json").is_file():
        raise HerError(f"'{home}' is not there for this process; HER_HOME has to be a folder that all nodes share, at once")
    return Prepared(
        ChatTemplate(str(home / "tokenizer")),
        mapped(home / "train"),
        mapped(home / "held_out"),
        tuple(jsonl.read(home / "held_out.jsonl", Sample)),
        Facts.model_validate_json((home / "facts.json").read_text("utf-8")),
    )


def reads_first(options: TrainingOptions) -> bool:
    """Whether the model is made from nothing and reads before it is trained."""
    return not options.model.base and options.model.shape.reading > 0


def context_of(options: TrainingOptions) -> int:
    """The most positions of the model that is trained.

    Raises:
        InputError: the base has no config that transformers knows, or one that says nothing of them.
    """
    base = options.model.base
    if not base:
        return options.model.shape.context
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            source_of(options.model), revision=options.model.revision or None, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the config of '{base}' cannot be read: {' '.join(str(error).split())[:240]}") from error
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not positions:
        raise InputError(f"the config of '{base}' says no max_position_embeddings, so nobody knows what is too long for it")
    return int(positions)


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)
