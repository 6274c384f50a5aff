"""Put a run's outputs together: every candidate with its test, the library with the kept ones, and the figures of the run."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from her.backends.teacher_principles import trait_of
from her.errors import HerError
from her.files import jsonl
from her.judging.preference_pairs import conversation_of
from her.judging.principles import PrincipleEntry, load_dimensions, validate_library, write_dimensions
from her.types import Preference, Value
from pipelines.principles.distilling import Candidate
from pipelines.principles.selection import Decision, LabelTest


class MadePrinciple(Value):
    """One line of `principles.jsonl`: a candidate, how often it was named, and its test.

    Args:
        namings: of all pairs it was made from.
        wordings: typical wordings before it was distilled.
    """

    entry: PrincipleEntry
    dimension: str
    namings: int
    wordings: tuple[str, ...]
    test: LabelTest


class PlantedFigures(Value):
    """Numbers of planted rules that were found; `unknown` are kept principles that state no planted trait."""

    rules: int
    found: int
    false: int
    unknown: int


class RunFigures(Value):
    """Content of `report.json`: the numbers of each step, in their order.

    Args:
        left_out: pairs, and clusters, by reason.
        missing: pairs without three principles, clusters without a principle, and verdicts that could not be used.
        reasons: the most frequent reasons of missing answers.
    """

    name: str
    named_from: int
    held_out: int
    conversations: int
    namings: int
    clusters: int
    candidates: int
    tested: int
    kept: int
    left_out: dict[str, int]
    missing: dict[str, int]
    reasons: dict[str, str]
    false_discovery: float
    model: str
    judge: str
    planted: PlantedFigures | None = None


class ConversationsUsed(Value):
    """Content of `manifest.json`: the conversations that principles were made from, and those they were tested on."""

    run: str
    trained: tuple[str, ...]
    held_out: tuple[str, ...]


class Outcome(NamedTuple):
    """Candidates, decisions and pairs, from which the outputs are written."""

    made: tuple[MadePrinciple, ...]
    decisions: tuple[Decision, ...]
    held_out: tuple[Preference, ...]


def make_principles(candidates: Sequence[Candidate], tests: Sequence[LabelTest]) -> tuple[MadePrinciple, ...]:
    """Return candidates with their tests: kept ones first, the surest of them first."""
    made = [
        MadePrinciple(
            entry=candidate.entry,
            dimension=candidate.dimension,
            namings=candidate.namings,
            wordings=candidate.wordings,
            test=test,
        )
        for candidate, test in zip(candidates, tests, strict=True)
    ]
    return tuple(sorted(made, key=lambda each: (not each.test.kept, _or_one(each.test.q), _or_one(each.test.p), each.entry.id)))


def write_library(base: Path, folder: Path, kept: Sequence[MadePrinciple]) -> None:
    """Write a copy of a library with the kept principles at the end of their dimensions; it is read back and validated.

    Raises:
        HerError: the written library has problems that the base has not.
    """
    before = set(validate_library(base))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(base.glob("*.yaml")):
        shutil.copyfile(path, folder / path.name)
    kept_of = {file.id: tuple(each.entry for each in kept if each.dimension == file.id) for file in load_dimensions(base)}
    extended = (file.model_copy(update={"principles": (*file.principles, *kept_of[file.id])}) for file in load_dimensions(base))
    write_dimensions(folder, [file for file in extended if kept_of[file.id]])
    homeless = [each.entry.id for each in kept if not (folder / f"{each.dimension}.yaml").is_file()]
    if problems := [problem for problem in validate_library(folder) if problem not in before]:
        raise HerError(f"the library that was written has {len(problems)} problems, the first: {problems[0]}")
    if homeless:
        raise HerError(f"the library '{base}' has no file for the dimension of '{homeless[0]}'; give one with all dimensions")


def write_tables(folder: Path, outcome: Outcome) -> None:
    """Write `principles.jsonl` (kept and rejected with reasons) and `decisions.jsonl`."""
    jsonl.write(folder / "principles.jsonl", outcome.made)
    jsonl.write(folder / "decisions.jsonl", outcome.decisions)


def used_conversations(name: str, named_from: Sequence[Preference], held_out: Sequence[Preference]) -> ConversationsUsed:
    """Return the manifest of a run."""
    trained, tested = (tuple(sorted(set(map(conversation_of, part)))) for part in (named_from, held_out))
    return ConversationsUsed(run=name, trained=trained, held_out=tested)


def planted_figures(made: Sequence[MadePrinciple], rules: frozenset[str]) -> PlantedFigures:
    """Return how many planted rules are among the kept principles, and how many others."""
    traits = [trait_of(each.entry.en.definition) for each in made if each.test.kept]
    found = {trait.id for trait in traits if trait is not None}
    return PlantedFigures(rules=len(rules), found=len(found & rules), false=len(found - rules), unknown=traits.count(None))


def _or_one(value: float | None) -> float:
    return 1.0 if value is None or math.isnan(value) else value
