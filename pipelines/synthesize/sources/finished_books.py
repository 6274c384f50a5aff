"""Convert finished books to spine transcripts and TRL samples.

Run: `python -m pipelines.synthesize.sources.finished_books FOLDER... OUT --workers 2`

Reads CoSER books and test sets (`*.json`) and the released HER dataset (`*.jsonl`), a file or a line at a time, so that
memory does not grow with the input. OUT gets `transcripts/NNNNN.jsonl`, `samples/NNNNN.parquet`, `dropped/NNNNN.jsonl`
(turns that became no sample, and why), `skipped.jsonl` and `convert.json`; they are the same for any number of workers.
"""

import argparse
import gc
import json
import logging
import multiprocessing
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from her.characters.coser import BookScene, load_book
from her.characters.her_dataset import read_rows
from her.errors import HerError, InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.training_data.samples import Dropped, samples
from her.training_data.splits import title_key
from her.types import Sample, Transcript, Value
from pipelines.synthesize.outputs.exports import ParquetRows, trl_table

log = logging.getLogger(__name__)
Skip = Callable[[str, str], None]
"""Told of everything that is left out: where, and why."""
SHARD_BYTES = 8_000_000
"""Input of one shard; a larger file is a shard of its own."""


class LeftOut(Value):
    """Something that was left out, and why."""

    where: str
    reason: str


class Converted(Value):
    """What a conversion made. `dropped` counts turns that became no sample, by reason."""

    files: int = 0
    scenes: int = 0
    turns: int = 0
    samples: int = 0
    dropped: dict[str, int] = {}
    skipped: int = 0


def finished_files(paths: Iterable[Path], skip: Skip) -> list[Path]:
    """The files of scenes among these files and folders, sorted by name; of one book in two files, the larger.

    Raises:
        InputError: a path does not exist, or there is no such file at all.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"'{path}' does not exist; give a CoSER file, a file of the HER dataset, or a folder of them")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in inside if one.suffix in (".json", ".jsonl") and one.is_file()]
    kept: dict[str, Path] = {}
    for file in dict.fromkeys(found):
        if reason := _other_shape(file, found):
            skip(file.name, reason)
            continue
        key = f"{title_key(file.stem)}{file.suffix}"
        if (other := kept.get(key)) is not None:
            smaller, larger = sorted((other, file), key=lambda one: (one.stat().st_size, one.name))
            skip(smaller.name, f"the same book as the larger '{larger.name}'")
            file = larger
        kept[key] = file
    if not kept:
        raise InputError(f"no file of scenes (*.json, *.jsonl) in {', '.join(repr(str(path)) for path in paths) or 'nothing'}")
    return list(kept.values())


def read_scenes(files: Iterable[Path], skip: Skip) -> Iterator[BookScene]:
    """The scenes of these files, one file or line in memory; a file that cannot be read is skipped with its reason."""
    seen: set[str] = set()
    for file in files:
        try:
            for scene in _scenes(file, skip):
                if scene.id in seen:
                    skip(
                        file.name, f"plot {scene.plot}, conversation {scene.conversation} of {scene.book} was in an earlier file"
                    )
                    continue
                seen.add(scene.id)
                yield scene
        except InputError as error:
            skip(file.name, str(error))


def convert(paths: Sequence[Path], out: Path, *, workers: int = 1, plans: bool = False) -> Converted:
    """Write transcripts and TRL samples of these files and folders.

    Args:
        workers: processes; each takes shards of about `SHARD_BYTES`.
        plans: whether turns without a plan are left out of the samples; books as they come have none.

    Raises:
        InputError: nothing to read, no scene in it, or OUT cannot be written.
    """
    left: list[LeftOut] = []
    files = finished_files(paths, lambda where, reason: left.append(LeftOut(where=where, reason=reason)))
    shards = _shards(files)
    work = partial(_convert_shard, out, plans)
    if workers == 1:
        made = list(map(work, range(len(shards)), shards))
    else:
        import pyarrow.parquet  # noqa: F401  (once here rather than in every fork)

        # a fork is quick, but not safe beside running threads
        alone = threading.active_count() == 1 and "fork" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if alone else "spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_collect_seldom) as pool:
            made = list(pool.map(work, range(len(shards)), shards))
    left += [one for _, skipped in made for one in skipped]
    total = _sum([counts for counts, _ in made], len(files), len(left))
    jsonl.write(out / "skipped.jsonl", left)
    with replacing(out / "convert.json") as file:
        file.write(json.dumps(total.model_dump(), indent=2) + "\n")
    if not total.scenes:
        raise InputError(f"no scene in {len(files)} files; the reasons are in '{out / 'skipped.jsonl'}'")
    return total


def _collect_seldom() -> None:
    """In a process of our own: what is made here is freed without the cycle collector, which costs a fifth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _convert_shard(out: Path, plans: bool, number: int, files: Sequence[Path]) -> tuple[Converted, list[LeftOut]]:
    left: list[LeftOut] = []
    counts: Counter[str] = Counter()
    dropped: list[Dropped] = []
    scenes = read_scenes(files, lambda where, reason: left.append(LeftOut(where=where, reason=reason)))
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
    return Converted(**counts, samples=rows.count, dropped=dict(reasons)), left


def _sum(made: Sequence[Converted], files: int, skipped: int) -> Converted:
    dropped: Counter[str] = Counter()
    for one in made:
        dropped.update(one.dropped)
    return Converted(
        files=files,
        scenes=sum(one.scenes for one in made),
        turns=sum(one.turns for one in made),
        samples=sum(one.samples for one in made),
        dropped=dict(sorted(dropped.items())),
        skipped=skipped,
    )


def _scenes(file: Path, skip: Skip) -> Iterator[BookScene]:
    if file.suffix == ".jsonl":
        yield from read_rows(file, skip)
        return
    book = load_book(file)
    for reason in book.skipped:
        skip(file.name, reason)
    yield from book.scenes


def _other_shape(file: Path, found: Sequence[Path]) -> str:
    """Why a file of the released dataset is passed over: the same conversations in another shape."""
    if file.suffix != ".jsonl" or not file.stem.startswith("HER_dataset_"):
        return ""
    if "_sft_" in file.stem:
        return "chats made from the scenes of the full_info or clean file; the scenes are read instead"
    full = file.with_name("HER_dataset_full_info.jsonl")
    return "the full_info file beside it holds the same scenes" if file.stem.endswith("_clean") and full in found else ""


def _shards(files: Sequence[Path]) -> list[list[Path]]:
    shards: list[list[Path]] = []
    size = SHARD_BYTES
    for file in files:
        if size + file.stat().st_size > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(file)
        size += file.stat().st_size
    return shards


def main(words: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.synthesize.sources.finished_books", description="Finished books to samples."
    )
    parser.add_argument("paths", nargs="+", type=Path, help="CoSER or HER files, or folders of them")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--plans", action="store_true", help="leave turns without a plan out of the samples")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        log.info("%s", convert(given.paths, given.out, workers=given.workers, plans=given.plans).model_dump_json())
    except HerError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
