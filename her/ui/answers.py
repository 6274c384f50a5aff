"""Types of everything the server sends to the page; the JavaScript in her/ui/static declares the same shapes.

`ChatPatch` changes the page; the others answer one act. All texts are plain, but for `html` and `greetings`, escaped HTML.
"""

from typing import Any, Literal, NotRequired, TypedDict

from her.types import Language


class DrawnTurn(TypedDict):
    """HTML of one stored turn, drawn in place of the turn with the same id."""

    id: str
    html: str


class DrawnReply(DrawnTurn):
    """HTML of the reply that is being written; it takes the place of the turn `replaces`, or stands last."""

    replaces: str | None


class ShownRating(TypedDict):
    """A stored rating, as the rating panel shows it."""

    rubric: str
    thumb: int | None
    stars: dict[str, int]
    tags: list[str]
    comment: str


class ReplayState(TypedDict):
    """Progress of the replay of a book's scene, in turns."""

    shown: int
    total: int


class SceneCharacter(TypedDict):
    """A character of a scene; `mine` when the visitor plays them, `away` when they are not there now."""

    name: str
    letters: str
    colour: str
    mine: bool
    away: bool
    rating: ShownRating | None


class SceneFrame(TypedDict):
    """A scene of several characters: the visitor's own (empty for nobody), how the next speaker is chosen, the cast."""

    me: str
    next_speaker: str
    narrator: bool
    cast: list[SceneCharacter]


class ChatFrame(TypedDict):
    """Everything around the turns of a chat: head line, meter, replay bar and the rating of the chat."""

    title: str
    speaker: str
    subtitle: str
    letters: str
    colour: str
    visitor_name: str
    total: int
    live: bool
    can_continue: bool
    can_answer: bool
    meter: str
    meter_hint: str
    cut: int
    cut_note: str
    replay: ReplayState | None
    rating: ShownRating | None
    scene: SceneFrame | None


class QuotedTurn(TypedDict):
    """A turn in one line, as plain text."""

    speaker: str
    text: str


class ShownBallot(TypedDict):
    """Two replies side by side, as HTML, in the order in which they are shown.

    `state` is `writing` until both are whole, `vote` while a vote is asked for, `choice` after "both bad". A `repeat` shows an
    earlier pair again, with the turn that was answered.
    """

    id: str
    state: Literal["writing", "vote", "choice"]
    repeat: bool
    language: Language
    sides: list[str]
    question: QuotedTurn | None


class ChatPatch(TypedDict):
    """A change of the page, for the chat with the id `chat`; a field that is absent changes nothing.

    `put` draws turns, `order` lists the ids that stand last on the page, `view` is everything around the turns, `live` is
    the reply that is being written. `end` closes a generation: with `error` when it failed, and with the text of the
    visitor in `give_back` when it was not stored; `notice` says what was left out of its prompt.
    `hint` says why nobody plays on: it is the visitor's turn, or the scene has
    ended. `focus` is the turn to select, `saved` the time of a commit (UTC, ms).
    `ballot` are two replies that wait for a vote or are being written, None when there are none. `told` is said in passing.
    `stamp` is different in each patch of a stream.
    """

    chat: str
    put: NotRequired[list[DrawnTurn]]
    order: NotRequired[list[str]]
    view: NotRequired[ChatFrame]
    live: NotRequired[DrawnReply]
    end: NotRequired[bool]
    error: NotRequired[str]
    give_back: NotRequired[str]
    notice: NotRequired[str]
    hint: NotRequired[str]
    focus: NotRequired[str]
    saved: NotRequired[int]
    ballot: NotRequired[ShownBallot | None]
    told: NotRequired[str]
    stamp: NotRequired[int]


class Refusal(TypedDict):
    """Answer to a request that was refused: one sentence for the visitor, and whether the same request may succeed later."""

    error: str
    again: NotRequired[bool]


class Done(TypedDict):
    """Empty answer to an act that only needs to succeed."""


class SavedRating(TypedDict):
    """Time at which a rating was committed (UTC, ms)."""

    saved: int


class TurnSource(TypedDict):
    """Text of a turn for the editor: plain for the visitor's own turns, CoSER notation for the model's."""

    text: str


class ExportedFile(TypedDict):
    """File name and text of an exported chat."""

    name: str
    text: str


class RubricLabel(TypedDict):
    """A dimension or tag of the rubric in the language of the page; `low` and `high` name the ends of a scale."""

    id: str
    label: str
    hint: str
    low: str
    high: str


class ReasonChip(TypedDict):
    """A principle that may be named as a reason."""

    id: str
    label: str
    hint: str


