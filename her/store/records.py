"""Define the values that the store takes and returns: frozen, one class for each kind of row. Times are UTC in ms.

A visitor is identified by `visitor_id`, the SHA-256 in hexadecimal of the secret token in their browser.
"""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from her.errors import Reason
from her.kinds import BY_KIND, Kind
from her.types import (
    CastMember,
    Language,
    Message,
    NonEmpty,
    Outcome,
    Sampling,
    Scenario,
    Thinking,
    Turn,
    Value,
    Winner,
    new_id,
)

Origin = Literal["greeting", "opening", "book", "visitor", "model", "edit", "continue", "planted", "steer"]
"""How a turn came about: a `planted` one was made bad on purpose, for a catch pair; of a `steer` a person rewrote a plan or a
thought, and the model went on from there."""
Finish = Literal["stop", "length", "stopped", "failed"]
"""Why a generation ended: the model did, its limit, the visitor, an error."""
Thumb = Literal[-1, 0, 1]
Star = Annotated[int, Field(ge=1, le=5)]
TombstoneKind = Literal["visitor", "conversation", "node", "rating", "vote"]
Layer = Literal["chat", "turn", Kind]
LONGEST_COMMENT = 4_000
LONGEST_SIGHT = 30 * 24 * 3_600_000
"""Milliseconds that something can have stood in view: a page is not open for longer than a month."""


class Ensemble(Value):
    """Rules of a scene of several characters: the model plays all but the visitor's character.

    Args:
        next_speaker: who chooses the next speaker, as `her.rollouts.scene.SceneSettings.next_speaker`.
        narrator: whether the environment takes turns.
        seed: of the draws.
    """

    next_speaker: Literal["manual", "round_robin", "mention", "model"] = "mention"
    narrator: bool = False
    seed: int = 0


class Draft(Value):
    """Fields of a new conversation; `speaker` is the cast member that the model plays.

    With an `ensemble` the model plays the whole cast but `visitor_name`, which is empty when the visitor only looks on, and
    `speaker` is the first of them.
    """

    title: str = ""
    persona_id: str = ""
    language: Language = "en"
    visitor_name: str = ""
    speaker: NonEmpty
    scenario: Scenario
    cast: tuple[CastMember, ...]
    ensemble: Ensemble | None = None

    def plays(self, name: str) -> bool:
        """Tell whether the model plays this speaker."""
        return name == self.speaker if self.ensemble is None else name != self.visitor_name


class Conversation(Draft):
    """A chat as stored. `head_id` is the node shown last, None if every turn was deleted."""

    id: str
    visitor_id: str
    head_id: str | None
    branch_of: str | None = None
    branch_node: str | None = None
    """Conversation and node this one was branched from."""
    created_at: int
    updated_at: int


class Summary(Value):
    """One line in the list of chats; `turns` counts all nodes that are not deleted, swipes included; `last` is shown last."""

    id: str
    title: str
    persona_id: str
    speaker: str
    language: Language
    turns: int
    last: Turn | None = None
    created_at: int
    updated_at: int


class Node(Value):
    """A turn at its place in the tree; `id` is the turn's id, `edit_of` the node that its text was made from."""

    id: str
    conversation_id: str
    parent_id: str | None
    turn: Turn
    origin: Origin
    generation_id: str | None = None
    edit_of: str | None = None
    created_at: int


class Rewritten(Value):
    """The one part of a turn that a person rewrote: number `place` (from 0) of its parts of this `kind`."""

    kind: Kind
    place: Annotated[int, Field(ge=0)]


class PathNode(Node):
    """A node on the shown path: number `swipe_index` (from 0) of `swipe_count` siblings; the rest is from its generation."""

    swipe_index: int
    swipe_count: int
    finish: Finish | None = None
    model: str = ""


