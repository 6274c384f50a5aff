"""The exchanges that were written for personas, as chats: what the playground would have on its page, had they been said there.

Every chat opens as `her.chat.openings` opens it, with a visitor, a greeting and, by turns, a scene of the house or none; then a
visitor says a cue of a written exchange, the persona answers with it, and so on. The same seed gives the same chats, ids and all.
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

HOUSE = "house"
"""Names the folder of personas that the playground opens."""
VISITORS: dict[Language, tuple[str, ...]] = {
    "en": ("", "Anna", "Tom", "Mr. Hale", "Priya", "Jonas", "Old Sam", "Lucía", "Dr. Okafor", "Wren", "Kit", "Miss Abbott"),
    "zh": ("", "小满", "周先生", "阿宁", "陆远", "沈姑娘", "老陈", "Anna"),
}
"""An empty name is the language's word for a visitor, as in the playground."""
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
"""What a visitor says before an exchange that has no cue and fits at any time."""


class Chat(NamedTuple):
    """A chat as it might have been. `replies`: ids of the turns that were written as answers; the greeting is none."""

    transcript: Transcript
    speaker: str
    replies: frozenset[str]


def folder_of(name: str) -> Path:
    """The folder of personas that a setting names."""
    return paths.personas_folder() if name == HOUSE else paths.expanded(name)


def chat_files(name: str) -> list[Path]:
    """The files from which the chats of a folder are made."""
    folder = folder_of(name)
    return [*persona_files(folder), *sorted(path for path in (folder / "scenes").glob("*.yaml") if path.name[0] != ".")]


def written_samples(chats: Iterable[Chat], plans: bool = True) -> Iterator[Sample]:
    """A sample for every written reply; those of one chat are neighbours. Without a plan it is none, unless `plans` is False."""
    for chat in chats:
        for sample in samples(chat.transcript, plans=plans, speakers={chat.speaker}):
            if isinstance(sample, Sample) and sample.turn in chat.replies:
                yield sample


def written_chats(name: str, chats: int, exchanges: int, seed: int) -> Iterator[Chat]:
    """`chats` chats for each persona of a folder.

    Args:
        exchanges: of a chat, each once; a chat is shorter where a persona has fewer.

    Raises:
        InputError: a file is wrong, or a persona has no written exchanges.
    """
    folder = folder_of(name)
    scenes = load_scenes(folder / "scenes")
    for persona in load_personas(folder).values():
        if not persona.exchanges:
            raise InputError(
                f"persona {persona.id!r} in '{folder}' has no written exchanges to learn from; write some, or move it"
            )
        dice = random.Random(f"{seed} {persona.id}")
        places = [None, *(scene for scene in scenes.values() if _fits(scene, persona))]
        dice.shuffle(places)
        lines = [ScriptedLine(exchange, persona.name) for exchange in persona.exchanges]
        deck: list[ScriptedLine] = []
        for number in range(chats):
            said = _drawn(lines, deck, exchanges, dice)
            key = f"{seed} {persona.id} {number}"
            yield _chat(persona, places[number % len(places)], said, key, dice)


def _fits(scene: Scenario, persona: Persona) -> bool:
    """Whether it is the persona's own scene, or everybody's in the persona's language."""
    return persona.id in scene.personas or (not scene.personas and scene.language == persona.language)


def _drawn(written: Sequence[ScriptedLine], deck: list[ScriptedLine], most: int, dice: random.Random) -> list[ScriptedLine]:
    """The next lines of the deck, none twice; shuffled anew when it is used up, so that all are said equally often."""
    drawn: list[ScriptedLine] = []
    while len(drawn) < min(most, len(written)):
        if not (fresh := [line for line in deck if line not in drawn]):
            deck[:] = dice.sample(written, len(written))
            continue
        deck.remove(fresh[0])
        drawn.append(fresh[0])
    return drawn


def _chat(persona: Persona, scene: Scenario | None, said: Sequence[ScriptedLine], key: str, dice: random.Random) -> Chat:
    names = [name for name in VISITORS[persona.language] if name.casefold() != persona.name.casefold()]
    opening = open_persona(persona, scene, dice.choice(names), greeting=dice.randrange(max(len(persona.greetings), 1)))
    visitor, scenario = opening.draft.visitor_name, opening.draft.scenario
    slots = {"visitor": visitor, "place": scenario.place or HERE[persona.language], "name": persona.name}
    turns = [turn for turn, _ in opening.turns]
    first = len(turns)
    for line in said:
        turns.append(plain_turn(visitor, _question(line.cues, persona.language, dice)))
        turns.append(parse(line.written(persona.name, slots), persona.name, (visitor, ENVIRONMENT)))
    named = [turn.model_copy(update={"id": _id(f"{key} {place}")}) for place, turn in enumerate(turns)]
    told = {"id": scene.id if scene else _id(f"{key} scene"), "source": scenario.source or persona.source}
    transcript = Transcript(id=_id(key), scenario=scenario.model_copy(update=told), cast=opening.draft.cast, turns=tuple(named))
    return Chat(transcript, persona.name, frozenset(turn.id for turn in named[first + 1 :: 2]))


def _question(cues: Sequence[str], language: Language, dice: random.Random) -> str:
    """A cue, as it is written or as a sentence; the playground's visitors type both."""
    if not cues:
        return dice.choice(ASIDES[language])
    cue = dice.choice(cues)
    if language == "zh" or dice.random() < 0.5:
        return cue
    return cue[0].upper() + cue[1:] + ("" if cue[-1] in "?!." else ".")


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
