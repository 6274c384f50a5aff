"""Follow who is there in a scene, turn by turn."""

from collections.abc import Sequence

from her.errors import InputError
from her.types import CastMember, Turn


class Presence:
    """Presence of the characters, turn by turn.

    Attributes:
        away: characters who are not there now.
        waits: whether somebody waits to come in; only then is it followed who has met whom.
    """

    def __init__(self, cast: Sequence[CastMember]) -> None:
        self._names = {member.name for member in cast}
        self.away = {member.name for member in cast if member.waits}
        self.waits = bool(self.away)
        self._unmet = {name: self.away - {name} for name in self._names} if self.waits else {}

    def follow(self, turn: Turn) -> frozenset[str]:
        """Take the next turn and return who is not there during it."""
        for name in (*turn.enters, *turn.leaves):
            if name not in self._names:
                known = ", ".join(sorted(self._names))
                raise InputError(f"turn {turn.id!r} moves {name!r}, who is not in the cast; the cast is {known}")
        self.away.difference_update(turn.enters, (turn.speaker,))
        during = frozenset(self.away)
        if self.waits:
            there = self._names - during
            for name in there:
                self._unmet[name] -= there
        self.away.update(turn.leaves)
        return during

    def unmet(self, name: str) -> frozenset[str]:
        """Return who waits, or waited, and was never there together with `name`."""
        return frozenset(self._unmet.get(name, ()))
