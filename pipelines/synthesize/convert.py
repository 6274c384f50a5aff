"""Convert finished books to transcripts and TRL samples, without asking a model.

Run: `python -m pipelines.synthesize.convert FOLDER... OUT --workers 2`

Reads CoSER books and test sets (`*.json`) and the released HER dataset (`*.jsonl`), one file or JSONL line at a time, so
that memory does not grow with the input. Writes into OUT, the same for any number of workers:

    transcripts/NNNNN.jsonl   samples/NNNNN.parquet   one pair per shard of the input
    dropped/NNNNN.jsonl       turns that became no sample, and why
    skipped.jsonl             everything else that was skipped, and why
    convert.json              counts
"""

import argparse
import gc
import json
import logging
import multiprocessing
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from her.errors import HerError, InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.training_data.samples import Dropped, samples
from her.types import Sample, Transcript, Value
from pipelines.synthesize.outputs.exports import ParquetRows, trl_table
from pipelines.synthesize.sources.finished_books import finished_files, read_scenes

log = logging.getLogger(__name__)
SHARD_BYTES = 8_000_000
"""Input bytes of one shard; a larger file is a shard by itself."""


class LeftOut(Value):
    """Something that was skipped, and why; one line of `skipped.jsonl`."""

    where: str
    reason: str


class Converted(Value):
    """Counts of a conversion; `dropped` counts turns that became no sample, by reason."""

    files: int = 0
    scenes: int = 0
    turns: int = 0
    samples: int = 0
    dropped: dict[str, int] = {}
    skipped: int = 0


def convert(paths: Sequence[Path], out: Path, *, workers: int = 1, plans: bool = False) -> Converted:
    """Write transcripts and TRL samples of these files and folders.

    Args:
        workers: number of processes; each takes shards of about `SHARD_BYTES`.
        plans: whether turns without a plan become no sample; unprocessed books have no plans.

    Raises:
        InputError: there is nothing to read, no scene in it, or OUT cannot be written.
    """
    skipped: list[LeftOut] = []
    files = finished_files(paths, lambda where, reason: skipped.append(LeftOut(where=where, reason=reason)))
    shards = _shards(files)
    work = partial(_convert_shard, out, plans)
    if workers == 1:
        with _collecting_seldom():
            finished = list(map(work, range(len(shards)), shards))
    else:
        import pyarrow.parquet  # noqa: F401  (imported once here, not in every fork)

        # A fork starts faster than a spawn, but is not safe while other threads run.
        single = threading.active_count() == 1 and "fork" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if single else "spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_collect_seldom) as pool:
            finished = list(pool.map(work, range(len(shards)), shards))
    skipped += [entry for _, entries in finished for entry in entries]
    total = _sum([counts for counts, _ in finished], len(files), len(skipped))
    jsonl.write(out / "skipped.jsonl", skipped)
    with replacing(out / "convert.json") as file:
        file.write(json.dumps(total.model_dump(), indent=2) + "\n")
    if not total.scenes:
        raise InputError(f"no scene in {len(files)} files; the reasons are in '{out / 'skipped.jsonl'}'")
    return total


def _collect_seldom() -> None:
    """Run the cycle collector less often in a worker: it takes a fifth of the time and finds nothing, as no cycles are made."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """As `_collect_seldom`, until the block ends."""
    before = gc.get_threshold()
    _collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _convert_shard(out: Path, plans: bool, number: int, files: Sequence[Path]) -> tuple[Converted, list[LeftOut]]:
    skipped: list[LeftOut] = []
    counts: Counter[str] = Counter()
    dropped: list[Dropped] = []
    scenes = read_scenes(files, lambda where, reason: skipped.append(LeftOut(where=where, reason=reason)))
    for folder in ("transcripts", "dropped"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with ParquetRows(out / "samples" / f"{number:05}.parquet", trl_table) as rows:

        def transcripts() -> Iterator[Transcript]:
            for scene in scenes:
                transcript = scene.transcript()
                counts.update(scenes=1, turns=len(transcript.turns))
                for row in samples(transcript, plans=plans):
                    if isinstance(row, Sample):
                        rows.add(row)
                    else:
                        dropped.append(row)
                yield transcript

        jsonl.write(out / "transcripts" / f"{number:05}.jsonl", transcripts())
    jsonl.write(out / "dropped" / f"{number:05}.jsonl", dropped)
    reasons = Counter(row.reason for row in dropped)
    return Converted(**counts, samples=rows.count, dropped=dict(reasons)), skipped


def _sum(parts: Sequence[Converted], files: int, skipped: int) -> Converted:
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    return Converted(
        files=files,
        scenes=sum(part.scenes for part in parts),
        turns=sum(part.turns for part in parts),
        samples=sum(part.samples for part in parts),
        dropped=dict(sorted(dropped.items())),
        skipped=skipped,
    )


def _shards(files: Sequence[Path]) -> list[list[Path]]:
    shards: list[list[Path]] = []
    size = SHARD_BYTES  # as if a shard were full, so that the first file starts one
    for file in files:
        if size + file.stat().st_size > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(file)
        size += file.stat().st_size
    return shards


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0, or 1 after an error that was logged."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.synthesize.convert", description="Finished books to samples.")
    parser.add_argument("paths", nargs="+", type=Path, help="CoSER or HER files, or folders of them")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--plans", action="store_true", help="write no sample for a turn without a plan")
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        counts = convert(arguments.paths, arguments.out, workers=arguments.workers, plans=arguments.plans)
    except HerError as error:
        log.error("%s", error)
        return 1
    log.info("%s", counts.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
