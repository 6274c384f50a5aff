"""Load, validate and save persona files: one YAML file a persona; the file's stem is the persona's id."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from her import format as notation
from her import paths
from her.errors import InputError
from her.files.yaml import YamlFile, write_yaml
from her.format.misspelt import misspelt_tag
from her.kinds import REPLY_KINDS
from her.types import CastMember, Part, Persona, Value

SLOTS = ("visitor", "place")
"""Placeholders of written lines: `{visitor}` and `{place}`."""
EXPECTED = {"plan_missing", "name_missing", "foreign_notation"}
"""Defects that every written reply has by design: the plan is in a field of its own, and no name stands before it."""
CONTRAST = 4.5
"""Least contrast of text under WCAG 2.2 AA; the monogram is white on the persona's colour."""
_ID = re.compile(r"\w[\w-]*")
_SLOT = re.compile(r"\{(visitor|place)\}")


class PersonaReport(Value):
    """Counts over the exchanges of one persona.

    Args:
        all_kinds: exchanges with a plan and all other part kinds.
        anytime: exchanges that may be played at any time.
        patterns: number of different patterns.
        entropy: pattern entropy in bits (docs/format.md).
        top: share of the most frequent pattern, 0 to 1.
    """

    persona: str
    exchanges: int
    all_kinds: int
    anytime: int
    patterns: int
    entropy: float
    top: float

    def __str__(self) -> str:
        return (
            f"{self.persona}: {self.exchanges} exchanges, {self.all_kinds} with all four kinds, {self.anytime} at any time, "
            f"{self.patterns} patterns, entropy {self.entropy:.2f} bits, most frequent {self.top:.0%}"
        )


def load_personas(folder: Path | None = None) -> dict[str, Persona]:
    """Load all personas of a folder, by id, in the order of the file names.

    Raises:
        InputError: the first file that has a problem, or a folder without persona files.
    """
    folder = folder or paths.personas_folder()
    personas = {path.stem: load_persona(path) for path in persona_files(folder)}
    if not personas:
        raise InputError(
            f"no persona files (*.yaml) in '{folder}'; write one, or set HER_PERSONAS to a folder with persona files"
        )
    return personas


