"""Continue a turn at a server that may begin it anew: what it repeats is said once.

Servers that ignore an unfinished assistant message answer with a whole turn: the same words from the beginning, often behind a
new plan or the character's name. Such an answer replaces the turn; anything else is added to it. The first words are held back
until it is known which of the two has come.
"""

from typing import Literal

from her.format import Parser
from her.kinds import PLAN
from her.types import Part, Turn

Way = Literal["open", "adds", "anew"]
_LEAST = 8
"""Letters of a turn below which the same letters again may be chance."""


class Continuation:
    """The first words of an answer that is to continue `base`.

    Args:
        base: the turn that was sent as the last assistant message.
        trial: a parser that knows nothing of `base`.

    Attributes:
        way: `open` until it is known, then `adds` or `anew`.
    """

    def __init__(self, base: Turn, trial: Parser) -> None:
        self.way: Way = "open"
        # A turn of which only the plan stands has no name yet: the model goes on with it.
        self._plan_only = bool(base.parts) and all(part.kind == PLAN for part in base.parts)
        self._before = _letters(base.parts)
        self._trial = trial
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """Take more text; return what can be read now, which is empty while it is open."""
        self._held.append(text)
        if self.way == "open":
            self._trial.feed(text)
            self.way = self._judge()
        return self._released()

    def close(self) -> str:
        """Return what is still held at the end of the answer."""
        if self.way == "open":
            same = len(_letters(self._trial.parts)) >= _LEAST
            self.way = "anew" if self._begun_anew or same else "adds"
        return self._released()

    def _released(self) -> str:
        if self.way == "open":
            return ""
        text, self._held = "".join(self._held), []
        return text

    @property
    def _begun_anew(self) -> bool:
        return self._trial.planned if self._plan_only else self._trial.begun_anew

    def _judge(self) -> Way:
        if self._begun_anew:
            return "anew"
        said = _letters(self._trial.parts)
        if len(self._before) < _LEAST or not self._before.startswith(said[: len(self._before)]):
            # Letters that may still be a name, or a plan without an opening mark, are held by the parser itself.
            return "adds" if said else "open"
        return "anew" if len(said) >= len(self._before) else "open"


def without_plan(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return what a character thinks, does and says."""
    return tuple(part for part in parts if part.kind != PLAN)


def _letters(parts: tuple[Part, ...]) -> str:
    """Return the letters of all parts but the plan: marks and blanks may differ the second time."""
    return "".join(char for part in parts if part.kind != PLAN for char in part.text if char.isalnum()).lower()
