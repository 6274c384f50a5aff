"""Fields that requests of the page share: ids, texts, the visitor's secret; and the base classes of requests."""

import hashlib
from typing import Annotated

from pydantic import Field, StringConstraints

from her.types import Language, Value

Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# The length stands beside the pattern: compiled as `{1,200}` in every field it cost 0.3 s at import.
Id = Annotated[str, StringConstraints(pattern=r"^[\w.\-]+$", max_length=200)]
OptionalId = Annotated[str, StringConstraints(pattern=r"^[\w.\-]*$", max_length=200)]
Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Name = Annotated[str, StringConstraints(max_length=400)]
Count = Annotated[int, Field(ge=0, le=100_000)]


class Request(Value):
    """Fields of every request: `token` the visitor's secret, `director` the switch in a scene (her/view.py, `reader`)."""

    token: Token
    language: Language = "en"
    director: bool | None = None

    @property
    def visitor(self) -> str:
        """Return the visitor's id: the SHA-256 of the token."""
        return visitor_id(self.token)


class ChatRequest(Request):
    """A request about one chat of the visitor."""

    chat: Id


class TurnRequest(ChatRequest):
    """A request about one turn of a chat; `node` is the turn's id."""

    node: Id


def visitor_id(token: str) -> str:
    """Return the id under which the holder of this token is stored; the token itself is never stored."""
    return hashlib.sha256(token.encode()).hexdigest()