def persona_files(folder: Path) -> list[Path]:
    """Return the persona files of a folder, sorted by name.

    Raises:
        InputError: it is not a folder.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; give the folder that holds the persona files")
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def load_persona(path: Path) -> Persona:
    """Load one persona file.

    Raises:
        InputError: the first problem; it names file, field, line and a remedy.
    """
    file = YamlFile(path, "persona")
    return file.require(_built(file, path))


def _built(file: YamlFile, path: Path) -> Persona | None:
    """Return the persona of a file, or None and its problems; a tag that is nearly one of the format is a problem too."""
    for place, text in file.texts():
        if tag := misspelt_tag(text):
            file.fault(place, f"has the tag '{tag.text}', which is none", f"did you mean '{tag.meant}'?")
    return file.build(Persona, id=path.stem)


def save_persona(persona: Persona, folder: Path | None = None) -> Path:
    """Write `FOLDER/ID.yaml` atomically, so that loading it gives the same persona; return the path.

    Raises:
        InputError: the id cannot be a file name, or the file cannot be written.
    """
    if not _ID.fullmatch(persona.id):
        raise InputError(f"persona id '{persona.id}' cannot name a file; use letters, digits, '-' and '_'")
    path = (folder or paths.personas_folder()) / f"{persona.id}.yaml"
    write_yaml(path, persona.model_dump(exclude={"id"}, exclude_defaults=True))
    return path


def fill_slots(text: str, visitor: str, place: str) -> str:
    """Return a written line with `{visitor}` and `{place}` replaced in one pass; values are inserted as they are."""
    values = {"visitor": visitor, "place": place}
    return _SLOT.sub(lambda slot: values[slot[1]], text)


def cast_member(persona: Persona) -> CastMember:
    """Return the persona as a member of a cast."""
    return CastMember(
        name=persona.name,
        source=persona.source,
        profile=persona.profile,
        background=persona.background,
        voice=persona.voice,
        motivation=persona.motivation,
        examples=persona.examples,
        persona=persona.id,
    )


def validate(folder: Path | None = None) -> list[str]:
    """Return all problems of all persona files of a folder, one sentence each."""
    problems: list[str] = []
    names: dict[str, str] = {}
    for path in persona_files(folder or paths.personas_folder()):
        found, persona = _checked(path)
        problems += found
        if persona is not None:
            if other := names.get(persona.name):
                taken = f"the name '{persona.name}' is taken by '{other}'; no two personas share one"
                problems.append(f"persona '{path.name}': {taken}")
            names[persona.name] = path.name  # the name is what a turn is matched by, so it has to be unique
    return problems


def report(persona: Persona) -> PersonaReport:
    """Count the exchanges of a persona; patterns are those of `her.format.pattern`."""
    replies = [_parts(exchange.reply, persona.name) for exchange in persona.exchanges]
    patterns = Counter(notation.pattern(parts) for parts in replies)
    planned = zip(persona.exchanges, replies, strict=True)
    total = len(replies)
    return PersonaReport(
        persona=persona.id,
        exchanges=total,
        all_kinds=sum(bool(exchange.plan) and {part.kind for part in parts} >= set(REPLY_KINDS) for exchange, parts in planned),
        anytime=sum(exchange.anytime for exchange in persona.exchanges),
        patterns=len(patterns),
        entropy=notation.pattern_entropy(list(patterns.elements())),
        top=max(patterns.values(), default=0) / total if total else 0.0,
    )


def contrast_with_white(colour: str) -> float:
    """Return the WCAG 2.2 contrast ratio (1 to 21) of white on a colour `#rrggbb`."""
    # Relative luminance of sRGB, WCAG 2.2 (the threshold 0.04045 is that of IEC 61966-2-1).
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else math.pow((c + 0.055) / 1.055, 2.4) for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def file_problems(path: Path) -> list[str]:
    """Return all problems of one persona file, one sentence each."""
    return _checked(path)[0]


def persona_id(name: str) -> str:
    """Return the id that a persona of this name has by default: its words in small letters with `-` between; may be empty."""
    return "-".join(re.findall(r"\w+", name.lower().replace("_", " ")))[:60].strip("-")


def _checked(path: Path) -> tuple[list[str], Persona | None]:
    """Return the problems of a persona file, and its persona unless they keep it from being read."""
    try:
        file = YamlFile(path, "persona")
    except InputError as error:
        return [str(error)], None
    persona = _built(file, path)
    content = _content_problems(persona) if persona is not None else ()
    return [*file.problems, *(f"{file.name}: {problem}" for problem in content)], persona


def _content_problems(persona: Persona) -> Iterator[str]:
    """Yield the problems of a file that has the right fields: low contrast, defects of the notation, unknown slots."""
    if (ratio := contrast_with_white(persona.colour)) < CONTRAST:
        weak = f"{persona.colour} gives white letters a contrast of {ratio:.1f}"
        yield f"field 'colour' {weak}; choose a darker one (at least {CONTRAST})"
    for place, reply in _replies(persona):
        for defect in notation.parse(reply, persona.name, notation="coser").defects:
            if defect.name not in EXPECTED:
                problem = f"the defect {defect.name} ({notation.DEFECTS[defect.name]}) at '{defect.detail}'"
                yield f"field '{place}' has {problem}; write [thought] (action) speech"
        yield from _wrong_slots(place, reply)
    for number, exchange in enumerate(persona.exchanges, 1):
        yield from _wrong_slots(f"exchanges.{number}.plan", exchange.plan)


def _replies(persona: Persona) -> Iterator[tuple[str, str]]:
    yield from ((f"greetings.{number}", text) for number, text in enumerate(persona.greetings, 1))
    yield from ((f"examples.{number}.reply", example.reply) for number, example in enumerate(persona.examples, 1))
    yield from ((f"exchanges.{number}.reply", exchange.reply) for number, exchange in enumerate(persona.exchanges, 1))


def _wrong_slots(place: str, text: str) -> Iterator[str]:
    for slot in re.findall(r"\{([^{}]*)\}", text):
        if slot not in SLOTS:
            yield f"field '{place}' has the slot '{{{slot}}}', which has no value; use {{visitor}} or {{place}}, or delete it"


def _parts(reply: str, name: str) -> tuple[Part, ...]:
    return notation.parse(reply, name, notation="coser").parts
