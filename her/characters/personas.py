"""Persona files: load, validate, save. One YAML file per persona, readable by a writer; the file's stem is its id."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from her import format as notation
from her import paths
from her.errors import InputError
from her.files.yaml import YamlFile, write_yaml
from her.kinds import REPLY_KINDS
from her.types import CastMember, Part, Persona, Value

SLOTS = ("visitor", "place")
"""What a written line may leave open: `{visitor}` and `{place}`."""
EXPECTED = {"plan_missing", "name_missing", "foreign_notation"}
"""Departures that every written reply has by design: the plan stands beside it, and no name before it."""
CONTRAST = 4.5
"""WCAG AA for text; the monogram is white on the persona's colour."""
_ID = re.compile(r"\w[\w-]*")
_SLOT = re.compile(r"\{(visitor|place)\}")


class PersonaReport(Value):
    """Counts over one persona's exchanges; `entropy` in bits over their patterns, `top` the share of the commonest (0 to 1)."""

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
            f"{self.patterns} patterns, entropy {self.entropy:.2f} bits, commonest {self.top:.0%}"
        )


def load_personas(folder: Path | None = None) -> dict[str, Persona]:
    """All personas of a folder by id, in the order of their files' names.

    Raises:
        InputError: for the first file that is wrong, or when there is none.
    """
    folder = folder or paths.personas_folder()
    personas = {path.stem: load_persona(path) for path in persona_files(folder)}
    if not personas:
        raise InputError(f"no persona files (*.yaml) in '{folder}'; write one, or set HER_PERSONAS to a folder that has some")
    return personas


def persona_files(folder: Path) -> list[Path]:
    """The persona files of a folder, sorted; InputError when it is none."""
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; give the folder that holds the persona files")
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def load_persona(path: Path) -> Persona:
    """One persona; InputError names file, field and what would be right."""
    file = YamlFile(path, "persona")
    return file.require(file.build(Persona, id=path.stem))


def save_persona(persona: Persona, folder: Path | None = None) -> Path:
    """Write `<folder>/<id>.yaml` so that loading it gives the same persona; an older file is replaced at once."""
    if not _ID.fullmatch(persona.id):
        raise InputError(f"persona id '{persona.id}' cannot name a file; use letters, digits, '-' and '_'")
    path = (folder or paths.personas_folder()) / f"{persona.id}.yaml"
    write_yaml(path, persona.model_dump(exclude={"id"}, exclude_defaults=True))
    return path


def fill_slots(text: str, visitor: str, place: str) -> str:
    """A written line with `{visitor}` and `{place}` filled in one pass: what is filled in is never looked at again."""
    filled = {"visitor": visitor, "place": place}
    return _SLOT.sub(lambda slot: filled[slot[1]], text)


def cast_member(persona: Persona) -> CastMember:
    """The persona as present in a scene."""
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
    """Every problem of every persona file in a folder, one sentence each; an empty list when all is well."""
    problems: list[str] = []
    names: dict[str, str] = {}
    for path in persona_files(folder or paths.personas_folder()):
        try:
            file = YamlFile(path, "persona")
        except InputError as error:
            problems.append(str(error))
            continue
        persona = file.build(Persona, id=path.stem)
        problems += file.problems
        if persona is not None:
            problems += [f"{file.name}: {problem}" for problem in _doubts(persona)]
            if other := names.get(persona.name):
                problems.append(f"{file.name}: the name '{persona.name}' is taken by '{other}'; no two personas share one")
            names[persona.name] = path.name
    return problems


def report(persona: Persona) -> PersonaReport:
    """Counts over the exchanges; patterns as in `her.format.pattern`."""
    read = [_parts(exchange.reply, persona.name) for exchange in persona.exchanges]
    patterns = Counter(notation.pattern(parts) for parts in read)
    planned = zip(persona.exchanges, read, strict=True)
    total = len(read)
    return PersonaReport(
        persona=persona.id,
        exchanges=total,
        all_kinds=sum(bool(e.plan) and {part.kind for part in parts} >= set(REPLY_KINDS) for e, parts in planned),
        anytime=sum(exchange.anytime for exchange in persona.exchanges),
        patterns=len(patterns),
        entropy=notation.pattern_entropy(list(patterns.elements())),
        top=max(patterns.values(), default=0) / total if total else 0.0,
    )


def contrast_with_white(colour: str) -> float:
    """WCAG contrast ratio (1 to 21) of white letters on a colour `#rrggbb`."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else math.pow((c + 0.055) / 1.055, 2.4) for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def _doubts(persona: Persona) -> Iterator[str]:
    """What a well-formed file may still have wrong: notation, slots, an unreadable colour."""
    if (ratio := contrast_with_white(persona.colour)) < CONTRAST:
        weak = f"{persona.colour} gives white letters a contrast of {ratio:.1f}"
        yield f"field 'colour' {weak}; take a darker one (at least {CONTRAST})"
    for place, reply in _replies(persona):
        for defect in notation.parse(reply, persona.name, notation="coser").defects:
            if defect.name not in EXPECTED:
                found = f"the defect {defect.name} ({notation.DEFECTS[defect.name]}) at '{defect.detail}'"
                yield f"field '{place}' has {found}; write [thought] (action) speech"
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
            yield f"field '{place}' has the slot '{{{slot}}}', which nobody fills; use {{visitor}} or {{place}}, or delete it"


def _parts(reply: str, name: str) -> tuple[Part, ...]:
    return notation.parse(reply, name, notation="coser").parts
