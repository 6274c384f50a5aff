"""Define the values of missions that the store takes and returns. Times are UTC in ms."""

from her.types import Value


class Assignment(Value):
    """A mission of a playtest that a visitor was given.

    Args:
        conversation_id: the chat in which it is played; None before it began, and when that chat was deleted.
        used_at: when it was given, or taken up again.
        done_at: when it was found done.
    """

    id: str
    visitor_id: str
    playtest: str
    mission: str
    conversation_id: str | None = None
    created_at: int
    used_at: int
    done_at: int | None = None


class MissionProgress(Value):
    """Progress of a chat with its mission: turns of the visitor, and the dimensions in which anything in it was rated."""

    turns: int = 0
    rated: frozenset[str] = frozenset()
