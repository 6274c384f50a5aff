"""Build chats from the exchanges that were written for personas, with the same prompts as in the playground.

A chat opens as in `her.chat.openings`: a visitor, a greeting, and in turn one of the persona's scenes or none. Then the visitor
says a cue of a written exchange, the persona answers with its reply, and so on. The same seed gives the same chats and ids.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from her import paths
from her.backends.scripted_lines import ScriptedLine
from her.characters.personas import load_personas, persona_files
from her.characters.scenes import load_scenes
from her.chat.openings import HERE, open_persona
from her.errors import InputError
from her.format import parse, plain_turn
from her.training_data.samples import samples
from her.types import ENVIRONMENT, Language, Persona, Sample, Scenario, Transcript

BUNDLED = "bundled"
"""Name that means the folder of this project's personas."""
VISITORS: dict[Language, tuple[str, ...]] = {
    "en": ("", "Anna", "Tom", "Mr. Hale", "Priya", "Jonas", "Old Sam", "Lucía", "Dr. Okafor", "Wren", "Kit", "Miss Abbott"),
    "zh": ("", "小满", "周先生", "阿宁", "陆远", "沈姑娘", "老陈", "Anna"),
}
"""An empty name becomes the language's word for a visitor, as in the playground."""
ASIDES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Go on.",
        "Tell me more.",
        "And then?",
        "I am listening.",
        "Hm. I did not know that.",
        "I see.",
        "What do you make of it?",
        "Let me think about that for a moment.",
        "You surprise me.",
        "We have time.",
    ),
    "zh": (
        "请说下去。",
        "然后呢？",
        "我在听。",
        "原来如此。",
        "当真？",
        "此话怎讲？",
        "容我想想。",
        "我倒没想到。",
        "不急，慢慢说。",
        "你接着说。",
    ),
}
"""Lines of a visitor before an exchange that has no cue."""


class PersonaChat(NamedTuple):
    """A chat of one persona. `replies` are the ids of its written answers, without the greeting."""

    transcript: Transcript
    speaker: str
    replies: frozenset[str]


def persona_folder(name: str) -> Path:
    """Return the folder that an entry of a list of persona folders names."""
    return paths.personas_folder() if name == BUNDLED else paths.expanded(name)


def chat_files(name: str) -> list[Path]:
    """List the files that the chats of a folder are built from."""
    folder = persona_folder(name)
    return [*persona_files(folder), *sorted(path for path in (folder / "scenes").glob("*.yaml") if path.name[0] != ".")]


def chat_samples(chats: Iterable[PersonaChat], plans: bool = True) -> Iterator[Sample]:
    """Yield a sample for every written reply, chat by chat; a reply without a plan gives none, unless `plans` is False."""
    for chat in chats:
        for sample in samples(chat.transcript, plans=plans, speakers={chat.speaker}):
            if isinstance(sample, Sample) and sample.turn in chat.replies:
                yield sample


def persona_chats(name: str, chats: int, exchanges: int, seed: int) -> Iterator[PersonaChat]:
    """Yield `chats` chats for each persona of a folder.

    Args:
        exchanges: exchanges of a chat, all different; fewer when the persona has fewer.

    Raises:
        InputError: a file is wrong, or a persona has no written exchanges.
    """
    folder = persona_folder(name)
    scenes = load_scenes(folder / "scenes")
    for persona in load_personas(folder).values():
        if not persona.exchanges:
            raise InputError(
                f"persona {persona.id!r} in '{folder}' has no written exchanges to learn from; write some, or move its file"
            )
        generator = random.Random(f"{seed} {persona.id}")
        openings = [None, *(scene for scene in scenes.values() if _suits(scene, persona))]
        generator.shuffle(openings)
        lines = [ScriptedLine(exchange, persona.name) for exchange in persona.exchanges]
        deck: list[ScriptedLine] = []
        for number in range(chats):
            drawn = _draw(lines, deck, exchanges, generator)
            key = f"{seed} {persona.id} {number}"
            yield _build_chat(persona, openings[number % len(openings)], drawn, key, generator)


def _suits(scene: Scenario, persona: Persona) -> bool:
    """Return whether the scene names the persona, or names nobody and is in the persona's language."""
    return persona.id in scene.personas or (not scene.personas and scene.language == persona.language)


def _draw(written: Sequence[ScriptedLine], deck: list[ScriptedLine], most: int, generator: random.Random) -> list[ScriptedLine]:
    """Draw lines from the deck without repetition; a used-up deck is shuffled again, so that all lines are equally frequent."""
    drawn: list[ScriptedLine] = []
    while len(drawn) < min(most, len(written)):
        if not (fresh := [line for line in deck if line not in drawn]):
            deck[:] = generator.sample(written, len(written))
            continue
        deck.remove(fresh[0])
        drawn.append(fresh[0])
    return drawn


def _build_chat(
    persona: Persona, scene: Scenario | None, lines: Sequence[ScriptedLine], key: str, generator: random.Random
) -> PersonaChat:
    # A visitor with the persona's own name would make its turns look like the visitor's.
    names = [name for name in VISITORS[persona.language] if name.casefold() != persona.name.casefold()]
    opening = open_persona(persona, scene, generator.choice(names), greeting=generator.randrange(max(len(persona.greetings), 1)))
    visitor, scenario = opening.draft.visitor_name, opening.draft.scenario
    slots = {"visitor": visitor, "place": scenario.place or HERE[persona.language], "name": persona.name}
    turns = [turn for turn, _ in opening.turns]
    first = len(turns)
    for line in lines:
        turns.append(plain_turn(visitor, _visitor_line(line.cues, persona.language, generator)))
        turns.append(parse(line.written(persona.name, slots), persona.name, (visitor, ENVIRONMENT)))
    # Ids come from the seed: random ones would give every run other held-out transcripts.
    named = [turn.model_copy(update={"id": _id(f"{key} {place}")}) for place, turn in enumerate(turns)]
    changes = {"id": scene.id if scene else _id(f"{key} scene"), "source": scenario.source or persona.source}
    transcript = Transcript(
        id=_id(key), scenario=scenario.model_copy(update=changes), cast=opening.draft.cast, turns=tuple(named)
    )
    # After the opening, turns alternate between the visitor's line and the reply.
    return PersonaChat(transcript, persona.name, frozenset(turn.id for turn in named[first + 1 :: 2]))


def _visitor_line(cues: Sequence[str], language: Language, generator: random.Random) -> str:
    """Return a cue as it is written, or half of the time as a sentence: visitors type both."""
    if not cues:
        return generator.choice(ASIDES[language])
    cue = generator.choice(cues)
    if language == "zh" or generator.random() < 0.5:
        return cue
    return cue[0].upper() + cue[1:] + ("" if cue[-1] in "?!." else ".")


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
