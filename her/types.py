"""Values that every stage reads and writes: frozen, equal by content, unknown keys refused.

Persona + Scenario -> Transcript[Turn[Part]] -> Rollout -> Verdict -> Preference -> Sample.
Stages pass them on as JSONL, one value a line (her/files/jsonl.py).
"""

from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from her.kinds import VISIBLE_KINDS, Kind

ENVIRONMENT = "Environment"
"""Name of the narrator as a speaker, as in CoSER (arXiv:2502.09082)."""

Language = Literal["en", "zh"]
Winner = Literal["a", "b", "tie"]
Outcome = Literal["a", "b", "tie", "both_bad"]
Thinking = Literal["full", "no_plan", "no_thoughts"]
"""Layers of thinking that a turn is asked for: all, all but the plan, neither plan nor thoughts."""
Degree = Literal["slight", "clear", "significant"]
Role = Literal["system", "user", "assistant"]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def _is_empty(value: object) -> bool:
    return not value


def new_id() -> str:
    """Return a random id of 32 hexadecimal digits; ids never depend on a position."""
    return uuid4().hex


class Value(BaseModel):
    """Base class of the values in this module."""

    # strict: a file with "3" for a number is refused, not repaired. JSON has no NaN, so NaN is written as null and refused when
    # it is read: a NaN reward never travels on as a number.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="null")


class Part(Value):
    """One part of a turn. In the canonical form `text` is stripped and not empty; it never holds the part's own tags."""

    kind: Kind
    text: str


class Defect(Value):
    """Named departure from the format (names: `her.format.DEFECTS`); `detail` is the place, at most 80 characters."""

    name: str
    detail: str = ""


class Turn(Value):
    """One utterance. `raw` is the text of the model or person, byte for byte; `parts` is what the parser read in it.

    `enters` and `leaves` name members of the cast who come in before this turn, so that they witness it, and who go after it.
    `merged` has the ids of the turns of the same speaker that were merged into this one, in order (her/format/neighbours.py).
    """

    id: str = Field(default_factory=new_id)
    speaker: NonEmpty
    parts: tuple[Part, ...] = ()
    raw: str = ""
    defects: tuple[Defect, ...] = ()
    # Written only where somebody moves: files and database rows of other turns stay as they were.
    enters: tuple[NonEmpty, ...] = Field(default=(), exclude_if=_is_empty)
    leaves: tuple[NonEmpty, ...] = Field(default=(), exclude_if=_is_empty)
    merged: tuple[NonEmpty, ...] = Field(default=(), exclude_if=_is_empty)

    def text(self, *kinds: Kind) -> str:
        """Return the texts of these kinds (default: all kinds), in order, joined by a space."""
        return " ".join(part.text for part in self.parts if not kinds or part.kind in kinds)

    @property
    def spoken(self) -> bool:
        """True when other characters see something of this turn: an action or speech."""
        return any(part.kind in VISIBLE_KINDS for part in self.parts)


class Example(Value):
    """Example of a visitor's line and the persona's answer; `reply` is in CoSER notation, `plan` its system_thinking."""

    visitor: NonEmpty
    reply: NonEmpty
    plan: str = ""


class Exchange(Value):
    """Written line of the scripted backend: played when one of `cues` fits, or at any time."""

    reply: NonEmpty
    plan: str = ""
    cues: tuple[NonEmpty, ...] = ()
    anytime: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> "Exchange":
        if not self.cues and not self.anytime:
            raise ValueError("has neither cues nor 'anytime: true', so it is never played; add one of them")
        return self


