"""Run the stages of stages/stage_table.py over all scenes; stage_files.py lists the files they read and write.

A stage writes its scenes in order. After a kill a stage that was not finished runs again from its first scene: every answer
that was recorded comes from the ledger, so nothing is asked twice and the file is the same, byte for byte.
"""

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from her.characters.coser import BookScene
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.types import ENVIRONMENT, Value
from pipelines.synthesize.callers import StageCallers
from pipelines.synthesize.concurrency import in_order
from pipelines.synthesize.notes import Notes, Skipped
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.questions import Asker, StageContext
from pipelines.synthesize.ray_prefetch import prefetch_on_ray
from pipelines.synthesize.sources.finished_books import finished_files, read_scenes
from pipelines.synthesize.sources.raw_books import RawBook, read_books
from pipelines.synthesize.stage_files import StageFiles, collect_skipped
from pipelines.synthesize.stages.books_to_scenes import book_to_scenes
from pipelines.synthesize.stages.stage_table import FIRST_INPUT, STAGES, SceneStage

log = logging.getLogger(__name__)
BOOKS = "books"
"""Name of the step from raw books to scenes."""
Tick = Callable[[str, int, int], None]
"""Called after every scene with the stage, the number of scenes done and the number of all scenes (0 when not known)."""


class SceneCounts(Value):
    """Number of scenes, and of characters' turns in them."""

    scenes: int = 0
    turns: int = 0


async def convert_books(options: SynthesisOptions, folder: Path, asker: Asker, tick: Tick) -> None:
    """Turn raw books into files in the CoSER schema; does nothing when an earlier start finished it."""
    files = StageFiles(folder, BOOKS)
    if not options.books or files.done:
        return
    reading = Notes()

    async def work(book: RawBook) -> tuple[str, Any, Notes]:
        notes = Notes()
        return book.title, await book_to_scenes(book, StageContext(asker, options.stage_options(), notes)), notes

    count = 0
    with files:
        books = read_books(options.books, reading.skipper(BOOKS))
        # A book asks about several scenes at once, so fewer books than scenes are in flight.
        async for title, content, notes in in_order(books, work, max(1, options.scenes_at_once // 4)):
            with replacing(folder / "scenes" / f"{title}.json") as file:
                json.dump(content, file, ensure_ascii=False, indent=1)
            files.write(None, notes)
            count += 1
            tick(BOOKS, count, 0)
        files.write(None, reading)


def read_all_scenes(options: SynthesisOptions, folder: Path) -> SceneCounts:
    """Write every scene into `scenes.jsonl`, those of raw books first, and count them.

    Raises:
        InputError: there is no scene.
    """
    files, counts_file = StageFiles(folder, FIRST_INPUT), folder / "scenes.count.json"
    if files.done and counts_file.is_file():
        return SceneCounts.model_validate_json(counts_file.read_text("utf-8"))
    scenes = turns = 0
    with files:
        notes = Notes()
        for scene in _scenes(options, folder, notes):
            files.write(scene, Notes())
            scenes += 1
            turns += sum(turn.speaker != ENVIRONMENT for turn in scene.turns)
        files.write(None, notes)
    # `scenes.jsonl` may exist without counts after a kill between the two; then everything is read again.
    if not scenes:
        reasons = [entry.reason for path in folder.glob("*.skipped.jsonl") for entry in jsonl.read(path, Skipped)]
        first = (reasons or ["-"])[0]
        raise InputError(f"no scene came out of the sources; {len(reasons)} things were skipped, the first because: {first}")
    counts = SceneCounts(scenes=scenes, turns=turns)
    with replacing(counts_file) as file:
        file.write(counts.model_dump_json() + "\n")
    return counts


def _scenes(options: SynthesisOptions, folder: Path, notes: Notes) -> Iterator[BookScene]:
    skip = notes.skipper(FIRST_INPUT)
    converted = [folder / "scenes"] if options.books and any((folder / "scenes").glob("*.json")) else []
    sources = [*converted, *options.scenes]
    if sources:
        scenes = read_scenes(finished_files(sources, skip), skip, options.books_to_scenes.hold_back)
        yield from islice(scenes, options.limit or None)


async def run_stage(
    stage: SceneStage, source: str, options: SynthesisOptions, folder: Path, asker: Asker, total: int, tick: Tick
) -> None:
    """Run one stage over all scenes; a finished stage is skipped.

    Args:
        source: name of the stage before, whose scenes are read.
        total: number of scenes, for `tick`.
    """
    files = StageFiles(folder, stage.name)
    if files.done:
        log.info("%s: finished before", stage.name)
        return
    scenes = partial(jsonl.read, StageFiles(folder, source).scenes, BookScene)
    stage_options = options.stage_options()
    if options.executor == "ray" and stage.on_ray and isinstance(asker, StageCallers):
        await prefetch_on_ray(scenes, stage.improve, stage_options, asker)

    async def work(scene: BookScene) -> tuple[BookScene, Notes]:
        notes = Notes()
        return await stage.improve(scene, StageContext(asker, stage_options, notes)), notes

    count = 0
    with files:
        async for scene, notes in in_order(scenes(), work, options.scenes_at_once):
            files.write(scene, notes)
            count += 1
            tick(stage.name, count, total)


def write_skipped(folder: Path) -> list[Skipped]:
    """Write what all stages skipped into `skipped.jsonl`, and return it."""
    return collect_skipped(folder, (BOOKS, FIRST_INPUT, *STAGES))
