"""Choose honest turns of preferences, with all that attacks need, and attack them (adversarial.py)."""

import random
import re
from collections.abc import Iterator, Sequence

from her.judging.adversarial import AdversarialPair, Honest, attack
from her.judging.preference_pairs import conversation_of, pair_language
from her.types import Preference

_SPEAKER = re.compile(r"^([^\n:：]{1,40})[:：]", re.MULTILINE)
UNKNOWN = {"en": "my friend", "zh": "朋友"}


def attacked_pairs(preferences: Sequence[Preference], kinds: Sequence[str], count: int, seed: int) -> list[AdversarialPair]:
    """Return `count` attacks of every kind on chosen turns; fewer when there are fewer honest turns."""
    honest = honest_turns(preferences, count, seed)
    return [attack(turn, kind, seed) for kind in kinds for turn in honest]


def honest_turns(preferences: Sequence[Preference], count: int, seed: int) -> list[Honest]:
    """Return chosen turns with what attacks need; strangers are speakers of another name in another conversation."""
    chance = random.Random(f"honest {seed}")
    drawn = chance.sample(preferences, min(count, len(preferences)))
    return [honest for preference in drawn for honest in _honest(preference, preferences, chance)]


def _honest(preference: Preference, others: Sequence[Preference], chance: random.Random) -> Iterator[Honest]:
    """Yield the honest turn; nothing when no stranger was found in 50 draws."""
    for _ in range(50):
        stranger = chance.choice(others)
        if stranger.chosen.speaker == preference.chosen.speaker:
            continue
        if conversation_of(stranger) == conversation_of(preference):
            continue
        language = pair_language(preference)
        yield Honest(
            id=preference.chosen.id,
            prompt=preference.prompt,
            turn=preference.chosen,
            other=_other(preference) or UNKNOWN[language],
            stranger=stranger.chosen,
            stranger_prompt=stranger.prompt,
            language=language,
        )
        return


def _other(preference: Preference) -> str:
    """Return the last speaker of the prompt other than the candidate's."""
    names = [name for message in preference.prompt if message.role == "user" for name in _SPEAKER.findall(message.content)]
    return next((name.strip() for name in reversed(names) if name.strip() != preference.chosen.speaker), "")