class ReasonGroup(TypedDict):
    """Principles of one dimension."""

    label: str
    chips: list[ReasonChip]


class Reasons(TypedDict):
    """Principles that may be named as reasons of a vote."""

    groups: list[ReasonGroup]


class ShownRubric(TypedDict):
    """The rubric in use; `id` is its version."""

    id: str
    dimensions: list[RubricLabel]
    tags: list[RubricLabel]


class PersonaCard(TypedDict):
    """A persona on the first page."""

    id: str
    name: str
    source: str
    tagline: str
    language: Language
    colour: str
    tags: list[str]
    letters: str


class ShelvedScene(TypedDict):
    """A scene of a book: names of the cast, number of turns."""

    id: str
    title: str
    setting: str
    cast: list[str]
    turns: int


class StagedScene(TypedDict):
    """A scene in which a cast of personas may meet; `personas` are the ids of those that it was written for."""

    id: str
    title: str
    setting: str
    language: Language
    personas: list[str]


class ShelvedBook(TypedDict):
    """A book on the first page."""

    title: str
    scenes: list[ShelvedScene]


class ShownSafety(TypedDict):
    """State of the copy outside this machine of what people wrote.

    `age` are the seconds since the newest moment of which everything is kept, `waiting` the changes after it. The browser makes a
    time of day of it by its own clock, since that of the server may be wrong.
    """

    waiting: int
    age: float
    alarm: Literal["", "failing", "taken_over"]


class SafetyAnswer(TypedDict):
    """The safety now; None where nothing is kept outside."""

    safety: ShownSafety | None


class ShownPlaytest(TypedDict):
    """The playtest as the page needs it: its name, the text to agree to (empty when that is done), whether it has missions."""

    name: str
    consent: str
    version: str
    missions: bool


class AskedDimension(TypedDict):
    """A dimension that a mission asks for; `done` when something in its chat was rated in it."""

    id: str
    label: str
    done: bool


class ShownMission(TypedDict):
    """The visitor's mission; `place` names persona and scene, `chat` is empty until it is begun.

    `turns` are the visitor's own of `least`; `before` are the missions that the visitor did before this one.
    """

    id: str
    place: str
    goal: str
    chat: str
    turns: int
    least: int
    rate: list[AskedDimension]
    done: bool
    before: int
    asks_name: bool


class MissionAnswer(TypedDict):
    """The visitor's mission; None when every mission is done or has enough people."""

    mission: ShownMission | None


class FaultyFile(TypedDict):
    """A persona file that cannot be used now, and why."""

    file: str
    problem: str


class AuthorPage(TypedDict):
    """The faulty files, and the fields of one persona for the form."""

    faults: list[FaultyFile]
    fields: dict[str, Any]


class PersonaDraft(TypedDict):
    """A draft as a reader sees it (`greetings` are HTML), as a file, and what is wrong with it."""

    id: str
    problems: list[str]
    yaml: str
    letters: str
    greetings: list[str]


class SavedPersona(TypedDict):
    """Id of the persona whose file was written."""

    id: str


class Boot(TypedDict):
    """Everything the first page needs. `rater` is the made-up name of the visitor, under which exports know them."""

    words: dict[str, str]
    rubric: ShownRubric
    personas: list[PersonaCard]
    books: list[ShelvedBook]
    scenes: list[StagedScene]
    badge: str
    scripted: bool
    notice: str
    safety: ShownSafety | None
    rater: str
    playtest: ShownPlaytest | None
    author: bool


class OfferedScene(TypedDict):
    """A scene for the dialog that starts a chat; `suits` when it was written for this persona."""

    id: str
    title: str
    setting: str
    suits: bool


class PersonaDetail(TypedDict):
    """Profile, greetings (HTML) and scenes of one persona."""

    profile: str
    greetings: list[str]
    scenes: list[OfferedScene]


class ListedChat(TypedDict):
    """A line in the list of chats: how its last turn begins, and when it was used last (UTC, ms)."""

    id: str
    title: str
    letters: str
    colour: str
    last: str
    at: int


class ChatList(TypedDict):
    """The chats of one visitor, the last used first."""

    chats: list[ListedChat]


PageAnswer = (
    Boot
    | SafetyAnswer
    | MissionAnswer
    | AuthorPage
    | PersonaDraft
    | SavedPersona
    | PersonaDetail
    | ChatList
    | ChatPatch
    | SavedRating
    | TurnSource
    | ExportedFile
    | Refusal
    | Done
    | Reasons
)
"""Return type of the endpoint `act`."""
