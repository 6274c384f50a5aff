"""Make labelled pairs with a known rule from the written lines of this project's personas, in English and Chinese.

Each pair has one fault in one of its candidates, and the fault's dimension: an inner thought is left out (layers), empty words
stand before the line (details), the line answers another question (dialogue), or another persona says it (character). Three
planted people vote on each pair, and each of them errs in one vote of five; so two of them agree in 68 % of pairs.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from her.characters.personas import cast_member, fill_slots, load_personas
from her.format import parse, render
from her.judging.judge import PairQuestion
from her.judging.labelled import LabelledQuestion, oriented, swapped
from her.types import CastMember, Language, Message, Outcome, Part, Persona, Scenario, Transcript, Turn
from her.view import messages

FAULTS = ("layers", "details_description", "dialogue_interaction", "character_development")
"""Dimensions; the fault of each is planted by `_with_fault`."""
FILLERS: dict[Language, tuple[str, ...]] = {
    "en": ("Well, you know, as I always say, to be honest with you,", "Now, at the end of the day, when all is said and done,"),
    "zh": ("嗯，怎么说呢，老实讲，其实吧，", "总之，说到底，归根结底来说，"),
}
VISITOR: dict[Language, tuple[str, str]] = {"en": ("Tom", "here"), "zh": ("小唐", "这里")}
VOTERS, RIGHT = 3, 0.8


class WrittenLine(NamedTuple):
    """A written reply of a persona, with the words that it answers."""

    persona: Persona
    number: int
    cue: str
    reply: Turn


def planted_pairs(count: int, seed: int) -> tuple[LabelledQuestion, ...]:
    """Return pairs with labels and votes; the same for the same seed. Every fault and persona comes about equally often."""
    lines = [line for persona in load_personas().values() for line in _lines(persona)]
    chance = random.Random(f"judge check {seed}")
    chance.shuffle(lines)
    fitting: list[LabelledQuestion] = []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        usable = [line for line in lines if fault != "layers" or line.reply.text("role_thinking")]
        fitting.append(_pair(usable[number // len(FAULTS) % len(usable)], fault, number, usable, chance))
    return tuple(fitting)


def _lines(persona: Persona) -> list[WrittenLine]:
    return [
        WrittenLine(persona, number, exchange.cues[0], reply)
        for number, exchange in enumerate(persona.exchanges)
        if exchange.cues
        and (reply := parse(fill_slots(exchange.reply, *VISITOR[persona.language]), persona.name, notation="coser")).text(
            "speech"
        )
    ]


def _pair(line: WrittenLine, fault: str, number: int, others: Sequence[WrittenLine], chance: random.Random) -> LabelledQuestion:
    worse = _with_fault(line, fault, others, chance)
    name = f"planted-{number}"
    good, bad = (turn.model_copy(update={"id": f"{name}-{side}"}) for side, turn in (("good", line.reply), ("bad", worse)))
    turned, label = oriented(name, "a")
    a, b = (bad, good) if turned else (good, bad)
    question = PairQuestion(name, _prompt(line), a, b, line.persona.language)
    return LabelledQuestion(question, label, f"{line.persona.id} {line.number}", fault, tuple(_votes(label, chance)))


def _votes(label: Outcome, chance: random.Random) -> list[Outcome]:
    return [label if chance.random() < RIGHT else swapped(label) for _ in range(VOTERS)]


def _with_fault(line: WrittenLine, fault: str, others: Sequence[WrittenLine], chance: random.Random) -> Turn:
    """Return the worse candidate."""
    language, name = line.persona.language, line.persona.name
    parts = [part for part in line.reply.parts if part.kind != "system_thinking"]
    if fault == "layers":
        return _turn(name, [part for part in parts if part.kind != "role_thinking"])
    if fault == "details_description":
        return _turn(name, [Part(kind="speech", text=chance.choice(FILLERS[language])), *parts])
    same = fault == "dialogue_interaction"
    drawn = [other for other in others if other.persona.language == language and (other.persona.id == line.persona.id) == same]
    other = chance.choice([each for each in drawn if each.cue != line.cue])
    return _turn(name, [part for part in other.reply.parts if part.kind != "system_thinking"])


def _turn(speaker: str, parts: Sequence[Part]) -> Turn:
    return parse(render(parts, speaker), speaker)


def _prompt(line: WrittenLine) -> tuple[Message, ...]:
    visitor, _ = VISITOR[line.persona.language]
    cast = (cast_member(line.persona), CastMember(name=visitor))
    said = parse(line.cue, visitor)
    scenario = Scenario(id="planted", language=line.persona.language)
    return messages(Transcript(scenario=scenario, cast=cast, turns=(said,)), line.persona.name)
