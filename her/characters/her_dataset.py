"""Read the released HER dataset (`HER_dataset_full_info.jsonl`, `HER_dataset_clean.jsonl`) as scenes, one line at a time.

A row is one plot with its conversations (dataset of the HER paper, arXiv:2601.21459). Of each text the latest version is
taken: enriched before original, enhanced before plain, revised before draft. A turn gets its id from the line of the book
that it comes from (`origin_id`); of several lines that HER merged from the first, and `merged` has the ids of the others. The
chat files of the dataset hold no scenes and are refused.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from her.characters.coser import MAX_BOOK_BYTES, BookScene, read_content, stable_id
from her.errors import InputError
from her.format import parse
from her.kinds import PLAN
from her.types import ENVIRONMENT, Turn

Json = dict[str, Any]
Skip = Callable[[str, str], None]
"""Callback for everything that is left out; its arguments are the place and the reason."""

_TEXTS = ("enhanced_standard_format", "enhanced_speech", "standard_format", "message")
_PLANS = ("sys_thinking_revised", "sys_thinking", "system_thinking")


def read_rows(path: Path, skip: Skip) -> Iterator[BookScene]:
    """Yield the scenes of a file of the dataset, with one line in memory at a time.

    Raises:
        InputError: the file cannot be read, or its rows are chats instead of plots.
    """
    seen: set[str] = set()
    for number, row in _rows(path, skip):
        where = f"file '{path.name}' line {number}"
        if "conversation" not in row and ({"messages", "conversations", "prompt"} & row.keys()):
            raise InputError(f"{where} is a chat, which has no scene; give the full_info or clean file instead")
        for scene in _scenes(row, path.stem, partial(skip, where)):
            if scene.id in seen:
                skip(
                    where,
                    f"plot {scene.plot}, conversation {scene.conversation} of {scene.book} appears twice; the first is kept",
                )
                continue
            seen.add(scene.id)
            yield scene


def _rows(path: Path, skip: Skip) -> Iterator[tuple[int, Json]]:
    try:
        with path.open("rb") as file:
            # A bounded readline: a file without line ends must not be read into memory as one line.
            for number, line in enumerate(iter(lambda: file.readline(MAX_BOOK_BYTES), b""), 1):
                if not line.strip():
                    continue
                try:
                    row = from_json(line)
                except ValueError as error:
                    skip(f"file '{path.name}' line {number}", f"not JSON ({error})")
                    continue
                if isinstance(row, dict):
                    yield number, row
                else:
                    skip(f"file '{path.name}' line {number}", f"{type(row).__name__} instead of an object")
    except OSError as error:
        raise InputError(f"file '{path.name}': cannot be read ({error.strerror or error})") from error


def _scenes(row: Json, stem: str, skip: Callable[[str], None]) -> Iterator[BookScene]:
    people = {str(name): _dict(entry) for name, entry in _dict(row.get("character_datasets")).items()}
    title = _title(row, people) or stem
    profiles = {name: {"profile": _first(entry, "character_profile", "profile")} for name, entry in people.items()}
    talks = row.get("conversation")
    if not talks:
        skip(f"plot {row.get('i_p')} of {title}: no conversation")
        return
    for talk in talks if isinstance(talks, list) else [talks]:
        plot = {**row, "key_characters": _described(row, people), "conversation": [_talk(_dict(talk), people)]}
        book = read_content({"plots": [plot], "character_datasets": profiles}, title)
        for reason in book.skipped:
            skip(reason)
        for scene in book.scenes:
            yield _completed(scene, _dict(talk), people)


def _talk(talk: Json, people: dict[str, Json]) -> Json:
    """Return the conversation with the keys of CoSER."""
    wants = [{"name": name, "motivation": _first(entry, "motivation")} for name, entry in people.items()]
    # CoSER's reader takes the first text of a name, so the enriched motivations come before the conversation's own.
    known = {entry["name"] for entry in wants if entry["motivation"]}
    own = [entry for entry in _list(talk.get("key_characters")) if _dict(entry).get("name") not in known]
    lines = [{**_dict(line), "message": _first(_dict(line), *_TEXTS)} for line in _list(talk.get("dialogues"))]
    return {**talk, "scenario": _first(talk, "scenario"), "key_characters": [*wants, *own], "dialogues": lines}


def _described(row: Json, people: dict[str, Json]) -> list[Json]:
    own = [
        {"name": name, "description": _first(entry, "description"), "experience": _first(entry, "experience")}
        for name, entry in people.items()
        if _first(entry, "description", "experience")
    ]
    return [*own, *_list(row.get("key_characters"))]


def _completed(scene: BookScene, talk: Json, people: dict[str, Json]) -> BookScene:
    """Return the scene with plans, tags and backgrounds, which CoSER does not have."""
    lines = {stable_id(scene.id, index): _dict(line) for index, line in enumerate(_list(talk.get("dialogues")))}
    turns = {}
    for turn in scene.turns:
        parsed = _turn(turn, lines[turn.id], scene.id)
        # Two lines may name the same origin; the later one gets a new id, since that of its position may be an origin too.
        if parsed.id in turns:
            parsed = parsed.model_copy(update={"id": stable_id(turn.id, "again")})
        turns[parsed.id] = parsed
    summary = scene.plot_summary
    cast = tuple(
        # The dataset gives the summary of the plot as background; it says how the scene ends.
        member.model_copy(update={"background": "" if background == summary else background})
        for member in scene.cast
        for background in [_first(people.get(member.name, {}), "background")]
    )
    return scene.model_copy(update={"turns": tuple(turns.values()), "cast": cast})


def _turn(turn: Turn, line: Json, scene_id: str) -> Turn:
    origin = line.get("origin_id")
    origins = [index for index in (origin if isinstance(origin, list) else [origin]) if isinstance(index, (int, str))]
    turn_id, *others = [stable_id(scene_id, origin) for origin in origins] or [turn.id]
    return _parsed(turn, line, turn_id).model_copy(update={"merged": tuple(others)})


def _parsed(turn: Turn, line: Json, turn_id: str) -> Turn:
    if turn.speaker == ENVIRONMENT:
        return turn.model_copy(update={"id": turn_id})
    parsed = parse(turn.raw, turn.speaker, notation="auto", turn_id=turn_id)
    plan = _first(line, *_PLANS)
    if not plan or any(part.kind == PLAN for part in parsed.parts):
        return parsed
    return parse(turn.raw, turn.speaker, notation="auto", reasoning=plan, turn_id=turn_id)


def _title(row: Json, people: dict[str, Json]) -> str:
    """Return the book's title: a `book_name`, else the beginning of the trace id (`BOOK_CHAPTER_PLOT_CONVERSATION`)."""
    if title := next(filter(None, (_first(entry, "book_name") for entry in people.values())), ""):
        return title
    chapter = re.escape(str(row.get("chapter") or ""))
    return re.sub(rf"_{chapter}_\d+_\d+$", "", _first(row, "trace_id_book_chapter"))


def _first(entry: Json, *keys: str) -> str:
    """Return the first of these texts that is not blank; each key's `_enriched` form comes before it."""
    for key in keys:
        for name in (f"{key}_enriched", key):
            if isinstance(text := entry.get(name), str) and text.strip():
                return text
    return ""


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
