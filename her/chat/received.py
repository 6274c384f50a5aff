"""Hold what a model has sent so far of one answer."""

import time
from dataclasses import dataclass, field

from her.backends.base import FinishReason, Usage


@dataclass
class Received:
    """Everything the model has sent so far; times in UTC milliseconds."""

    started_at: int
    first_token_at: int | None = None
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""


def without_last(text: str, count: int) -> str:
    """Return a text without so many characters at its end."""
    return text[:-count] if count else text


def now() -> int:
    """Return the time in UTC milliseconds."""
    return time.time_ns() // 1_000_000
