"""Replace the name that a visitor gave themselves, in everything that leaves the store for training.

A visitor's name stands in the system prompt, before their lines and in what the persona says. In an export a word for a visitor
stands there instead: the prompt is then the one that is sent for a visitor who gave no name. A character of a book or a persona
whom the visitor plays keeps the name, which says nothing about them.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from her.store.records import Generation
from her.types import CastMember, Language, Message, Scenario, Transcript, Turn

STAND_IN = {"en": "Visitor", "zh": "来客"}
"""What stands for a visitor; also the name of one who gives none (her/chat/openings.py)."""
LEAST_LETTERS = 3
"""Letters of a word of a longer name that is replaced where it stands alone: `Anna` of `Anna Schmidt`, but not `de`."""


class StandIn:
    """The replacement of one visitor's name.

    Args:
        names: what is replaced, the longest first.
        word: what stands there instead.
    """

    def __init__(self, names: Sequence[str], word: str) -> None:
        self.word = word
        self._pattern = re.compile("|".join(_alternative(name) for name in sorted(names, key=len, reverse=True)))

    def text(self, text: str) -> str:
        """Return a text with the name replaced."""
        return self._pattern.sub(self.word, text)

    def turn(self, turn: Turn) -> Turn:
        """Return a turn with the name replaced in all that it says, and as its speaker."""
        parts = tuple(part.model_copy(update={"text": self.text(part.text)}) for part in turn.parts)
        moves = {name: tuple(map(self.text, getattr(turn, name))) for name in ("enters", "leaves") if getattr(turn, name)}
        change = {"speaker": self.text(turn.speaker), "raw": self.text(turn.raw), "parts": parts}
        return turn.model_copy(update=change | moves)

    def transcript(self, transcript: Transcript) -> Transcript:
        """Return a chat with the name replaced in its turns and in the cast."""
        cast = tuple(member.model_copy(update={"name": self.text(member.name)}) for member in transcript.cast)
        return transcript.model_copy(update={"cast": cast, "turns": tuple(map(self.turn, transcript.turns))})

    def messages(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Return messages with the name replaced."""
        return tuple(message.model_copy(update={"content": self.text(message.content)}) for message in messages)

    def generation(self, generation: Generation) -> Generation:
        """Return the record of a call with the name replaced in all texts."""
        change = {name: self.text(getattr(generation, name)) for name in ("raw", "reasoning", "error")}
        return generation.model_copy(update={"messages": self.messages(generation.messages), **change})


def stand_in(visitor_name: str, cast: Sequence[CastMember], scenario: Scenario, language: Language) -> StandIn | None:
    """Return the replacement for the visitor of a chat; None where their name is not their own, or the word already."""
    personal = is_personal(visitor_name, cast)
    if not personal or visitor_name in STAND_IN.values():
        return None
    others = [member for member in cast if member.name != visitor_name]
    written = " ".join(
        (*(f"{each.name} {each.profile} {each.background}" for each in others), scenario.setting, scenario.opening)
    )
    return _compiled(visitor_name, frozenset(_words_alone(visitor_name, written)), STAND_IN[language])


def is_personal(visitor_name: str, cast: Sequence[CastMember]) -> bool:
    """Tell whether the visitor gave this name themselves: they play no persona, and the cast is not that of a book."""
    if not visitor_name or not any(member.persona for member in cast):
        return False
    return not any(member.name == visitor_name and member.persona for member in cast)


@lru_cache(maxsize=256)
def _compiled(name: str, words: frozenset[str], word: str) -> StandIn:
    return StandIn((name, *words), word)


def _words_alone(name: str, written: str) -> Iterable[str]:
    """Yield the words of a name that may stand for it alone, without those that the scene uses of itself."""
    words = name.split()
    for word in words if len(words) > 1 else ():
        if len(word) >= LEAST_LETTERS and word[0].isupper() and not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", written):
            yield word


def _alternative(name: str) -> str:
    """Return the pattern of a name as written, capitalised and in capitals; `will` in lower case is no `Will`.

    Chinese writes no spaces, so a name of two signs and more is found anywhere; a single sign only where it stands alone.
    """
    spellings = {name, name.title(), name.upper()} if name.isascii() else {name}
    either = "|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True))
    return f"(?:{either})" if len(name) > 1 and not name.isascii() and _is_han(name) else rf"(?<!\w)(?:{either})(?!\w)"


def _is_han(name: str) -> bool:
    return any("\u3400" <= letter <= "\u9fff" for letter in name)
