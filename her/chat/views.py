"""What the chat service shows: frozen values for one visitor, without Gradio and without SQL."""

from typing import Literal

from her.errors import Reason
from her.store.records import Origin, Rated
from her.types import CastMember, Language, Part, Scenario, Turn, Value

LiveState = Literal["running", "done", "failed", "stopped"]


class Meter(Value):
    """How full the context is. `tokens` of the next prompt, of at most `budget` (context minus the reply's share).

    Args:
        exact: counted with the model's own tokenizer, else an estimate.
        dropped: how many of the oldest turns no longer fit and are not sent.
    """

    tokens: int
    budget: int
    context: int
    exact: bool
    dropped: int = 0


class TurnView(Value):
    """A turn on the shown path. `swipe_index` counts from 0; `mine` when the visitor said it."""

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
        """Whether it may be regenerated and rated: the model's or a written greeting, not a book's or the visitor's."""
        return not self.mine and self.origin not in ("book", "opening")


class Replay(Value):
    """Where the replay of a book's scene stands: `shown` of its `total` turns."""

    shown: int
    total: int


class ChatView(Value):
    """One chat as its visitor sees it."""

    id: str
    title: str
    language: Language
    speaker: str
    visitor_name: str
    persona_id: str = ""
    colour: str = "#5b4a6b"
    scenario: Scenario
    cast: tuple[CastMember, ...]
    turns: tuple[TurnView, ...] = ()
    live: bool = False
    meter: Meter
    replay: Replay | None = None
    rating: Rated | None = None


class ChatSummary(Value):
    """A line in the list of chats; times in UTC milliseconds."""

    id: str
    title: str
    speaker: str
    language: Language
    colour: str
    turns: int
    updated_at: int


class GenerationSnapshot(Value):
    """A running generation at one moment. `parts` are safe to show: nothing of an open plan is speech.

    Args:
        pending: id under which it is shown until it is stored; becomes the node's id.
        question: the visitor's turn this answers, when it is not yet on the path.
        replaces: the node it will stand beside as a swipe, when it is another reply or a continuation.
        node: id of the stored turn once `state` is done (or stopped with something to show).
        error: one sentence when `state` is failed, or stopped before anything was said.
        give_back: the visitor's text, when it was not kept.
    """

    chat: str
    state: LiveState = "running"
    language: Language = "en"
    speaker: str
    parts: tuple[Part, ...] = ()
    pending: str
    question: Turn | None = None
    replaces: str | None = None
    node: str | None = None
    error: str = ""
    reason: Reason | None = None
    give_back: str = ""
    seconds: float = 0.0
    tokens: int = 0
