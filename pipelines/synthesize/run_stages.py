"""The stages as files of the run folder: each reads the scenes of the one before and writes its own, whole or not at all.

scenes/TITLE.json      books that were raw, in the CoSER schema
scenes.jsonl           every scene as it was read        scenes.count.json      how many, and their turns
role_thinking.jsonl    settings.jsonl    system_thinking.jsonl    the same scenes after each stage
STAGE.turns.jsonl      what became of every turn        STAGE.skipped.jsonl      what was left out, and why
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel

from her.characters.coser import BookScene
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.types import ENVIRONMENT, Sampling, Value
from pipelines.synthesize.models import Models
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.sources.books import RawBook, read_books
from pipelines.synthesize.sources.finished_books import finished_files, read_scenes
from pipelines.synthesize.sources.scenes import book_to_scenes
from pipelines.synthesize.stages import role_thinking, settings, system_thinking
from pipelines.synthesize.work import Asker, Notes, Skipped, in_order

log = logging.getLogger(__name__)
Tick = Callable[[str, int, int], None]
"""Told after every scene: the stage, how many are done, how many there are."""
BOOKS, READING = "books", "scenes"


class StageFiles:
    """The files of one stage while it is written; they take their names when the block ends well."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.paths = [folder / f"{stage}{ending}.jsonl" for ending in (".turns", ".skipped", "")]
        self._stack = ExitStack()
        self._files: list[TextIO] = []

    @property
    def done(self) -> bool:
        """Whether an earlier start of the run finished this stage."""
        return self.paths[-1].is_file()

    def __enter__(self) -> "StageFiles":
        self._files = [self._stack.enter_context(replacing(path)) for path in self.paths[::-1]][::-1]
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, value: BaseModel | None, notes: Notes) -> None:
        """Add a scene and what was noted on it."""
        written: list[Sequence[BaseModel]] = [notes.turns, notes.skipped, [value] if value else []]
        for file, rows in zip(self._files, written, strict=True):
            file.writelines(row.model_dump_json() + "\n" for row in rows)


async def raw_books(options: SynthesisOptions, folder: Path, asker: Asker, tick: Tick) -> None:
    """Turn raw books into files in the CoSER schema; a book that is there already is not asked about again."""
    files = StageFiles(folder, BOOKS)
    if not options.books or files.done:
        return
    reading = Notes()
    sampling = Sampling(temperature=options.temperature, seed=options.seed)

    async def work(book: RawBook) -> tuple[str, Any, Notes]:
        notes = Notes()
        return book.title, await book_to_scenes(book, asker, sampling, options.books_to_scenes, notes), notes

    count = 0
    with files:
        books = read_books(options.books, lambda where, reason: reading.skip(BOOKS, where, reason))
        async for title, content, notes in in_order(books, work, max(1, options.scenes_at_once // 4)):
            with replacing(folder / "scenes" / f"{title}.json") as file:
                json.dump(content, file, ensure_ascii=False, indent=1)
            files.write(None, notes)
            count += 1
            tick(BOOKS, count, 0)
        files.write(None, reading)


class Amount(Value):
    """How much there is to do: scenes, and turns of characters in them."""

    scenes: int = 0
    turns: int = 0

    def calls(self, name: str, options: SynthesisOptions) -> int:
        """Questions of a stage when every first answer is good."""
        return self.turns * (1 + options.plans.draft) if name == system_thinking.STAGE else self.scenes


def all_scenes(options: SynthesisOptions, folder: Path) -> Amount:
    """Write every scene into `scenes.jsonl` and count them, those of raw books first.

    Raises:
        InputError: there is none.
    """
    files, counted = StageFiles(folder, READING), folder / "scenes.count.json"
    if files.done and counted.is_file():
        return Amount.model_validate_json(counted.read_text("utf-8"))
    scenes = turns = 0
    with files:
        notes = Notes()
        for scene in _read(options, folder, notes):
            files.write(scene, Notes())
            scenes += 1
            turns += sum(turn.speaker != ENVIRONMENT for turn in scene.turns)
        files.write(None, notes)
    if not scenes:
        reasons = [entry.reason for path in folder.glob("*.skipped.jsonl") for entry in jsonl.read(path, Skipped)]
        raise InputError(f"no scene came out of the sources; {len(reasons)} things were left out, first: {(reasons or ['-'])[0]}")
    amount = Amount(scenes=scenes, turns=turns)
    with replacing(counted) as file:
        file.write(amount.model_dump_json() + "\n")
    return amount


def _read(options: SynthesisOptions, folder: Path, notes: Notes) -> Iterator[BookScene]:
    def skip(where: str, reason: str) -> None:
        notes.skip(READING, where, reason)

    made = [folder / "scenes"] if options.books and any((folder / "scenes").glob("*.json")) else []
    sources = [*made, *options.scenes]
    if not sources:
        return
    scenes = read_scenes(finished_files(sources, skip), skip)
    yield from islice(scenes, options.limit or None)


async def stage(name: str, before: str, options: SynthesisOptions, folder: Path, asker: Asker, total: int, tick: Tick) -> None:
    """Take all scenes through one stage. A finished one is left as it is."""
    files = StageFiles(folder, name)
    if files.done:
        log.info("%s: done before", name)
        return
    if options.executor == "ray" and isinstance(asker, Models):
        from pipelines.synthesize.ray_rounds import ask_on_ray

        scenes = partial(jsonl.read, folder / f"{before}.jsonl", BookScene)
        await ask_on_ray(scenes, lambda gathering: _improver(name, options, gathering), asker)
    improve = _improver(name, options, asker)
    count = 0
    with files:
        async for scene, notes in _improved(jsonl.read(folder / f"{before}.jsonl", BookScene), improve, options):
            files.write(scene, notes)
            count += 1
            tick(name, count, total)


Improve = Callable[[BookScene, Notes], Awaitable[BookScene]]


def _improver(name: str, options: SynthesisOptions, asker: Asker) -> Improve:
    """What a stage does to one scene."""
    sampling = Sampling(temperature=options.temperature, seed=options.seed)
    match name:
        case role_thinking.STAGE:
            return lambda scene, notes: role_thinking.enhance(scene, asker, sampling, notes)
        case settings.STAGE:
            return lambda scene, notes: settings.complete(scene, asker, sampling, options.settings, notes)
        case system_thinking.STAGE:
            return lambda scene, notes: system_thinking.add_plans(scene, asker, sampling, options.plans, notes)
    raise AssertionError(f"stage {name!r} is checked when the settings are read")


async def _improved(
    scenes: Iterator[BookScene], improve: Improve, options: SynthesisOptions
) -> AsyncIterator[tuple[BookScene, Notes]]:
    async def work(scene: BookScene) -> tuple[BookScene, Notes]:
        notes = Notes()
        return await improve(scene, notes), notes

    async for pair in in_order(scenes, work, options.scenes_at_once):
        yield pair


def all_skipped(folder: Path) -> list[Skipped]:
    """Everything that any stage left out, written into `skipped.jsonl`."""
    order = [BOOKS, READING, role_thinking.STAGE, settings.STAGE, system_thinking.STAGE]
    paths = [folder / f"{name}.skipped.jsonl" for name in order]
    skipped = [entry for path in paths if path.is_file() for entry in jsonl.read(path, Skipped)]
    jsonl.write(folder / "skipped.jsonl", skipped)
    return skipped