class Generation(Value):
    """One call of a model, written once when it ended; a failed one has `error_reason` and `error`.

    `messages` are exactly what was sent. `parent_id` is the node above the reply, `node_id` the reply itself. Token counts
    are None if the server did not report them.
    """

    id: str = Field(default_factory=new_id)
    conversation_id: str
    parent_id: str | None
    node_id: str | None = None
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int | None = None
    spec: str
    model: str
    revision: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: Finish
    error_reason: Reason | None = None
    error: str = ""
    raw: str = ""
    reasoning: str = ""
    started_at: int
    first_token_at: int | None = None
    ended_at: int

    @property
    def prompt_sha256(self) -> str:
        """Return the SHA-256 of role and content of every message; equal for equal prompts."""
        digest = hashlib.sha256()
        for message in self.messages:
            digest.update(f"{message.role}\x00{len(message.content)}\x00{message.content}\x00".encode())
        return digest.hexdigest()

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Return the messages up to the reply, without its beginning, which the request for a continuation ends with."""
        continues = bool(self.messages) and self.messages[-1].role == "assistant"
        return self.messages[:-1] if continues else self.messages


class LayerSight(Value):
    """Sight of a layer of a turn that the rater had when they acted, measured in the page (her/ui/static/sight.js).

    Args:
        open: it was drawn on the page; a folded panel is not.
        in_view: half of it, or half of what the window can hold, stood within the window of a visible page.
        ms: how long it had stood in view since the page was loaded.
    """

    open: bool
    in_view: bool
    ms: Annotated[int, Field(ge=0, le=LONGEST_SIGHT)]


class Seen(Value):
    """View that the rater had when they acted: rated, kept a reply, or voted.

    Rows of version 1 know the switches and no more: a panel that the rater closed in one turn is not told from an open one, and
    `dwell_ms` is the time since the chat was opened. Version 2 says in `sights` what was measured.

    Args:
        system_thinking: the switch in the bar that opens the panels of this kind in all turns; `role_thinking` likewise.
        opened: kinds whose panels were opened in this turn only.
        shut: kinds whose panels were closed in this turn only; version 2.
        swipe_index: place of the turn among its swipes, from 0.
        swipe_count: number of swipes.
        layout: of the page.
        dwell_ms: version 1 only.
        sights: version 2: the turn, and by its kind each layer that it has; for a whole chat, `chat` alone.
        browser: random name of the browser, and `act` the number of the act there: of two ratings of one browser the one with
            the higher number is newer, whichever arrives first.
    """

    version: Literal[1, 2] = 1
    system_thinking: bool = False
    role_thinking: bool = False
    opened: tuple[Kind, ...] = ()
    shut: tuple[Kind, ...] = ()
    swipe_index: Annotated[int, Field(ge=0)] = 0
    swipe_count: Annotated[int, Field(ge=1)] = 1
    layout: Literal["wide", "narrow"] = "wide"
    dwell_ms: Annotated[int, Field(ge=0)] = 0
    sights: dict[Layer, LayerSight] = Field(default_factory=dict)
    browser: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]*$", max_length=16)] = ""
    act: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0

    def saw(self, layer: Layer) -> bool | None:
        """Tell whether this layer was open at the act; None where it is not known: version 1, or no such layer."""
        return self.sights[layer].open if layer in self.sights else None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.version == 1:
            if self.sights or self.shut or self.act:
                raise ValueError("sights, shut and act belong to version 2; send version 2, or leave them out")
            return self
        if self.dwell_ms or max(len(self.opened), len(self.shut)) > len(BY_KIND) or self.swipe_index >= self.swipe_count:
            raise ValueError("version 2 has no dwell_ms, each kind once in opened or shut, and swipe_index below swipe_count")
        if ("turn" in self.sights) == ("chat" in self.sights) or ("chat" in self.sights and len(self.sights) > 1):
            raise ValueError("sights need either the turn with its layers, or the chat alone")
        whole = self.sights.get("turn") or self.sights["chat"]
        for name, sight in self.sights.items():
            beyond = (sight.open and not whole.open) or (sight.in_view and not whole.in_view) or sight.ms > whole.ms
            if beyond or (sight.in_view and not sight.open):
                raise ValueError(f"sights.{name}: what is in view is open, and no layer is seen without its turn")
        return self


class Rating(Value):
    """Rating of a turn or of a chat by one version of the rubric (`her.feedback.rubric.RUBRIC`)."""

    rubric: NonEmpty
    thumb: Thumb | None = None
    stars: dict[str, Star] = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    comment: Annotated[str, Field(max_length=LONGEST_COMMENT)] = ""
    seen: Seen = Seen()

    @property
    def empty(self) -> bool:
        """Tell whether the rating says nothing; such a row withdraws the earlier one."""
        return self.thumb is None and not self.stars and not self.tags and not self.comment.strip()


class Rated(Value):
    """A rating as stored; `node_id` None means the whole chat, or the `character` in the whole chat."""

    id: str
    visitor_id: str
    conversation_id: str
    node_id: str | None
    character: str = ""
    rating: Rating
    created_at: int


class Choice(Value):
    """A visitor's choice: the node that was kept and the alternatives that were not."""

    id: str
    visitor_id: str
    conversation_id: str
    parent_id: str | None
    chosen_id: str
    alternatives: tuple[str, ...]
    seen: Seen
    created_at: int


