"""Requests of the page: one frozen type for each act, checked before anything is done with it.

A visitor is a secret of 32 random bytes that the browser drew and keeps; the server stores only its SHA-256. Without that
secret nobody can read or change a chat, through either endpoint. A request carries ids only: history, positions and roles are
read from the store.
"""

import logging
import reprlib
import textwrap
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from her.chat.export import ChatFormat
from her.chat.openings import whole_characters
from her.errors import Forbidden, InputError
from her.store.records import Seen
from her.ui.author_requests import WritingRequest
from her.ui.ballot_requests import GoOnRequest, ReasonsRequest, VoteRequest
from her.ui.playtest_requests import PlaytestRequest
from her.ui.request_fields import ChatRequest, Count, Id, Name, OptionalId, Request, Text, Token, TurnRequest, visitor_id
from her.ui.tree_requests import RestoreChatRequest, RestoreRequest, SelectRequest, SteerRequest

__all__ = [
    "GoOnRequest",
    "ReasonsRequest",
    "Request",
    "RestoreChatRequest",
    "RestoreRequest",
    "SelectRequest",
    "SteerRequest",
    "VoteRequest",
    "visitor_id",
]
DEEPEST = 8
"""Levels of nesting in a request; the page sends 4 at most. Recursive code would fail at about 900."""
R = TypeVar("R")
log = logging.getLogger(__name__)


# The endpoint `act`: one answer for each request


class BootRequest(Request):
    """Load the first page."""

    act: Literal["boot"]


class SafetyRequest(Request):
    """Ask how far everything is kept outside this machine."""

    act: Literal["safety"]


class PersonaRequest(Request):
    """Show one persona before a chat is started."""

    act: Literal["persona"]
    persona: Id


class ListChatsRequest(Request):
    """List the visitor's chats."""

    act: Literal["chats"]


class StartRequest(Request):
    """Start a chat with a persona; an empty `scene` is no scene, `greeting` counts from 0."""

    act: Literal["start"]
    persona: Id
    scene: OptionalId = ""
    name: Name = ""
    about: Annotated[str, StringConstraints(max_length=4_000)] = ""
    greeting: Annotated[int, Field(ge=0, le=1_000)] = 0


class StartBookRequest(Request):
    """Start a chat in a scene of a book; `me` and `model` are names in its cast, `replay` a number of turns."""

    act: Literal["start_book"]
    scenario: Id
    me: Name
    model: Name
    replay: Count = 0


NextSpeaker = Literal["manual", "round_robin", "mention", "model"]


class StartSceneRequest(Request):
    """Start a scene with several personas; `me` is the name of one, `name` one of the visitor's own, both may be empty."""

    act: Literal["start_scene"]
    personas: Annotated[tuple[Id, ...], Field(max_length=20)]
    scene: OptionalId = ""
    me: Name = ""
    name: Name = ""
    next_speaker: NextSpeaker
    narrator: bool = False


class StartBookSceneRequest(Request):
    """Start a scene of a book with several of its cast; `me` is one of `names`, or empty for nobody."""

    act: Literal["start_book_scene"]
    scenario: Id
    names: Annotated[tuple[Name, ...], Field(max_length=20)]
    me: Name = ""
    replay: Count = 0
    next_speaker: NextSpeaker
    narrator: bool = False


class SayRequest(ChatRequest):
    """Add a turn of the visitor's character to a scene."""

    act: Literal["say"]
    text: Text


class MoveRequest(ChatRequest):
    """Let a character of a scene leave, or come in."""

    act: Literal["move"]
    character: Name


class RateCharacterRequest(ChatRequest):
    """Rate how a character of a scene is played; `her.feedback.rubric.read_rating` checks `rating`."""

    act: Literal["rate_character"]
    character: Name
    rating: dict[str, Any]


class OpenRequest(ChatRequest):
    """Show a chat."""

    act: Literal["open"]


class OlderRequest(TurnRequest):
    """Show the turns above the turn `node`."""

    act: Literal["older"]


class ReplayRequest(ChatRequest):
    """Show the next `count` turns of the book."""

    act: Literal["replay"]
    count: Count


class SwipeRequest(TurnRequest):
    """Show the sibling before (-1) or after (1) a turn."""

    act: Literal["swipe"]
    step: Literal[-1, 1]


class KeepRequest(TurnRequest):
    """Prefer this reply to its swipes; `seen` records what the rater saw."""

    act: Literal["keep"]
    seen: Seen = Seen()


class RateRequest(ChatRequest):
    """Rate a turn, or the whole chat when `node` is null; `her.feedback.rubric.read_rating` checks `rating`."""

    act: Literal["rate"]
    node: Id | None
    rating: dict[str, Any]


class SourceRequest(TurnRequest):
    """Fetch the text of a turn for the editor."""

    act: Literal["source"]


class EditPlayedRequest(TurnRequest):
    """Rewrite a turn of the model."""

    act: Literal["edit"]
    text: Text


class BranchRequest(TurnRequest):
    """Copy the chat up to this turn into a new chat."""

    act: Literal["branch"]


class DeleteRequest(TurnRequest):
    """Delete a turn and everything below it."""

    act: Literal["delete"]


class DeleteChatRequest(ChatRequest):
    """Delete a chat."""

    act: Literal["delete_chat"]


class RenameRequest(ChatRequest):
    """Change the title of a chat."""

    act: Literal["rename"]
    text: Text


