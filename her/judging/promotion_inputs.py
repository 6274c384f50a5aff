"""Find what a promotion is decided by: evaluations of two checkpoints, known by a hash in their manifests, and their arena."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from her.deploy.stage_record import StagedModel
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import file_hash
from her.judging.arena_table import ArenaGame
from her.runs.folder import read_status, run_names, runs_folder
from her.types import Value

EVALUATE = "her eval coser --data TEST_SET.json --actor local:{folder} --judge SPEC --name {run}-eval"


class StageCandidate(NamedTuple):
    """A run that may go on stage: its checkpoint's folder and hash."""

    run: str
    folder: Path
    checkpoint: str
    pipeline: str
    settings: Mapping[str, Any]


class Met(NamedTuple):
    """Evaluations of two checkpoints, the one on stage first, with the arena in which they met; an empty one has no games."""

    staged: str
    candidate: str
    games: tuple[ArenaGame, ...] = ()
    arena: Path | None = None


class _Parted(Value):
    """The part of `arena.json` that says which scenes were judged."""

    model_config = {"extra": "ignore"}
    transcripts: dict[str, str] = {}


def find_met(candidate: StageCandidate, staged: StagedModel, arena: Path | None) -> Met | str:
    """Return two evaluations, those that met in an arena where there are such, else the sentence that says what is missing.

    Raises:
        InputError: an evaluation or arena was changed since it was made.
    """
    known = evaluations_of((staged.checkpoint, candidate.checkpoint))
    for run, folder, checkpoint in (
        (candidate.run, str(candidate.folder), candidate.checkpoint),
        (staged.run, staged.folder, staged.checkpoint),
    ):
        if not known[checkpoint]:
            command = EVALUATE.format(folder=folder, run=run)
            return f"no finished evaluation has the checkpoint of run '{run}'; make one: {command}"
    pairs = [(a, b) for a in known[staged.checkpoint] for b in known[candidate.checkpoint]]
    for place in [arena] if arena else _arenas():
        for a, b in pairs:
            if games := _games(place, a, b):
                return Met(a, b, games, place)
    a, b = pairs[-1]
    return Met(a, b)


def evaluations_of(checkpoints: Iterable[str]) -> dict[str, list[str]]:
    """Return the finished evaluations of each checkpoint, the oldest first.

    Raises:
        InputError: one of them was changed since it ended.
    """
    found: dict[str, list[str]] = {checkpoint: [] for checkpoint in checkpoints}
    starts: dict[str, float] = {}
    for name in run_names():
        path = runs_folder() / name / "manifest.json"
        status = read_status(name)
        if status.pipeline != "evaluate" or status.state != "done" or not path.is_file():
            continue
        checkpoint = _checkpoint(path)
        if checkpoint in found:
            _require_unchanged(name, status.outputs)
            found[checkpoint].append(name)
            starts[name] = status.started
    return {checkpoint: sorted(names, key=starts.__getitem__) for checkpoint, names in found.items()}


def _checkpoint(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["simulation"].get("checkpoint", ""))
    except (ValueError, KeyError, AttributeError):
        return ""


def _require_unchanged(name: str, outputs: Mapping[str, str]) -> None:
    """Refuse an evaluation whose scenes or scores are not those that it recorded; reports may be written again."""
    for file in ("manifest.json", "scores.jsonl", "transcripts.jsonl"):
        path = runs_folder() / name / file
        if file not in outputs or not path.is_file() or file_hash(path) != outputs[file]:
            raise InputError(f"evaluation '{name}' was changed since it ended: {file} is another file; evaluate again")


def _arenas() -> list[Path]:
    """List the folders of arenas, the newest first."""
    found = [path.parent for pattern in ("*/*/games.jsonl", "*/games.jsonl") for path in runs_folder().glob(pattern)]
    return sorted(found, key=lambda folder: -(folder / "games.jsonl").stat().st_mtime)


def _games(folder: Path, staged: str, candidate: str) -> tuple[ArenaGame, ...]:
    """Return the games of judges between two evaluations, with the candidate as the first side.

    Raises:
        InputError: the arena judged other scenes than the evaluations hold now.
    """
    names = {staged, candidate}
    try:
        games = [
            game
            for game in jsonl.read(folder / "games.jsonl", ArenaGame)
            if {plain_name(game.first), plain_name(game.second)} == names and game.source != "people"
        ]
        judged = _Parted.model_validate_json((folder / "arena.json").read_bytes()).transcripts if games else {}
    except (OSError, ValueError) as error:
        raise InputError(f"the arena '{folder}' cannot be read ({error}); hold it again: her eval arena") from error
    scenes = {plain_name(name): digest for name, digest in judged.items()}
    for name in names if games else ():
        if scenes.get(name) != file_hash(runs_folder() / name / "transcripts.jsonl"):
            raise InputError(
                f"the arena '{folder}' did not judge the scenes that '{name}' holds now; hold it again: her eval arena"
            )
    return tuple(game if plain_name(game.first) == candidate else _turned(game) for game in games)


def plain_name(name: str) -> str:
    """Return the name of an evaluation without the model that may follow it."""
    return name.partition("#")[0]


def _turned(game: ArenaGame) -> ArenaGame:
    other = {"a": "b", "b": "a"}
    sides = {key: other.get(str(value), value) for key in ("winner", "forth", "back") if (value := getattr(game, key))}
    return game.model_copy(update={"first": game.second, "second": game.first, **sides})
