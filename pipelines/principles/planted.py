"""Make pairs with hidden rules: turns composed of the traits that the rule-based teacher knows, labelled by a few of them.

The seed draws which traits are rules. Every rule counts the same, so a turn is preferred when it follows more rules; the other
traits are noise that has nothing to do with the label. Every fourth conversation is Chinese.
"""

import random
from typing import NamedTuple

from her.backends.teacher_principles import TRAITS, Trait
from her.format import render
from her.kinds import Kind
from her.types import Language, Message, Part, Preference, Turn, Verdict
from pipelines.principles.answers import LEAST_NAMED
from pipelines.principles.options import PlantedWorld

SHOWN = 0.4
"""Probability that a turn has a trait."""
CASTS: dict[Language, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("Portia", "Nerissa", "a garden at dusk"),
        ("Edmund", "Kent", "a cold hall"),
        ("Viola", "Feste", "the harbour"),
        ("Imogen", "Pisanio", "a road in the hills"),
    ),
    "zh": (("婉清", "阿福", "雨后的院子"), ("子衡", "老周", "渡口")),
}
LINES: dict[Language, tuple[str, ...]] = {
    "en": ("So you came after all.", "Nobody has asked me that.", "Sit down, the night is long.", "I have heard the story."),
    "zh": ("你到底还是来了。", "没人这样问过我。", "坐吧，夜还长。", "这事我听说过。"),
}
CUES: dict[Language, tuple[str, ...]] = {
    "en": ("Where were you last night?", "They say that you know the way.", "What shall we do now?"),
    "zh": ("昨晚你在哪里？", "都说你认得路。", "如今怎么办？"),
}


class PlantedPairs(NamedTuple):
    """Planted preferences, and the ids of the traits that decide their labels."""

    preferences: tuple[Preference, ...]
    rules: frozenset[str]


def planted_pairs(world: PlantedWorld, seed: int) -> PlantedPairs:
    """Return the pairs of a world; the same for the same seed."""
    chance = random.Random(f"principles {seed}")
    rules = frozenset(trait.id for trait in chance.sample(TRAITS, world.rules))
    numbers = range(world.pairs)
    return PlantedPairs(tuple(_preference(number, world, rules, chance) for number in numbers), rules)


def _preference(number: int, world: PlantedWorld, rules: frozenset[str], chance: random.Random) -> Preference:
    place = chance.randrange(world.conversations)
    language: Language = "zh" if place % 4 == 3 else "en"
    speaker, other, where = CASTS[language][place % len(CASTS[language])]
    first, second = _draw(chance)
    difference = sum(_follows(trait, first) - _follows(trait, second) for trait in TRAITS if trait.id in rules)
    first_wins = chance.random() < 0.5 if difference == 0 else (difference > 0) != (chance.random() < world.wrong)
    sides = [_turn(shown, speaker, language, f"planted-{number}-{side}", chance) for side, shown in enumerate((first, second))]
    return Preference(
        prompt=_prompt(speaker, other, where, language, chance),
        chosen=sides[not first_wins],
        rejected=sides[first_wins],
        verdict=Verdict(winner="a" if first_wins else "b", judge="rule"),
        conversation=f"planted-{place}",
    )


def _draw(chance: random.Random) -> tuple[frozenset[str], frozenset[str]]:
    """Return the traits of two turns, each better than the other in enough traits to be told apart by."""
    while True:
        first, second = (frozenset(trait.id for trait in TRAITS if chance.random() < SHOWN) for _ in range(2))
        gains = [_follows(trait, first) - _follows(trait, second) for trait in TRAITS]
        # For both sides, so that it says nothing about which of them is preferred.
        if min(gains.count(1), gains.count(-1)) >= LEAST_NAMED:
            return first, second


def _follows(trait: Trait, shown: frozenset[str]) -> bool:
    return (trait.id in shown) == (trait.polarity == "positive")


def _turn(shown: frozenset[str], speaker: str, language: Language, name: str, chance: random.Random) -> Turn:
    """Return a turn with these traits: a thought, an act, sentences in a drawn order."""
    by_place: dict[str, list[str]] = {"thought": [], "act": [], "speech": [chance.choice(LINES[language]).rstrip(".。")]}
    for trait in TRAITS:
        if trait.id in shown:
            by_place[trait.place].append(trait.words(language).marker)
    chance.shuffle(by_place["speech"])
    comma, stop = ("，", "。") if language == "zh" else (", ", ". ")
    texts: list[tuple[Kind, str]] = [
        ("role_thinking", stop.join(by_place["thought"])),
        ("role_action", comma.join(by_place["act"])),
        ("speech", stop.join(by_place["speech"]) + stop.strip()),
    ]
    parts = tuple(Part(kind=kind, text=text) for kind, text in texts if text)
    return Turn(id=name, speaker=speaker, parts=parts, raw=render(parts, speaker))


def _prompt(speaker: str, other: str, where: str, language: Language, chance: random.Random) -> tuple[Message, ...]:
    situation = f"你是{speaker}，和{other}在{where}。" if language == "zh" else f"You are {speaker}, with {other}, in {where}."
    return (
        Message(role="system", content=situation),
        Message(role="user", content=f"{other}: {chance.choice(CUES[language])}"),
    )