class Persona(Value):
    """Character as written in its file. `id` is the file's stem; texts are plain, replies in CoSER notation."""

    id: NonEmpty
    name: NonEmpty
    source: str = ""
    language: Language = "en"
    tagline: str = ""
    colour: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] = "#5b4a6b"
    tags: tuple[str, ...] = ()
    profile: NonEmpty
    background: str = ""
    voice: str = ""
    motivation: str = ""
    greetings: tuple[NonEmpty, ...] = ()
    examples: tuple[Example, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


class CastMember(Value):
    """Character in one scenario: name, what is known of them, and what they want in it.

    One who `waits` is not there when the scene begins and comes in with the first turn that names them in `enters`.
    """

    name: NonEmpty
    source: str = ""
    profile: str = ""
    background: str = ""
    voice: str = ""
    motivation: str = ""
    examples: tuple[Example, ...] = ()
    persona: str = ""
    """Id of the persona file; empty for a character of a book or a visitor."""
    waits: bool = Field(default=False, exclude_if=_is_empty)


class Scenario(Value):
    """Setting and opening of a chat. `place` is a noun phrase; `opening` is the first line of the environment."""

    id: str = Field(default_factory=new_id)
    title: str = ""
    language: Language = "en"
    source: str = ""
    place: str = ""
    setting: str = ""
    opening: str = ""
    personas: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Transcript(Value):
    """Ordered turns of a chat, of a book's scene or of a simulated conversation."""

    id: str = Field(default_factory=new_id)
    scenario: Scenario
    cast: tuple[CastMember, ...]
    turns: tuple[Turn, ...] = ()

    def member(self, name: str) -> CastMember:
        """Return the cast member of this name.

        Raises:
            KeyError: there is none; the message names the members.
        """
        for member in self.cast:
            if member.name == name:
                return member
        raise KeyError(f"no cast member is called {name!r}; the cast is {', '.join(m.name for m in self.cast)}")


class Message(Value):
    """Message of a chat API."""

    role: Role
    content: str


class Sampling(Value):
    """Sampling settings of one call. `seed` None lets the server choose; `max_tokens` counts plan and reply together.

    Args:
        extra: JSON object of further fields of the request, for a server with the OpenAI API; null takes a field away. Text,
            so that equal settings have equal hashes; left out of dumps when it is empty, so that older keys stay the same.
    """

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=2048, ge=1, le=65536)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: str = Field(default="", exclude_if=lambda value: not value)


class Rollout(Value):
    """Generated turn with the record of its generation; a failed one has an `error` and no turn."""

    prompt: tuple[Message, ...]
    turn: Turn | None = None
    model: str = ""
    sampling: Sampling = Sampling()
    rewards: dict[str, float] = Field(default_factory=dict)
    error: str = ""


class Principle(Value):
    """A rule for comparing turns, in one language (the by-case principles of the HER paper).

    Args:
        polarity: a `negative` principle names a flaw, and breaking it loses; a `positive` one names a quality.
        level: `turn` when one turn decides it, `session` when a whole conversation does.
        weight: importance, 1 for most.
        good: a turn that follows it, in CoSER notation; `bad` one that breaks it.
    """

    id: NonEmpty
    name: NonEmpty
    dimension: NonEmpty
    polarity: Literal["positive", "negative"]
    level: Literal["turn", "session"]
    definition: NonEmpty
    weight: float = Field(default=1, ge=0)
    language: Language = "en"
    good: str = ""
    bad: str = ""


class Comparison(Value):
    """One principle applied to two candidates.

    Args:
        principle: id or, where a reward model names its own, the name.
        degree: how much better the winner is; None for a tie.
        evidence: quotes from the candidates, each found in one of them.
    """

    principle: str
    winner: Winner
    reason: str = ""
    degree: Degree | None = None
    evidence: tuple[str, ...] = ()


class Verdict(Value):
    """A judgement of two candidates.

    Args:
        winner: `both_bad` says that neither is acceptable: it is no tie and makes no preference.
        judge: name of the model or, as `rater:ID`, the person.
        probability: that a wins, where the judge gives one; None elsewhere.
        first: the candidate that was shown first, or on the left.
        model: model and revision of a judge that is a model.
        principles: sha256 of the principle library that was used.
    """

    comparisons: tuple[Comparison, ...] = ()
    winner: Outcome
    reason: str = ""
    judge: NonEmpty
    probability: float | None = Field(default=None, ge=0, le=1)
    first: Literal["a", "b"] | None = None
    model: str = ""
    principles: str = ""


class Preference(Value):
    """Chosen over rejected, for one prompt; a hand edit, a vote or a judgement with its verdict.

    Args:
        margin: how far apart they are, on the scale of the source; 1 where it has none.
        weight: reliability of the source, from 0 to 1.
        rater: id of the person, empty for a model.
        conversation: id of the transcript, by which splits keep conversations whole.
        split: name of the split that the conversation belongs to; empty before export.
    """

    prompt: tuple[Message, ...]
    chosen: Turn
    rejected: Turn
    verdict: Verdict
    margin: float = Field(default=1, ge=0)
    weight: float = Field(default=1, ge=0, le=1)
    rater: str = ""
    conversation: str = ""
    split: str = ""


class Sample(Value):
    """Training sample: messages, and which of them are trained.

    Args:
        messages: system message, history and target.
        trained: indices into `messages` of the assistant messages that are trained.
        transcript: id of the transcript it comes from.
        turn: id of the turn that is trained.
        merged: ids of the turns that were merged into it (see `Turn`).
        speaker: whose turn it is.
        source: book or chat that the transcript comes from.
    """

    messages: tuple[Message, ...]
    trained: tuple[int, ...]
    transcript: str = ""
    turn: str = ""
    merged: tuple[NonEmpty, ...] = Field(default=(), exclude_if=_is_empty)
    speaker: str = ""
    source: str = ""
