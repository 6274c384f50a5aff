"""Apply an expert's edits to a library of principles: edited, merged and dropped ones, checked before anything is written.

The edits are one JSON file, as the page of `her run principles` writes it:

    {"format": "her-principle-edits-1", "library": "SHA256 OF THE LIBRARY", "edits": [
      {"id": "no-filler", "action": "edit", "weight": "high", "en": {"name": "No filler"}},
      {"id": "a-colour", "action": "merge", "into": "concrete-detail"},
      {"id": "weather", "action": "drop"}]}

A merged principle is removed and the one it goes into stays as it is, or as its own edit says.
"""

import codecs
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from her.errors import InputError
from her.judging.principles import (
    DIMENSIONS,
    DimensionFile,
    PrincipleEntry,
    library_hash,
    load_dimension,
    load_dimensions,
    missing_principles,
    plain_line,
    wording_problems,
    write_dimensions,
)
from her.types import NonEmpty, Value

FORMAT = "her-principle-edits-1"
MOST_BYTES = 8_000_000


class TextEdit(Value):
    """New texts of a principle in one language; None leaves a text as it is."""

    name: str | None = None
    definition: str | None = None
    good: str | None = None
    bad: str | None = None


class PrincipleEdit(Value):
    """Decision on one principle; `into` belongs to `merge`, the fields below it to `edit`."""

    id: NonEmpty
    action: Literal["edit", "merge", "drop"]
    into: str = ""
    dimension: str | None = None
    level: Literal["turn", "session"] | None = None
    polarity: Literal["positive", "negative"] | None = None
    weight: Literal["high", "normal", "low"] | None = None
    en: TextEdit = TextEdit()
    zh: TextEdit = TextEdit()


class EditFile(Value):
    """All edits of an expert, and the sha256 of the library they were made for."""

    format: Literal["her-principle-edits-1"]
    library: str
    edits: tuple[PrincipleEdit, ...]


class EditCounts(NamedTuple):
    """Principles that were edited, merged and dropped."""

    edited: int
    merged: int
    dropped: int


def apply_edit_file(edits: Path, library: Path, *, changed: bool = False) -> EditCounts:
    """Apply a file of edits to a library and write the files that change; nothing is written when anything is wrong.

    Args:
        library: folder of a library, or one file of it.
        changed: allow a library that was changed since the edits were made.

    Raises:
        InputError: names the first fault and what would be right.
    """
    asked = read_edits(edits)
    folder = library.parent if library.is_file() else library
    before = (load_dimension(library),) if library.is_file() else load_dimensions(folder)
    if not changed and asked.library != library_hash(folder):
        raise InputError(
            f"'{library}' is not the library that the edits in '{edits}' were made for, or it was changed since; "
            "give that library, or add --changed to apply them all the same"
        )
    after = edit_dimensions(before, asked.edits)
    _require_valid(before, after)
    write_dimensions(folder, [new for old, new in zip(before, after, strict=True) if old != new])
    actions = [edit.action for edit in asked.edits]
    return EditCounts(actions.count("edit"), actions.count("merge"), actions.count("drop"))


def read_edits(path: Path) -> EditFile:
    """Return a file of edits.

    Raises:
        InputError: it cannot be read, or it is no such file.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"'{path}' has more than {MOST_BYTES:,} bytes; it is no file of edits")
        return EditFile.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))  # editors add the mark
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}; give the file that the page downloaded") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise InputError(f"'{path}' is no file of edits: {where}: {fault['msg']}; download it from the page again") from error


def edit_dimensions(files: Sequence[DimensionFile], edits: Sequence[PrincipleEdit]) -> tuple[DimensionFile, ...]:
    """Return the files of a library with the edits applied, in their order.

    Raises:
        InputError: an unknown or repeated id, a merge that leads nowhere, an empty text.
    """
    entries = {entry.id: entry for file in files for entry in file.principles}
    homes = {entry.id: file.id for file in files for entry in file.principles}
    by_id = _require_known(edits, entries)
    _require_ends(by_id, entries)
    moved: dict[str, list[PrincipleEntry]] = {file.id: [] for file in files}
    kept: dict[str, list[PrincipleEntry]] = {file.id: [] for file in files}
    for name, entry in entries.items():
        edit = by_id.get(name)
        if edit is None:
            kept[homes[name]].append(entry)
        elif edit.action == "edit":
            home = edit.dimension or homes[name]
            if home not in kept:
                known = ", ".join(kept) if home in DIMENSIONS else ", ".join(DIMENSIONS)
                raise InputError(f"edit of '{name}': dimension '{home}' is not in this library; take one of {known}")
            (kept if home == homes[name] else moved)[home].append(_edited(entry, edit))
    return tuple(
        file if file.principles == (rows := (*kept[file.id], *moved[file.id])) else file.model_copy(update={"principles": rows})
        for file in files
    )


def _require_known(edits: Sequence[PrincipleEdit], entries: Mapping[str, PrincipleEntry]) -> dict[str, PrincipleEdit]:
    by_id: dict[str, PrincipleEdit] = {}
    for edit in edits:
        if edit.id not in entries:
            raise InputError(f"there is no principle '{edit.id}' to {edit.action}; {_near(edit.id, entries)}")
        if edit.id in by_id:
            raise InputError(f"principle '{edit.id}' has two edits; keep one of them")
        by_id[edit.id] = edit
    return by_id


def _require_ends(edits: Mapping[str, PrincipleEdit], entries: Mapping[str, PrincipleEntry]) -> None:
    """Refuse a merge that does not end at a principle that stays."""
    for edit in edits.values():
        if edit.action != "merge":
            continue
        path = [edit.id]
        while (step := edits.get(path[-1])) is not None and step.action == "merge":
            if step.into == step.id:
                raise InputError(f"principle '{step.id}' is merged into itself; drop it, or name another one")
            if step.into not in entries:
                raise InputError(
                    f"principle '{step.id}' is merged into '{step.into}', which is unknown; {_near(step.into, entries)}"
                )
            if step.into in path:
                circle = " -> ".join([*path, step.into])
                raise InputError(f"the merges go round in a circle: {circle}; let one of them stay")
            path.append(step.into)
        if step is not None and step.action == "drop":
            raise InputError(f"principle '{path[-2]}' is merged into '{path[-1]}', which is dropped; keep it, or drop both")


def _edited(entry: PrincipleEntry, edit: PrincipleEdit) -> PrincipleEntry:
    fields: dict[str, Any] = edit.model_dump(include={"level", "polarity", "weight"}, exclude_none=True)
    for language in ("en", "zh"):
        texts = getattr(edit, language).model_dump(exclude_none=True)
        for field, text in texts.items():
            if not plain_line(text):
                raise InputError(f"edit of '{edit.id}': '{field}' ({language}) is empty; write it, or drop the principle")
        stripped = {field: plain_line(text) for field, text in texts.items()}
        fields[language] = getattr(entry, language).model_copy(update=stripped)
    return entry.model_copy(update=fields)


def _require_valid(before: Sequence[DimensionFile], after: Sequence[DimensionFile]) -> None:
    """Refuse wordings that no library may have, and a library that was complete and is no more."""
    known = {entry.id: entry for file in before for entry in file.principles}
    for entry in (entry for file in after for entry in file.principles):
        if entry != known.get(entry.id) and (problem := next(iter(wording_problems(entry)), "")):
            raise InputError(problem)
    lost = [problem for problem in missing_principles(after) if problem]
    if lost and not any(missing_principles(before)):
        raise InputError(f"after these edits {lost[0]}")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else "`her principles list` shows those of a library"
