"""Read the principle library: what makes one turn of role-play better than another.

One YAML file a dimension in her/judging/library, its stem the dimension's id. Each principle has both languages. The library
follows the method of the HER paper (by-case judging: negative principles first, then the few positive ones that tell two
candidates apart); its 51 principles were never published, so these are our own.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from her.errors import InputError
from her.files.yaml import YamlFile, write_yaml_files
from her.types import Language, NonEmpty, Principle, Value

LIBRARY = Path(__file__).parent / "library"
DIMENSIONS = (
    "character_development",
    "relationship",
    "emotional_expression",
    "action_description",
    "atmosphere_environment",
    "dialogue_interaction",
    "narrative_plot",
    "conflict_tension",
    "details_description",
    "overall_quality",
    "safety_boundaries",
    "worldview_consistency",
    "layers",
)
"""The 12 dimensions of the paper, and one of ours for the two layers: plan, thought, act and speech among themselves."""
WEIGHTS = {"high": 2.0, "normal": 1.0, "low": 0.5}
LEAST_PRINCIPLES, LEAST_LAYERS = 60, 8
"""Of the 12 dimensions together, and of the layers."""
LONGEST = {"name": 40, "definition": 300, "good": 600, "bad": 600}


class PrincipleText(Value):
    """Wording of a principle in one language; `good` follows it, `bad` breaks it, both a turn in CoSER notation."""

    name: NonEmpty
    definition: NonEmpty
    good: NonEmpty
    bad: NonEmpty


class PrincipleEntry(Value):
    """A principle as its file holds it."""

    id: NonEmpty
    polarity: Literal["positive", "negative"]
    level: Literal["turn", "session"] = "turn"
    weight: Literal["high", "normal", "low"] = "normal"
    en: PrincipleText
    zh: PrincipleText

    def principle(self, dimension: str, language: Language) -> Principle:
        """Return the principle in one language."""
        text = self.zh if language == "zh" else self.en
        return Principle(
            id=self.id,
            name=text.name,
            dimension=dimension,
            polarity=self.polarity,
            level=self.level,
            definition=text.definition,
            weight=WEIGHTS[self.weight],
            language=language,
            good=text.good,
            bad=text.bad,
        )


class DimensionFile(Value):
    """A file of the library; `id` is its stem, `en` and `zh` the name of the dimension."""

    id: NonEmpty
    en: NonEmpty
    zh: NonEmpty
    principles: tuple[PrincipleEntry, ...]

    def name(self, language: Language) -> str:
        """Return the dimension's name in this language."""
        return self.zh if language == "zh" else self.en


def load_dimensions(folder: Path = LIBRARY) -> tuple[DimensionFile, ...]:
    """Return the files of a library in the order of `DIMENSIONS`.

    Raises:
        InputError: names the file, line and field of the first fault.
    """
    return _own_dimensions() if folder == LIBRARY else tuple(load_dimension(path) for path in _files(folder))


@cache
def _own_dimensions() -> tuple[DimensionFile, ...]:
    """Return this package's files, which do not change while the process runs; reading them takes 60 ms."""
    return tuple(load_dimension(path) for path in _files(LIBRARY))


def load_principles(language: Language = "en", folder: Path = LIBRARY) -> tuple[Principle, ...]:
    """Return all principles of a library in one language; InputError names the first fault."""
    return tuple(
        entry.principle(dimension.id, language) for dimension in load_dimensions(folder) for entry in dimension.principles
    )


def load_dimension(path: Path) -> DimensionFile:
    """Return one file of a library; InputError names its first fault."""
    file = YamlFile(path, "principles")
    return file.require(file.build(DimensionFile, id=path.stem))


def write_dimensions(folder: Path, files: Iterable[DimensionFile]) -> None:
    """Write files of a library, all or none; comments of earlier ones are lost."""
    write_yaml_files(
        {folder / f"{file.id}.yaml": file.model_dump(mode="json", exclude={"id"}, exclude_unset=True) for file in files}
    )


def plain_line(text: str) -> str:
    """Return a text on one line, without control characters, half surrogate pairs and marks of direction."""
    shown = (" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in text)
    return " ".join("".join(shown).split())


def library_hash(folder: Path = LIBRARY) -> str:
    """Return the sha256 of all files of a library; every verdict records it."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def validate_library(folder: Path = LIBRARY) -> list[str]:
    """Return every problem of a library, one sentence each."""
    problems: list[str] = []
    files: list[DimensionFile] = []
    for path in _files(folder):
        try:
            files.append(load_dimension(path))
        except InputError as error:
            problems.append(str(error))
    problems += missing_principles(files)
    seen: dict[str, str] = {}
    for file in files:
        for entry in file.principles:
            if other := seen.get(entry.id):
                problems.append(f"principle '{entry.id}' stands in '{other}' and '{file.id}'; give one of them another id")
            seen.setdefault(entry.id, file.id)
            problems += wording_problems(entry)
    return problems


def _files(folder: Path) -> list[Path]:
    """Return the files of a library, the known dimensions first and in order."""
    order = {name: place for place, name in enumerate(DIMENSIONS)}
    files = sorted(folder.glob("*.yaml"), key=lambda path: (order.get(path.stem, len(order)), path.stem))
    if not files:
        raise InputError(f"'{folder}' holds no principle files (*.yaml); give the folder of a library")
    return files


def missing_principles(files: Sequence[DimensionFile]) -> Iterator[str]:
    """Yield what a complete library has and this one lacks."""
    counts = {file.id: len(file.principles) for file in files}
    for name in DIMENSIONS:
        if not counts.get(name):
            yield f"dimension '{name}' has no principle; write '{name}.yaml' with one at least"
    for name in sorted(counts.keys() - set(DIMENSIONS)):
        yield f"dimension '{name}' is not known; the file must be named after one of {', '.join(DIMENSIONS)}"
    if (total := sum(count for name, count in counts.items() if name != "layers")) < LEAST_PRINCIPLES:
        yield f"the 12 dimensions have {total} principles; write {LEAST_PRINCIPLES - total} more"
    if (total := counts.get("layers", 0)) < LEAST_LAYERS:
        yield f"dimension 'layers' has {total} principles; write {LEAST_LAYERS - total} more"


def wording_problems(entry: PrincipleEntry) -> Iterator[str]:
    """Yield what is wrong with the texts of one principle: too long, equal, or in the wrong script."""
    for language, text in (("en", entry.en), ("zh", entry.zh)):
        where = f"principle '{entry.id}', {language}"
        for field, most in LONGEST.items():
            if (size := len(getattr(text, field))) > most:
                yield f"{where}: '{field}' has {size} characters; at most {most} are read by a judge"
        if text.good == text.bad:
            yield f"{where}: 'good' and 'bad' are the same; write an example that breaks the principle"
        chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in text.definition)
        if (language == "zh") != (2 * chinese > len(text.definition)):
            yield f"{where}: 'definition' is not written in this language; translate it"
