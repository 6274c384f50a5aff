"""Make preferences with a known rule, by seeded rewriting of the turns of CoSER books and of this project's personas.

The rule has three features: an inner thought is good (1.0), a filler phrase is bad (0.8), and an act that fits the prompt is
good (1.6). The prompt says whether the talk is secret or public; a quiet act fits the first, a loud one the second. So the act
alone says nothing: who does not read the prompt is right in half of the pairs that only the act decides. Prompts are short,
because models of a million weights learn no gate behind a thousand tokens in minutes.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from her.characters.coser import load_book
from her.characters.personas import fill_slots, load_personas
from her.errors import InputError
from her.format import parse, render
from her.kinds import Kind
from her.types import ENVIRONMENT, Comparison, Message, Part, Preference, Turn, Verdict, Winner

WEIGHTS = {"thought": 1.0, "filler": 0.8, "gate": 1.6}
"""No sum of these with signs is 0, so every pair with a difference has a winner."""
GATES = (("This is a secret.", "Keep it secret."), ("This is public.", "Say it in public."))
ACTS = (("whispers", "leans close"), ("shouts", "steps forward"))
"""By gate: quiet acts, loud acts. With four sentences and four acts a gate, 590 steps reached 75 % of the pairs it decides."""
THOUGHTS = ("I must be careful.", "This hurts more than I show.", "So that is what they want.", "I knew it.", "I will not yield.")
FILLERS = ("Well, you know,", "As I was saying,", "To be honest,", "At the end of the day,")
VISITOR, PLACE = "Tom", "this place"
CUE_WORDS, SPEECH_WORDS = 6, (3, 6)
GATE_PAIRS = 0.5
"""Share of pairs that are drawn so that only the act differs; about one in seven of the others does as well."""
RIGHT = {"careful": 0.95, "careless": 0.55}
RATERS = 20


class Moment(NamedTuple):
    """A line of a book or persona with the line that it answers."""

    conversation: str
    speaker: str
    other: str
    cue: str
    speech: str


class Features(NamedTuple):
    """Features of a candidate that the rule reads; `fits` is whether its act fits the prompt."""

    thought: bool
    filler: bool
    fits: bool


def planted_preferences(pairs: int, books: Sequence[Path], seed: int) -> tuple[Preference, ...]:
    """Return preferences with the rule's label; the same for the same seed.

    Raises:
        InputError: a book cannot be read, or it has no two turns in a row.
    """
    moments = [*book_moments(books), *persona_moments()]
    if not moments:
        raise InputError("there is no English line to rewrite; give pairs.planted.books")
    chance = random.Random(f"planted {seed}")
    return tuple(_preference(chance.choice(moments), number, chance) for number in range(pairs))


def with_raters(preferences: Sequence[Preference], careless: float, seed: int) -> tuple[Preference, ...]:
    """Return the preferences as raters voted on them: each with one vote of a careful or careless rater.

    The weight is the share of the rater's votes that is more than chance and the probability is that the vote is right: both
    are known for planted raters, and measured by checks for real ones (her/feedback/raters.py).
    """
    chance = random.Random(f"raters {seed}")
    kinds = ["careless" if number < careless * RATERS else "careful" for number in range(RATERS)]
    return tuple(_voted(preference, number, kinds[number], chance) for preference, number in _assigned(preferences, chance))


def _assigned(preferences: Sequence[Preference], chance: random.Random) -> Iterator[tuple[Preference, int]]:
    for preference in preferences:
        yield preference, chance.randrange(RATERS)


def _voted(preference: Preference, rater: int, kind: str, chance: random.Random) -> Preference:
    right = RIGHT[kind]
    chosen, rejected, winner = preference.chosen, preference.rejected, preference.verdict.winner
    if chance.random() >= right:
        chosen, rejected, winner = rejected, chosen, "b" if winner == "a" else "a"
    probability = right if winner == "a" else 1 - right
    name = f"rater:{kind}-{rater:02}"
    verdict = preference.verdict.model_copy(update={"winner": winner, "judge": name, "probability": probability})
    changes = {"chosen": chosen, "rejected": rejected, "verdict": verdict, "weight": 2 * right - 1, "rater": name}
    return preference.model_copy(update=changes)


def book_moments(books: Sequence[Path]) -> Iterator[Moment]:
    """Yield each line of the books that answers another's, in reading order."""
    for path in books:
        for scene in load_book(path).scenes:
            for cue, turn in zip(scene.turns, scene.turns[1:], strict=False):
                speech = turn.text("speech")
                if (
                    ENVIRONMENT not in (cue.speaker, turn.speaker)
                    and cue.speaker != turn.speaker
                    and cue.text("speech")
                    and speech
                ):
                    yield Moment(scene.id, turn.speaker, cue.speaker, cue.text("speech"), speech)


