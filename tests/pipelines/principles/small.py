"""Small worlds and hand-made candidates for the tests of principles."""

from her.judging.principles import PrincipleEntry, PrincipleText
from her.types import Message, Part, Preference, Turn, Verdict
from pipelines.principles.distilling import Candidate
from pipelines.principles.options import ContrastOptions, PlantedWorld, PrinciplesOptions


def options(endpoint: str = "teacher:", pairs: int = 40, **changes: object) -> PrinciplesOptions:
    """Return the settings of a small planted run."""
    calls = {"retries": 0, "patience": 0.3}
    world = ContrastOptions(planted=PlantedWorld(pairs=pairs, conversations=20))
    return PrinciplesOptions.model_validate({"endpoints": (endpoint,), "pairs": world, "calls": calls, **changes})


def pair(chosen: str, rejected: str, conversation: str = "one") -> Preference:
    """Return a preference of two spoken lines."""
    turns = [Turn(speaker="Mara", parts=(Part(kind="speech", text=text),), raw=text) for text in (chosen, rejected)]
    prompt = (Message(role="system", content="You are Mara."), Message(role="user", content="Tom: And?"))
    verdict = Verdict(winner="a", judge="rater:1")
    return Preference(prompt=prompt, chosen=turns[0], rejected=turns[1], verdict=verdict, conversation=conversation)


def candidate(name: str, definition: str = "The character swears an oath on what is dear to them.") -> Candidate:
    """Return a candidate principle."""
    en = PrincipleText(name=name, definition=definition, good="By my sword. Yes.", bad="Yes.")
    zh = PrincipleText(name="起誓", definition="人物以自己珍视之物起誓。", good="凭我这把剑。好。", bad="好。")
    return Candidate(
        PrincipleEntry(id=name, polarity="positive", level="turn", en=en, zh=zh), "character_development", 3, (definition,)
    )
