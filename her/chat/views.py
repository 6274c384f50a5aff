"""Values that the chat service shows to one visitor: frozen, without Gradio and without SQL."""

from typing import Literal

from her.errors import Reason
from her.store.records import Ensemble, Origin, Rated
from her.types import CastMember, Language, Part, Scenario, Turn, Value

LiveState = Literal["running", "done", "failed", "stopped"]


class Meter(Value):
    """Fill level of the context: `tokens` of the next prompt, out of `budget` (context minus the reply's share).

    Args:
        tokens: tokens of the next prompt.
        budget: largest prompt, in tokens.
        context: tokens of the model's context.
        exact: counted with the model's own tokenizer; False for an estimate.
        dropped: number of the oldest turns that no longer fit and are not sent.
    """

    tokens: int
    budget: int
    context: int
    exact: bool
    dropped: int = 0


class TurnView(Value):
    """A turn on the shown path.

    Args:
        turn: the turn.
        origin: where it comes from.
        mine: the visitor wrote it.
        swipe_index: its place among its siblings, from 0.
        swipe_count: number of siblings, itself included.
        kept: the visitor prefers it to its siblings.
        edited: it was made from another turn by hand.
        stopped: the visitor stopped its generation.
        truncated: its generation reached the token limit.
        model: name of the model that generated it.
        rating: the visitor's rating.
    """

    turn: Turn
    origin: Origin
    mine: bool
    swipe_index: int = 0
    swipe_count: int = 1
    kept: bool = False
    edited: bool = False
    stopped: bool = False
    truncated: bool = False
    model: str = ""
    rating: Rated | None = None

    @property
    def played(self) -> bool:
        """True when it may be regenerated and rated: a reply of the model or a written greeting."""
        return not self.mine and self.origin not in ("book", "opening")


class Replay(Value):
    """Progress of the replay of a book's scene: `shown` of `total` turns."""

    shown: int
    total: int


Sides = tuple[tuple[Part, ...], tuple[Part, ...]]
"""Parts of two replies, in the order in which they are shown."""


class BallotView(Value):
    """Two replies that wait for a vote; nothing in it tells who wrote what.

    Args:
        id: of the ballot.
        state: `vote` while it is asked for; `choice` when both were found bad, and the chat waits for the one to go on with.
        repeat: shown once more; the chat does not depend on it.
        language: of the replies.
        speaker: the character who says either.
        sides: what may be seen of the replies, in the order in which they are shown.
        question: turn that they answer, for a repeat, whose chat may be another one.
    """

    id: str
    state: Literal["vote", "choice"]
    repeat: bool = False
    language: Language
    speaker: str
    sides: Sides
    question: Turn | None = None


class ChatView(Value):
    """One chat as its visitor sees it; `live` while a reply is being written.

    In a scene (`ensemble`) `absent` are the characters who are not there now, `colours` those of the cast in its order,
    `characters` the ratings by character.
    """

    id: str
    title: str
    language: Language
    speaker: str
    visitor_name: str
    persona_id: str = ""
    colour: str = "#5b4a6b"
    scenario: Scenario
    cast: tuple[CastMember, ...]
    ensemble: Ensemble | None = None
    absent: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    characters: dict[str, Rated] = {}
    turns: tuple[TurnView, ...] = ()
    live: bool = False
    meter: Meter
    replay: Replay | None = None
    rating: Rated | None = None
    ballot: BallotView | None = None


class ChatSummary(Value):
    """A line in the list of chats; `updated_at` in UTC milliseconds, `last` how the turn begins that is shown last."""

    id: str
    title: str
    speaker: str
    language: Language
    colour: str
    turns: int
    updated_at: int
    last: str = ""


class GenerationSnapshot(Value):
    """A running generation at one moment. `parts` are safe to show: text of an open plan is never speech.

    Args:
        chat: id of the chat.
        state: `running` until the last snapshot.
        language: of the chat.
        speaker: name of the character that the model plays.
        parts: what may be shown of the reply.
        pending: id under which the reply is shown until it is stored; it becomes the node's id.
        question: the visitor's turn that is answered, while it is not on the shown path yet.
        replaces: the node it will stand beside as a swipe, for another reply or a continuation.
        node: id of the stored turn once `state` is `done`, or `stopped` with something to show.
        error: one sentence when `state` is `failed`, or `stopped` before anything was said.
        reason: reason of a failed call of the model.
        pair: of a comparison, what may be shown of its two replies; `parts` is empty then.
        fallen: it was a comparison, and only one of its replies became whole; that one is the turn.
        notice: one sentence about the prompt when turns were left out because the server refused it; else empty.
        give_back: the visitor's text, when it was not stored.
        seconds: time since the call began.
        tokens: tokens received, or deltas where the server does not count.
    """

    chat: str
    state: LiveState = "running"
    language: Language = "en"
    speaker: str
    parts: tuple[Part, ...] = ()
    pair: Sides | None = None
    fallen: bool = False
    pending: str
    question: Turn | None = None
    replaces: str | None = None
    node: str | None = None
    error: str = ""
    reason: Reason | None = None
    notice: str = ""
    give_back: str = ""
    seconds: float = 0.0
    tokens: int = 0
