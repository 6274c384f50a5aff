"""What comes in from a browser, checked before anything is done with it.

A visitor is a secret of 32 random bytes that the browser made and keeps; the server knows only its hash. Whoever does
not hold the secret can neither read nor change a chat, through whatever endpoint.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from her.errors import Forbidden, InputError
from her.store.records import Seen
from her.types import Language, Value

Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[\w.\-]{0,200}$")]
Text = Annotated[str, StringConstraints(max_length=1_000_000)]


class Payload(Value):
    """One wish of a browser; which fields matter depends on `act` (her/ui/play_tab.py)."""

    act: Annotated[str, StringConstraints(max_length=40)]
    token: Token
    language: Language = "en"
    chat: Id = ""
    node: Id | None = None
    step: Literal[-1, 1] = 1
    count: Annotated[int, Field(ge=0, le=100_000)] = 1
    text: Text = ""
    persona: Id = ""
    scene: Id = ""
    scenario: Id = ""
    name: Annotated[str, StringConstraints(max_length=400)] = ""
    about: Annotated[str, StringConstraints(max_length=4_000)] = ""
    me: Annotated[str, StringConstraints(max_length=400)] = ""
    model: Annotated[str, StringConstraints(max_length=400)] = ""
    greeting: Annotated[int, Field(ge=0, le=1_000)] = 0
    replay: Annotated[int, Field(ge=0, le=100_000)] = 0
    format: Literal["jsonl", "markdown", "sharegpt"] = "jsonl"
    rating: dict[str, Any] | None = None
    seen: Seen = Seen()

    @property
    def visitor(self) -> str:
        """The visitor's id: SHA-256 of the token."""
        return visitor_id(self.token)


def visitor_id(token: str) -> str:
    """The id under which a browser's secret is stored; the secret itself never is."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_request(payload: Any) -> Payload:
    """The payload, or one sentence that says what is wrong with it.

    Raises:
        Forbidden: no token, or none a browser of ours would make.
        InputError: any other field.
    """
    try:
        # validated as JSON is: lists become tuples, nothing else is coerced
        return Payload.model_validate(_tuples(payload))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "request"
        if place == "token":
            raise Forbidden("this request carries no visitor token; open the page in a browser and try again") from error
        raise InputError(f"request: field '{place}' is not accepted: {first['msg']}") from error


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(one) for one in value)
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return value