class ExportRequest(ChatRequest):
    """Export the shown path of a chat."""

    act: Literal["export"]
    format: ChatFormat


class StopRequest(ChatRequest):
    """Stop the running generation and keep its text."""

    act: Literal["stop"]


# The endpoint `run`: each request starts or follows a generation


class SendRequest(ChatRequest):
    """Send a message and stream the reply."""

    act: Literal["send"]
    text: Text


class ReplyRequest(ChatRequest):
    """Let the model play the next turn without a message."""

    act: Literal["answer"]


class RegenerateRequest(TurnRequest):
    """Generate another reply beside a turn of the model."""

    act: Literal["regenerate"]


class ContinueRequest(ChatRequest):
    """Let the model continue its last turn."""

    act: Literal["continue"]


class EditOwnRequest(TurnRequest):
    """Rewrite a turn of the visitor and stream the reply to it."""

    act: Literal["edit"]
    text: Text


class PlayRequest(ChatRequest):
    """Play the next turn of a scene; an empty `character` lets `next_speaker` choose."""

    act: Literal["play"]
    character: Name = ""
    next_speaker: NextSpeaker
    narrator: bool = False


class FollowRequest(ChatRequest):
    """Join the running generation."""

    act: Literal["follow"]


_FirstPageRequest = BootRequest | SafetyRequest | PersonaRequest | ListChatsRequest
_OpeningRequest = StartRequest | StartBookRequest | StartSceneRequest | StartBookSceneRequest
ActRequest = (
    _FirstPageRequest
    | PlaytestRequest
    | WritingRequest
    | _OpeningRequest
    | SayRequest
    | MoveRequest
    | RateCharacterRequest
    | OpenRequest
    | OlderRequest
    | ReplayRequest
    | SwipeRequest
    | KeepRequest
    | RateRequest
    | SourceRequest
    | EditPlayedRequest
    | BranchRequest
    | DeleteRequest
    | DeleteChatRequest
    | SelectRequest
    | RestoreRequest
    | RestoreChatRequest
    | RenameRequest
    | ExportRequest
    | StopRequest
    | VoteRequest
    | GoOnRequest
    | ReasonsRequest
)
RunRequest = (
    SendRequest | ReplyRequest | RegenerateRequest | ContinueRequest | EditOwnRequest | SteerRequest | PlayRequest | FollowRequest
)
_ACT: TypeAdapter[ActRequest] = TypeAdapter(Annotated[ActRequest, Field(discriminator="act")])
_RUN: TypeAdapter[RunRequest] = TypeAdapter(Annotated[RunRequest, Field(discriminator="act")])
_TOKEN: TypeAdapter[str] = TypeAdapter(Token)


def read_act(payload: object) -> ActRequest:
    """Return the checked request of the endpoint `act`.

    Raises:
        Forbidden: the token is missing or has another form than the page's.
        InputError: anything else is wrong; one sentence with the field, its value and what would be right.
    """
    return _read(_ACT, payload)


def read_run(payload: object) -> RunRequest:
    """Return the checked request of the endpoint `run`; raises as `read_act` does."""
    return _read(_RUN, payload)


def token_owner(token: object) -> str:
    """Return the id of the visitor who holds this token; raise Forbidden when it has another form than the page's tokens."""
    try:
        return visitor_id(_TOKEN.validate_python(token, strict=True))
    except ValidationError as error:
        raise Forbidden("this request carries no visitor token; open the page in a browser and try again") from error


def _read(adapter: TypeAdapter[R], payload: object) -> R:
    if not isinstance(payload, dict):
        raise InputError(f"request: {reprlib.repr(payload)} is not an object; send an object with the fields of one act")
    token_owner(payload.get("token"))
    try:
        return adapter.validate_python(_readable(payload))
    except ValidationError as error:
        raise InputError(_sentence(error)) from None  # the chain would print the whole request into a log


def _readable(value: Any, level: int = 0) -> Any:
    """Return the value as strict models expect it: lists as tuples, no half characters (they cannot be sent back).

    Raises:
        InputError: it is nested deeper than DEEPEST levels.
    """
    if level > DEEPEST:
        log.warning("a request nested deeper than %d levels was refused", DEEPEST)
        raise InputError(f"request: it is nested deeper than {DEEPEST} levels; send the fields of one act")
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return tuple(_readable(item, level + 1) for item in value)
    if isinstance(value, dict):
        return {whole_characters(str(key)): _readable(item, level + 1) for key, item in value.items()}
    return value


def _sentence(error: ValidationError) -> str:
    """Say what is wrong with the first bad field, its value and what would be right; at most about 300 characters."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "union_tag_not_found":
        return "request: field 'act' is missing; name the act"
    if first["type"] == "union_tag_invalid":
        expected = textwrap.shorten(first["ctx"]["expected_tags"].replace("'", ""), 250, placeholder=" and others")
        return f"request: act {reprlib.repr(first['ctx']['tag'])} does not exist; there are {expected}"
    field = ".".join(str(step) for step in first["loc"][1:])[:60]  # the first step is the act
    if first["type"] == "missing":
        return f"request: field '{field}' is missing; act '{first['loc'][0]}' needs it"
    if first["type"] == "extra_forbidden":
        return f"request: field '{field}' does not belong to act '{first['loc'][0]}'; leave it out"
    return f"request: field '{field}' is {reprlib.repr(first['input'])}; {first['msg'][:120]}"
