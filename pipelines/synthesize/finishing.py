"""From finished scenes to what trains: transcripts, samples by split, the preflight, the card. Files in the run folder:

transcripts.jsonl          the spine, every scene with its plans
splits.json                the split of every conversation
dataset/SPLIT/*            TRL prompt-completion Parquet, ShareGPT JSON lines, verl Parquet for `rl` and `rm_rl`
dataset/README.md          the dataset card          preflight.json, preflight.html
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from her import jsonl
from her.errors import InputError
from her.files import replacing
from her.samples import Dropped, samples
from her.scenarios import BookScene
from her.types import Sample, Transcript
from pipelines.synthesize.exports import ParquetRows, sharegpt, trl_table, verl_rows
from pipelines.synthesize.options import Options
from pipelines.synthesize.splits import Conversation, HeldOut, Splits, conversation, leaks, read_held_out, split

log = logging.getLogger(__name__)
FOR_RL = ("rl", "rm_rl", "test")
"""Splits that are also written in verl's form."""


def finish(folder: Path, last: str, options: Options, asked: dict[str, Any]) -> dict[str, Any]:
    """Write everything that is made of the scenes in `LAST.jsonl`; counts for the report.

    Raises:
        InputError: two splits know of each other, or of the test set; nothing is written then.
    """
    held_out = read_held_out(options.samples.test_set) if options.samples.test_set else None
    plans = "system_thinking" in options.stages
    kept, held, dropped = _transcripts(folder, last, held_out, plans)
    wanted = options.samples
    splits = split(kept, wanted.shares, by=wanted.split_by, seed=options.seed)  # type: ignore[arg-type]
    if found := leaks(kept, splits):
        raise InputError(f"the splits leak into each other: {found[0]} ({len(found)} such)")
    with replacing(folder / "splits.json") as file:
        file.write(splits.model_dump_json(indent=1) + "\n")
    counts = _datasets(folder, splits, plans)
    return {
        "transcripts": len(kept),
        "held_out": held,
        "samples": counts,
        "dropped": dict(dropped),
        "split_by": wanted.split_by,
        "seed": options.seed,
    }


def _transcripts(folder: Path, last: str, held_out: HeldOut | None, plans: bool) -> tuple[list[Conversation], int, Counter[str]]:
    """Write the spine, and tell what splitting has to know of it; how many are held out; why turns become no sample."""
    kept: list[Conversation] = []
    dropped: Counter[str] = Counter()
    held = []

    def chosen() -> Iterator[Transcript]:
        for scene in jsonl.read(folder / f"{last}.jsonl", BookScene):
            if held_out and (reason := held_out.why(scene)):
                held.append({"scene": scene.id, "book": scene.book, "reason": reason})
                continue
            transcript = scene.transcript()
            rows = list(samples(transcript, plans=plans))
            dropped.update(row.reason for row in rows if isinstance(row, Dropped))
            kept.append(conversation(transcript, sum(isinstance(row, Sample) for row in rows)))
            yield transcript

    jsonl.write(folder / "transcripts.jsonl", chosen())
    with replacing(folder / "held_out.json") as file:
        json.dump(held, file, ensure_ascii=False, indent=1)
        file.write("\n")
    return kept, len(held), dropped


def _datasets(folder: Path, splits: Splits, plans: bool) -> dict[str, int]:
    """Write the samples of every split in every form, transcript by transcript; how many there are."""
    counts: Counter[str] = Counter(dict.fromkeys(splits.shares, 0))
    with ExitStack() as stack:
        writers = {}
        for name in splits.shares:
            here = folder / "dataset" / name
            rows = [stack.enter_context(ParquetRows(here / "trl.parquet", trl_table))]
            if name in FOR_RL:
                rows.append(stack.enter_context(verl_rows(here / "verl.parquet", name)))
            writers[name] = (rows, stack.enter_context(replacing(here / "sharegpt.jsonl")))
        for transcript in jsonl.read(folder / "transcripts.jsonl", Transcript):
            name = splits.of[transcript.id]
            for row in samples(transcript, plans=plans):
                if isinstance(row, Sample):
                    counts[name] += 1
                    for writer in writers[name][0]:
                        writer.add(row)
                    writers[name][1].write(sharegpt(row))
    return dict(counts)
