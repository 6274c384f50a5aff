"""From finished scenes to what trains: transcripts, samples by split, the audit, the card. Files in the run folder:

transcripts.jsonl          the spine, every scene with its plans
splits.json                the split of every conversation
dropped.jsonl              every turn that became no sample, and why        held_out.json  what the test set holds out
dataset/SPLIT/*            TRL prompt-completion Parquet, ShareGPT JSON lines, verl Parquet for `rl` and `rm_rl`
dataset/README.md          the dataset card          audit.jsonl, audit.md
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from her.characters.coser import BookScene
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.runs.folder import RunStatus
from her.training_data.audit import Audit, AuditLimits, AuditReport, write_audit
from her.training_data.samples import Dropped, samples
from her.training_data.splits import HeldOut, Splits, SplitUnit, conversation, leaks, read_held_out, split
from her.types import Sample, Transcript
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.outputs.card import CardFacts, CardSource, write_card
from pipelines.synthesize.outputs.encoder import encoder
from pipelines.synthesize.outputs.exports import ParquetRows, sharegpt, trl_table, verl_rows

FOR_RL = ("rl", "rm_rl", "test")
"""Splits that are also written in verl's form."""


class FinishedDataset(NamedTuple):
    """Counts for the report, and the audit of every split; `her.training_data.audit.require` says whether all is well."""

    counts: dict[str, Any]
    audit: tuple[AuditReport, ...]


@dataclass
class Spine:
    """What splitting and the card have to know of the transcripts. `dropped`: turns that become no sample, by reason."""

    kept: list[SplitUnit] = field(default_factory=list)
    held: list[dict[str, str]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    books: Counter[str] = field(default_factory=Counter)
    languages: set[str] = field(default_factory=set)


def finish(folder: Path, last: str, options: SynthesisOptions, status: RunStatus, models: dict[str, str]) -> FinishedDataset:
    """Write everything that is made of the scenes in `LAST.jsonl`. `models`: which was asked, by stage.

    Raises:
        InputError: two splits know of each other, or of the test set; nothing is written then.
    """
    held_out = read_held_out(options.samples.test_set) if options.samples.test_set else None
    plans = "system_thinking" in options.stages
    spine = _transcripts(folder, last, held_out, plans)
    kept, dropped = spine.kept, spine.dropped
    wanted = options.samples
    splits = split(kept, wanted.shares, by=wanted.split_by, seed=options.seed)  # type: ignore[arg-type]
    if found := leaks(kept, splits):
        raise InputError(f"the splits leak into each other: {found[0]} ({len(found)} such)")
    with replacing(folder / "splits.json") as file:
        file.write(splits.model_dump_json(indent=1) + "\n")
    reports = _datasets(folder, splits, options, plans)
    write_audit(folder, reports)
    counts = {report.name: report.samples for report in reports}
    for report in reports:
        dropped["too_long"] += report.dropped.get("too_long", 0)
    told = {name: count for name, count in sorted(dropped.items()) if count}
    made = {
        "transcripts": len(kept),
        "held_out": len(spine.held),
        "samples": counts,
        "dropped": told,
        "split_by": wanted.split_by,
    }
    facts = _facts(options, status, spine, made, models)
    write_card(folder / "dataset", facts, reports)
    return FinishedDataset(made, tuple(reports))


def _facts(options: SynthesisOptions, status: RunStatus, spine: Spine, made: dict[str, Any], models: dict[str, str]) -> CardFacts:
    """What the card tells."""
    books = sorted(spine.books.items())
    return CardFacts(
        name=options.name,
        licence=options.licence,
        languages=tuple(sorted(spine.languages)),
        command=f"her run synthesize @config.toml name={options.name}",
        commit=status.commit,
        seed=options.seed,
        split_by=options.samples.split_by,
        splits=made["samples"],
        dropped=made["dropped"],
        held_out=made["held_out"],
        plans="system_thinking" in options.stages,
        models=models,
        prompts=prompt_hashes(),
        inputs={name: digest for name, digest in status.hashes.items() if name != "prompts"},
        sources=tuple(CardSource(name=book, licence=options.licence, transcripts=count) for book, count in books),
        test_set=options.samples.test_set.name if options.samples.test_set else "",
    )


def prompt_hashes() -> dict[str, str]:
    """sha256 of every prompt, by file name."""
    prompts = sorted((each for each in files("her.prompts").iterdir() if each.name.endswith(".md")), key=lambda each: each.name)
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in prompts}


def _transcripts(folder: Path, last: str, held_out: HeldOut | None, plans: bool) -> Spine:
    """Write `transcripts.jsonl`, and what the test set holds out into `held_out.json`."""
    spine = Spine()

    def chosen() -> Iterator[Transcript]:
        for scene in jsonl.read(folder / f"{last}.jsonl", BookScene):
            if held_out and (reason := held_out.why(scene)):
                spine.held.append({"scene": scene.id, "book": scene.book, "reason": reason})
                continue
            transcript = scene.transcript()
            rows = list(samples(transcript, plans=plans))
            spine.books[scene.book] += 1
            spine.languages.add(scene.scenario.language)
            spine.dropped.update(row.reason for row in rows if isinstance(row, Dropped))
            spine.kept.append(conversation(transcript, sum(isinstance(row, Sample) for row in rows)))
            yield transcript

    jsonl.write(folder / "transcripts.jsonl", chosen())
    with replacing(folder / "held_out.json") as file:
        json.dump(spine.held, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return spine


def _datasets(folder: Path, splits: Splits, options: SynthesisOptions, plans: bool) -> list[AuditReport]:
    """Write the samples of every split in every form, transcript by transcript, each looked at on its way.

    A turn that becomes none is listed in `dropped.jsonl`.
    """
    limits = AuditLimits(most_tokens=options.samples.most_tokens, dropped=options.samples.dropped, plans=plans)
    counting = encoder(options.samples.tokenizer)
    audits = {name: Audit(name, counting, limits) for name in splits.shares}
    with ExitStack() as stack:
        writers = {}
        left = stack.enter_context(replacing(folder / "dropped.jsonl"))
        for name in splits.shares:
            here = folder / "dataset" / name
            rows = [stack.enter_context(ParquetRows(here / "trl.parquet", trl_table))]
            if name in FOR_RL:
                rows.append(stack.enter_context(verl_rows(here / "verl.parquet", name)))
            writers[name] = (rows, stack.enter_context(replacing(here / "sharegpt.jsonl")))
        for transcript in jsonl.read(folder / "transcripts.jsonl", Transcript):
            name = splits.of[transcript.id]
            parquet, lines = writers[name]
            for row in samples(transcript, plans=plans):
                if isinstance(row, Dropped):
                    audits[name].drop(row)
                    left.write(row.model_dump_json() + "\n")
                elif audits[name].add(row):
                    for writer in parquet:
                        writer.add(row)
                    lines.write(sharegpt(row))
                else:
                    long = Dropped(transcript=row.transcript, turn=row.turn, speaker=row.speaker, reason="too_long")
                    left.write(long.model_dump_json() + "\n")
    return [audits[name].report() for name in splits.shares]