Side = Literal["a", "b"]


class ShownArm(Value):
    """Arm of a comparison that wrote a candidate; the rest stands in its generation.

    Args:
        name: of the arm in the playtest; `planted:KIND` for a side that was planted to be bad.
        thinking: layers of thinking that it was asked for.
    """

    name: NonEmpty
    thinking: Thinking = "full"


class Ballot(Value):
    """Two replies at one place of a chat, as they are shown to one visitor for a blind vote; it holds no name of a model.

    The store gives the names a and b by the nodes' random ids, so they tell nothing about who wrote what, and the pair has one
    name for every voter. `worse` and `arms` never leave the server before the vote.

    Args:
        visitor_id: who is asked; the chat may be another visitor's.
        first: candidate that is shown first, or on the left.
        worse: candidate that was planted to be bad, in a catch pair.
        repeat_of: earlier ballot of the same visitor that this one repeats with sides swapped.
        arms: arms that wrote a and b; None where the two were no comparison of arms.
        skipped_at: when the visitor said that they would not vote on it.
    """

    id: str = Field(default_factory=new_id)
    visitor_id: str
    conversation_id: str
    a_id: str
    b_id: str
    first: Side
    worse: Side | None = None
    repeat_of: str | None = None
    arms: tuple[ShownArm, ShownArm] | None = None
    skipped_at: int | None = None
    created_at: int

    @property
    def shown_ids(self) -> tuple[str, str]:
        """Return the nodes in the order in which they are shown."""
        return (self.a_id, self.b_id) if self.first == "a" else (self.b_id, self.a_id)

    @property
    def shown_arms(self) -> tuple[ShownArm, ShownArm] | None:
        """Return the arms in the order in which their replies are shown."""
        return self.arms if self.arms is None or self.first == "a" else (self.arms[1], self.arms[0])

    def node(self, side: Side) -> str:
        """Return the node of a candidate."""
        return self.a_id if side == "a" else self.b_id

    @property
    def pair(self) -> str:
        """Return the name of the pair: the same for every voter and both orders."""
        return f"{self.a_id}-{self.b_id}"


VoteId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{8,64}$")]
Remark = Annotated[str, StringConstraints(max_length=LONGEST_COMMENT)]


class Vote(Value):
    """A visitor's answer to a ballot.

    Args:
        id: made by the client, so that a request sent again after a lost answer is the same vote.
        winner: a skipped ballot has no vote.
        dimensions: winner by dimension of the rubric, where the visitor gave one.
        why: ids of principles that decided it, from the library whose sha256 is `principles`.
        seen: what the visitor saw of a and of b.
    """

    id: VoteId = Field(default_factory=new_id)
    winner: Outcome
    dimensions: dict[str, Winner] = Field(default_factory=dict)
    why: tuple[str, ...] = ()
    principles: str = ""
    comment: Remark = ""
    seen: tuple[Seen, Seen] = (Seen(), Seen())


class Voted(Value):
    """A ballot with its vote; None while it is open, and when it was skipped."""

    ballot: Ballot
    vote: Vote | None


class Safety(Value):
    """State of the copy outside this machine of what people wrote.

    Args:
        waiting: changes that are not kept yet.
        age: seconds since the newest moment of which everything is kept, by a clock that nobody sets.
        alarm: `failing` when the last copy failed, `taken_over` when another playground writes to the same place.
    """

    waiting: int
    age: float
    alarm: Literal["", "failing", "taken_over"] = ""
