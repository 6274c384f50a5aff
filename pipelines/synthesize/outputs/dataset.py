"""Write transcripts, samples, splits, the audit and the dataset card from finished scenes. Files in the run folder:

transcripts.jsonl          every scene as a `Transcript`, plans included
splits.json                the split of every conversation
dropped.jsonl              every turn that became no sample, and why
held_out.json              every scene excluded for the test set, and why
dataset/SPLIT/*            TRL prompt-completion Parquet, ShareGPT JSON lines, verl Parquet for the splits in `FOR_RL`
dataset/README.md          the dataset card
audit.jsonl, audit.md      the audit of every split (her/training_data/audit.py)
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from her.characters.coser import BookScene
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.runs.folder import RunStatus
from her.training_data.audit import Audit, AuditLimits, AuditReport, Encoder, EstimatedEncoder, write_audit
from her.training_data.samples import Dropped, samples
from her.training_data.splits import HeldOut, Splits, SplitUnit, conversation, leaks, read_held_out, split
from her.types import ENVIRONMENT, Sample, Transcript
from pipelines.models.chat_template import ChatTemplate
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.outputs.dataset_card import DatasetFacts, DatasetSource, write_card
from pipelines.synthesize.outputs.exports import ParquetRows, sharegpt, trl_table, verl_rows
from pipelines.synthesize.stages.stage_table import FIRST_INPUT

FOR_RL = ("rl", "rm_rl", "test")
"""Splits that are written in verl's form as well."""


class WrittenDataset(NamedTuple):
    """Counts for the report, and the audit of every split; `her.training_data.audit.require` refuses a bad one."""

    counts: dict[str, Any]
    audit: tuple[AuditReport, ...]


@dataclass
class TranscriptFacts:
    """Facts about the transcripts that splitting and the dataset card need.

    Args:
        units: the transcripts that are kept.
        held_out: scenes excluded for the test set.
        dropped: turns that become no sample, by reason.
        books: number of transcripts by book.
    """

    units: list[SplitUnit] = field(default_factory=list)
    held_out: list[dict[str, str]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    books: Counter[str] = field(default_factory=Counter)
    languages: set[str] = field(default_factory=set)


def write_dataset(
    folder: Path, last: str, options: SynthesisOptions, status: RunStatus, models: dict[str, str]
) -> WrittenDataset:
    """Write everything that is made from the scenes in `LAST.jsonl`.

    Args:
        last: name of the last stage.
        models: the model that each question was asked of, by question name.

    Raises:
        InputError: two splits share text; no dataset is written then.
    """
    held_out = read_held_out(options.samples.test_set) if options.samples.test_set else None
    plans = options.adds_plans()
    facts = _write_transcripts(folder, last, held_out, plans)
    shares, split_by = options.samples.shares, options.samples.split_by
    splits = split(facts.units, shares, by=split_by, seed=options.seed)  # type: ignore[arg-type]
    if found := leaks(facts.units, splits):
        raise InputError(f"the splits share text: {found[0]} ({len(found)} such cases)")
    with replacing(folder / "splits.json") as file:
        file.write(splits.model_dump_json(indent=1) + "\n")
    reports = _write_samples(folder, splits, options, plans)
    write_audit(folder, reports)
    for report in reports:
        facts.dropped["too_long"] += report.dropped.get("too_long", 0)
    counts = {
        "transcripts": len(facts.units),
        "held_out": len(facts.held_out),
        "samples": {report.name: report.samples for report in reports},
        "dropped": {reason: count for reason, count in sorted(facts.dropped.items()) if count},
        "split_by": split_by,
    }
    write_card(folder / "dataset", _card_facts(options, status, facts, counts, models), reports)
    return WrittenDataset(counts, tuple(reports))


def require_splits(folder: Path, options: SynthesisOptions) -> None:
    """Refuse scenes that leave a split empty, before any model is asked about them.

    The stages change no ids and hardly any line, so the splits of the scenes as they were read are nearly those of the dataset.

    Raises:
        InputError: a split would have no conversation.
    """
    held_out = read_held_out(options.samples.test_set) if options.samples.test_set else None
    units = []
    for scene in jsonl.read(folder / f"{FIRST_INPUT}.jsonl", BookScene):
        if not (held_out and held_out.why(scene)):
            units.append(conversation(scene.transcript(), sum(turn.speaker != ENVIRONMENT for turn in scene.turns)))
    shares, split_by = options.samples.shares, options.samples.split_by
    splits = split(units, shares, by=split_by, seed=options.seed)  # type: ignore[arg-type]
    filled = set(splits.of.values())
    if empty := [name for name in splits.shares if name not in filled]:
        books = len({unit.book for unit in units})
        raise InputError(
            f"the split '{empty[0]}' would be empty: {len(units)} conversations of {books} books, split by {split_by}; give more "
            f"scenes, or set samples.shares without it (samples.split_by=conversation needs fewer books)"
        )


def _card_facts(
    options: SynthesisOptions, status: RunStatus, facts: TranscriptFacts, counts: dict[str, Any], models: dict[str, str]
) -> DatasetFacts:
    books = sorted(facts.books.items())
    return DatasetFacts(
        name=options.name,
        licence=options.licence,
        languages=tuple(sorted(facts.languages)),
        command=f"her run synthesize @config.toml name={options.name}",
        commit=status.commit,
        seed=options.seed,
        split_by=options.samples.split_by,
        splits=counts["samples"],
        dropped=counts["dropped"],
        held_out=counts["held_out"],
        plans=options.adds_plans(),
        models=models,
        prompts=prompt_hashes(),
        inputs={name: digest for name, digest in status.hashes.items() if name != "prompts"},
        sources=tuple(DatasetSource(name=book, licence=options.licence, transcripts=count) for book, count in books),
        test_set=options.samples.test_set.name if options.samples.test_set else "",
    )


def prompt_hashes() -> dict[str, str]:
    """Return the sha256 of every prompt, by file name."""
    prompts = sorted((each for each in files("her.prompts").iterdir() if each.name.endswith(".md")), key=lambda each: each.name)
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in prompts}


