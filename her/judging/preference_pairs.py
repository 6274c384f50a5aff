"""Say which preferences are fit to learn from, and split them by whole conversations.

Replies that failed or were stopped are left out when votes are exported (her/feedback/preferences.py): a `Preference` does not
record how a generation ended.
"""

import hashlib
import re
from collections.abc import Sequence

from her.types import Language, Preference
from her.view import Viewer, line

TRUNCATED = frozenset({"cut_tag", "missing_close", "unclosed_plan"})
"""Defects of a turn that ends in the middle."""
_WIDE = re.compile(r"[\u3400-\u9fff]")
VIEWER = Viewer(kind="reward_model")


def conversation_of(preference: Preference) -> str:
    """Return the conversation's id; without one a hash of the system message, which all chats of one persona and scene share."""
    if preference.conversation:
        return preference.conversation
    system = preference.prompt[0].content if preference.prompt else ""
    return f"prompt:{hashlib.sha256(system.encode('utf-8', 'replace')).hexdigest()[:16]}"


def pair_language(preference: Preference) -> Language:
    """Return the language that the preferred turn speaks."""
    return "zh" if _WIDE.search(preference.chosen.text("speech")) else "en"


def split_conversations(
    preferences: Sequence[Preference], share: float, seed: int
) -> tuple[tuple[Preference, ...], tuple[Preference, ...]]:
    """Return preferences to train on and to hold out; a hash of seed and conversation decides, so the order does not matter."""
    held_out = {name for name in map(conversation_of, preferences) if _fraction(f"{seed}\n{name}") < share}
    if not held_out and preferences:
        # few conversations: the one with the smallest hash, so that there is something to evaluate on
        held_out = {min(set(map(conversation_of, preferences)), key=lambda name: _fraction(f"{seed}\n{name}"))}
    train = tuple(each for each in preferences if conversation_of(each) not in held_out)
    return train, tuple(each for each in preferences if conversation_of(each) in held_out)


def why_unfit(preference: Preference, length_gap: float) -> str:
    """Return why a pair says nothing about quality; an empty string when it can be used."""
    if preference.verdict.winner not in ("a", "b"):
        return "no winner"
    if not preference.weight:
        return "weight 0"
    chosen, rejected = (line(turn, VIEWER) for turn in (preference.chosen, preference.rejected))
    if not chosen or not rejected:
        return "empty"
    if chosen == rejected:
        return "identical"
    if any(defect.name in TRUNCATED for turn in (preference.chosen, preference.rejected) for defect in turn.defects):
        return "truncated"
    short, long = sorted((len(chosen), len(rejected)))
    return "length gap" if length_gap and long > length_gap * short else ""


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big") / 2**48
