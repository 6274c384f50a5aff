"""The spine: frozen values that every stage reads and writes, equal by content, unknown keys refused.

Persona + Scenario -> Transcript[Turn[Part]] -> Rollout -> Verdict -> Preference -> Sample.
They travel between stages as JSONL (her/files/jsonl.py), one value a line.
"""

from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from her.kinds import VISIBLE_KINDS, Kind

ENVIRONMENT = "Environment"
"""The narrator as a speaker (CoSER, her.md 1.3)."""

Language = Literal["en", "zh"]
Winner = Literal["a", "b", "tie"]
Outcome = Literal["a", "b", "tie", "both_bad"]
Degree = Literal["slight", "clear", "significant"]
Role = Literal["system", "user", "assistant"]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def new_id() -> str:
    """A stable id: 32 hexadecimal digits, never a position."""
    return uuid4().hex


class Value(BaseModel):
    """Base of all spine values: frozen, equal by content, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="null")


class Part(Value):
    """One layer of a turn; `text` is without tags, stripped and never empty in canonical form."""

    kind: Kind
    text: str


class Defect(Value):
    """A named departure from the format (names: `her.format.DEFECTS`); `detail` shows the place, at most 80 characters."""

    name: str
    detail: str = ""


class Turn(Value):
    """One utterance. `raw` is the model's (or person's) text byte for byte; `parts` what the reader made of it."""

    id: str = Field(default_factory=new_id)
    speaker: NonEmpty
    parts: tuple[Part, ...] = ()
    raw: str = ""
    defects: tuple[Defect, ...] = ()

    def text(self, *kinds: Kind) -> str:
        """The texts of these kinds (default: all), joined by a space, in order."""
        return " ".join(part.text for part in self.parts if not kinds or part.kind in kinds)

    @property
    def spoken(self) -> bool:
        """Whether anything of this turn can be seen by others: an act or speech."""
        return any(part.kind in VISIBLE_KINDS for part in self.parts)


class Example(Value):
    """What a visitor says and how the persona answers; `plan` is its system_thinking, `reply` in CoSER notation."""

    visitor: NonEmpty
    reply: NonEmpty
    plan: str = ""


class Exchange(Value):
    """A written line of the scripted player: said when one of `cues` fits, or at any time."""

    reply: NonEmpty
    plan: str = ""
    cues: tuple[NonEmpty, ...] = ()
    anytime: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> "Exchange":
        if not self.cues and not self.anytime:
            raise ValueError("has neither cues nor 'anytime: true', so it is never said; add one of them")
        return self


class Persona(Value):
    """The character as written. `id` is the file's stem; texts are plain, replies in CoSER notation."""

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
    """A persona as present in one scenario: who, what is known of them, what they want now."""

    name: NonEmpty
    source: str = ""
    profile: str = ""
    background: str = ""
    voice: str = ""
    motivation: str = ""
    examples: tuple[Example, ...] = ()
    persona: str = ""
    """Id of the persona file this was taken from; empty for a book's character or a visitor."""


class Scenario(Value):
    """Setting and opening. `place` is a noun phrase; `opening` the environment's first line."""

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
    """A chat, a book's scene or a simulated conversation: the same thing."""

    id: str = Field(default_factory=new_id)
    scenario: Scenario
    cast: tuple[CastMember, ...]
    turns: tuple[Turn, ...] = ()

    def member(self, name: str) -> CastMember:
        """The cast member of this name; KeyError names those present."""
        for member in self.cast:
            if member.name == name:
                return member
        raise KeyError(f"nobody is called {name!r} here; present: {', '.join(m.name for m in self.cast)}")


class Message(Value):
    """A chat-API message."""

    role: Role
    content: str


class Sampling(Value):
    """The knobs of one call. `seed` None lets the server choose; `max_tokens` counts plan and reply together."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=2048, ge=1, le=65536)
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Rollout(Value):
    """A candidate with its record; a failed one carries `error` and no turn."""

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
    """Messages and which of them are trained (indices into `messages`, assistant ones).

    Args:
        transcript: id of the transcript it was made from; `turn` that of the turn that is trained.
        speaker: whose turn it is.
        source: the book or chat that the transcript came from.
    """

    messages: tuple[Message, ...]
    trained: tuple[int, ...]
    transcript: str = ""
    turn: str = ""
    speaker: str = ""
    source: str = ""
