"""Make the bad side of a catch pair without a model: a fault that anybody sees who reads both replies.

The kinds are those of the adversarial suite that need no honest turn, so that the bad reply can be shown while the honest one is
still being written. It gets a plan, since its lack would be seen without reading.
"""

import random
from collections.abc import Mapping

from her.characters.personas import fill_slots
from her.chat.comparisons import PlantedReply
from her.format import parse, render
from her.judging.adversarial import ATTACKS, Honest, plan_line
from her.kinds import PLAN
from her.types import Language, Part, Persona, Turn

KINDS_OF_FAULT = ("other_persona", "persona_free", "other_language")
"""Another persona's answer under this name, an assistant's answer, an answer in another language."""
_PLACE: dict[Language, str] = {"en": "here", "zh": "这里"}


class Catches:
    """Maker of bad replies (`her.chat.comparisons.Planter`).

    Args:
        personas: by id; their written answers are those of other personas.
    """

    def __init__(self, personas: Mapping[str, Persona]) -> None:
        self._personas = personas

    def __call__(self, speaker: str, other: str, language: Language, chance: random.Random) -> PlantedReply:
        """Return a bad reply of `speaker` to `other`."""
        strangers = self._strangers(speaker, language)
        kind = chance.choice([name for name in KINDS_OF_FAULT if strangers or name != "other_persona"])
        reply, plan = _written(chance.choice(strangers), other, chance, language) if strangers else ("", "")
        stranger = parse(reply, speaker, notation="coser")
        honest = Honest("", (), Turn(speaker=speaker, parts=()), other, stranger, (), language)
        parts = ATTACKS[kind].make(honest, chance).parts
        planned = plan if kind == "other_persona" and plan else plan_line(honest, chance)
        return PlantedReply(kind, render((Part(kind=PLAN, text=planned), *parts), speaker))

    def _strangers(self, speaker: str, language: Language) -> list[Persona]:
        known = (persona for persona in self._personas.values() if persona.language == language and persona.name != speaker)
        return [persona for persona in known if persona.examples or persona.exchanges]


def _written(persona: Persona, visitor: str, chance: random.Random, language: Language) -> tuple[str, str]:
    """Return one written answer of a persona, and its plan."""
    lines = [(line.reply, line.plan) for line in persona.examples] + [(line.reply, line.plan) for line in persona.exchanges]
    reply, plan = (fill_slots(text, visitor, _PLACE[language]) for text in chance.choice(lines))
    return reply, plan