def open_encoder(tokenizer: str) -> Encoder:
    """Return the audit's encoder: a tokenizer's folder or repository, or an estimate when the name is empty."""
    return ChatTemplate(tokenizer) if tokenizer else EstimatedEncoder()


def _write_transcripts(folder: Path, last: str, held_out: HeldOut | None, plans: bool) -> TranscriptFacts:
    """Write `transcripts.jsonl` and `held_out.json`."""
    facts = TranscriptFacts()

    def kept() -> Iterator[Transcript]:
        for scene in jsonl.read(folder / f"{last}.jsonl", BookScene):
            if held_out and (reason := held_out.why(scene)):
                facts.held_out.append({"scene": scene.id, "book": scene.book, "reason": reason})
                continue
            transcript = scene.transcript()
            # Only counted here: a split is known after all transcripts, so `_write_samples` makes the samples again
            # rather than keep those of a whole corpus in memory.
            rows = list(samples(transcript, plans=plans))
            facts.books[scene.book] += 1
            facts.languages.add(scene.scenario.language)
            facts.dropped.update(row.reason for row in rows if isinstance(row, Dropped))
            facts.units.append(conversation(transcript, sum(isinstance(row, Sample) for row in rows)))
            yield transcript

    jsonl.write(folder / "transcripts.jsonl", kept())
    with replacing(folder / "held_out.json") as file:
        json.dump(facts.held_out, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return facts


class _SplitWriter:
    """The files of one split, and its audit while they are written."""

    def __init__(self, stack: ExitStack, folder: Path, audit: Audit) -> None:
        self.audit = audit
        self._parquet = [stack.enter_context(ParquetRows(folder / "trl.parquet", trl_table))]
        if audit.name in FOR_RL:
            self._parquet.append(stack.enter_context(verl_rows(folder / "verl.parquet", audit.name)))
        self._sharegpt: TextIO = stack.enter_context(replacing(folder / "sharegpt.jsonl"))

    def add(self, row: Sample | Dropped) -> Dropped | None:
        """Write a sample; return what was dropped instead."""
        if isinstance(row, Dropped):
            self.audit.drop(row)
            return row
        if not self.audit.add(row):  # longer than the limit; never truncated, since a target must be whole
            return Dropped(transcript=row.transcript, turn=row.turn, speaker=row.speaker, reason="too_long")
        for writer in self._parquet:
            writer.add(row)
        self._sharegpt.write(sharegpt(row))
        return None


def _write_samples(folder: Path, splits: Splits, options: SynthesisOptions, plans: bool) -> list[AuditReport]:
    """Write the samples of every split in every form and `dropped.jsonl`, one transcript in memory; return the audits."""
    limits = AuditLimits(most_tokens=options.samples.most_tokens, dropped=options.samples.dropped, plans=plans)
    encoder = open_encoder(options.samples.tokenizer)
    with ExitStack() as stack:
        dropped_file = stack.enter_context(replacing(folder / "dropped.jsonl"))
        writers = {name: _SplitWriter(stack, folder / "dataset" / name, Audit(name, encoder, limits)) for name in splits.shares}
        for transcript in jsonl.read(folder / "transcripts.jsonl", Transcript):
            writer = writers[splits.of[transcript.id]]
            for row in samples(transcript, plans=plans):
                if dropped := writer.add(row):
                    dropped_file.write(dropped.model_dump_json() + "\n")
    return [writers[name].audit.report() for name in splits.shares]