def persona_moments() -> Iterator[Moment]:
    """Yield the written exchanges of this project's English personas."""
    for persona in load_personas().values():
        if persona.language != "en":
            continue
        for exchange in persona.exchanges:
            reply = parse(fill_slots(exchange.reply, VISITOR, PLACE), persona.name, notation="coser")
            if exchange.cues and reply.text("speech"):
                yield Moment(f"persona:{persona.id}", persona.name, VISITOR, exchange.cues[0], reply.text("speech"))


def _preference(moment: Moment, number: int, chance: random.Random) -> Preference:
    """Return one pair: two rewritings of a line under one prompt."""
    gate = chance.randrange(2)
    first, second = _feature_pair(chance)
    sides = [
        _candidate(moment, features, gate, f"planted-{number}-{side}", chance) for side, features in enumerate((first, second))
    ]
    comparisons = tuple(_comparison(name, *signs) for name, signs in _signs(first, second).items())
    a_wins = _utility(first) > _utility(second)
    chosen, rejected = sides if a_wins else sides[::-1]
    return Preference(
        prompt=_prompt(moment, gate, chance),
        chosen=chosen,
        rejected=rejected,
        verdict=Verdict(comparisons=comparisons, winner="a" if a_wins else "b", judge="rule"),
        conversation=moment.conversation,
    )


def _feature_pair(chance: random.Random) -> tuple[Features, Features]:
    """Draw the features of two candidates that differ in at least one."""
    if chance.random() < GATE_PAIRS:
        thought, filler, fits = (chance.random() < 0.5 for _ in range(3))
        return Features(thought, filler, fits), Features(thought, filler, not fits)
    while True:
        first, second = (Features(*(chance.random() < 0.5 for _ in range(3))) for _ in range(2))
        if first != second:
            return first, second


def _candidate(moment: Moment, features: Features, gate: int, name: str, chance: random.Random) -> Turn:
    words = moment.speech.split()
    size = chance.randint(*SPEECH_WORDS)
    start = chance.randrange(max(1, len(words) - size + 1))
    speech = " ".join(words[start : start + size])
    if features.filler:
        speech = f"{chance.choice(FILLERS)} {speech}"
    act = chance.choice(ACTS[gate if features.fits else 1 - gate])
    texts: list[tuple[Kind, str]] = [("role_action", act), ("speech", speech)]
    if features.thought:
        texts.insert(0, ("role_thinking", chance.choice(THOUGHTS)))
    parts = tuple(Part(kind=kind, text=text) for kind, text in texts)
    return Turn(id=name, speaker=moment.speaker, parts=parts, raw=render(parts, moment.speaker))


def _prompt(moment: Moment, gate: int, chance: random.Random) -> tuple[Message, ...]:
    cue = " ".join(moment.cue.split()[:CUE_WORDS])
    return (
        Message(role="system", content=f"You are {moment.speaker}, with {moment.other}. {chance.choice(GATES[gate])}"),
        Message(role="user", content=f"{moment.other}: {cue}"),
    )


def _signs(first: Features, second: Features) -> dict[str, tuple[bool, bool]]:
    """Return by feature whether each candidate has the good value."""
    return {
        "thought": (first.thought, second.thought),
        "filler": (not first.filler, not second.filler),
        "gate": (first.fits, second.fits),
    }


def _comparison(name: str, first: bool, second: bool) -> Comparison:
    winner: Winner = "tie" if first == second else "a" if first else "b"
    return Comparison(principle=name, winner=winner)


def _utility(features: Features) -> float:
    return WEIGHTS["thought"] * features.thought - WEIGHTS["filler"] * features.filler + WEIGHTS["gate"] * features.fits
