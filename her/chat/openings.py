"""Open a chat: the visitor's name, the first turns, the shown turns of a book. Nothing is read or written."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from her.characters.coser import BookScene
from her.characters.personas import cast_member, fill_slots
from her.errors import InputError
from her.format import parse, plain_turn
from her.format.markers import LONE_SURROGATE
from her.kinds import VISIBLE_KINDS
from her.store import Draft, Origin
from her.store.stand_ins import STAND_IN
from her.types import ENVIRONMENT, CastMember, Language, Part, Persona, Scenario, Turn, new_id

MAX_NAME_CHARS = 60
MAX_ABOUT_CHARS = 4_000
MAX_TITLE_CHARS = 120
BRANCH_LETTERS = 40
"""Letters of its last turn that the name of a branch has."""
HERE = {"en": "here", "zh": "这里"}
"""Word in place of `{place}` when no scene is chosen."""
_JOINERS = "\u200c\u200d"  # format characters that Persian names and emoji need


@dataclass(frozen=True)
class Opening:
    """A chat before the visitor's first message: `turns` one under the other, `alternatives` to the last of them."""

    draft: Draft
    turns: tuple[tuple[Turn, Origin], ...] = ()
    alternatives: tuple[Turn, ...] = ()


def open_persona(persona: Persona, scene: Scenario | None, name: str, about: str = "", greeting: int = 0) -> Opening:
    """Open a chat with a persona: the scene's opening line, then the greeting, with the other greetings as swipes.

    Args:
        persona: the character that the model plays.
        scene: setting and opening line; None for no scene.
        name: the visitor's name.
        about: the visitor's description of themselves, which the persona knows.
        greeting: number of the greeting, from 0.

    Raises:
        InputError: the name or `about` cannot be used, or the persona has no such greeting.
    """
    language = persona.language
    visitor = clean_name(name, language)
    if visitor.casefold() == persona.name.casefold():
        raise InputError(f"the name {visitor!r} is the persona's name; choose another for yourself")
    about = _limited(clean_text(about).strip(), MAX_ABOUT_CHARS, "what you say about yourself")
    scenario = (scene or Scenario(title=persona.name)).model_copy(update={"language": language})
    draft = Draft(
        title=f"{persona.name} · {scene.title}" if scene and scene.title else persona.name,
        persona_id=persona.id,
        language=language,
        visitor_name=visitor,
        speaker=persona.name,
        scenario=scenario,
        cast=(cast_member(persona), CastMember(name=visitor, profile=about)),
    )
    slots = (visitor, scenario.place or HERE[language])
    turns: list[tuple[Turn, Origin]] = []
    if scenario.opening.strip():
        turns.append((opening_line(scenario, visitor), "opening"))
    greetings = [greeting_turn(text, persona.name, slots) for text in persona.greetings]
    if greetings:
        if not 0 <= greeting < len(greetings):
            last = len(greetings) - 1
            raise InputError(f"{persona.name} has no greeting {greeting}; choose one from 0 to {last}")
        turns.append((greetings.pop(greeting), "greeting"))
    return Opening(draft, tuple(turns), tuple(greetings))


def open_book(scene: BookScene, me: str, model: str, replay: int = 0, title: str = "") -> Opening:
    """Open a chat in a scene of a book, with the first turns of the scene already shown.

    Args:
        scene: a scene of a book.
        me: cast member that the visitor plays.
        model: cast member that the model plays.
        replay: number of the book's turns to show; 0 shows the turns before the first one of `me` or `model`.
        title: title of the chat; default the book's and the scene's.

    Raises:
        InputError: a name is not in the cast, both names are the same, or the scene has fewer turns than `replay`.
    """
    for name in (me, model):
        if name not in {member.name for member in scene.cast}:
            present = ", ".join(member.name for member in scene.cast)
            raise InputError(f"nobody is called {name[:60]!r} in this scene; choose one of {present}")
    if me == model:
        raise InputError(f"you and the model cannot both be {me!r}; choose two different people")
    if not 0 <= replay <= len(scene.turns):
        raise InputError(f"this scene has {len(scene.turns)} turns; replay from 0 to {len(scene.turns)} of them, not {replay}")
    draft = Draft(
        title=clean_title(title) or clean_title(f"{scene.book} · {scene.title}"),
        language=scene.scenario.language,
        visitor_name=me,
        speaker=model,
        scenario=scene.scenario,
        cast=scene.cast,
    )
    return Opening(draft, book_turns(scene.turns[: replay or _leading(scene, {me, model})]))


def book_turns(turns: Sequence[Turn]) -> tuple[tuple[Turn, Origin], ...]:
    """Return turns of a book with new ids, because the same scene may be opened more than once."""
    return tuple((turn.model_copy(update={"id": new_id()}), "book") for turn in turns)


def clean_name(name: str, language: Language) -> str:
    """Return a visitor's name on one line; the word for a visitor when it is empty.

    Raises:
        InputError: it is too long, or has a character that the parser reads as structure.
    """
    cleaned = _one_line(name)
    if not cleaned:
        return STAND_IN[language]
    if len(cleaned) > MAX_NAME_CHARS:
        raise InputError(f"the name has {len(cleaned)} characters; at most {MAX_NAME_CHARS} are allowed, use a shorter one")
    if mark := re.search(r"[:：<>＜＞]", cleaned):
        raise InputError(f"the name {cleaned!r} contains {mark[0]!r}, which separates names from speech; leave it out")
    if cleaned.casefold() == ENVIRONMENT.casefold():
        raise InputError(f"the name {cleaned!r} is the narrator's name; choose another")
    return cleaned


def branch_title(title: str, turn: Turn) -> str:
    """Return the name of a branch: that of the chat, and how the turn begins where the two part."""
    said = " ".join(turn.text(*VISIBLE_KINDS).split())
    begun = f"{said[:BRANCH_LETTERS]}…" if len(said) > BRANCH_LETTERS else said
    return clean_title(f"{title.partition(' ⑂ ')[0]} ⑂ {begun}")


def clean_title(title: str) -> str:
    """Return a chat's title: one line, at most MAX_TITLE_CHARS characters."""
    return _one_line(title)[:MAX_TITLE_CHARS].strip()


def clean_text(text: str) -> str:
    """Return a visitor's text with line ends as `\\n`; NUL and half characters, which no database takes, become U+FFFD."""
    return whole_characters(text).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def whole_characters(text: str) -> str:
    """Replace each half of a UTF-16 surrogate pair by U+FFFD; such a half cannot be encoded as UTF-8."""
    return LONE_SURROGATE.sub("\ufffd", text)


def clean_message(text: str, most: int) -> str:
    """Return a message that can be sent; it is never cut.

    Raises:
        InputError: it has nothing visible, or more than `most` characters.
    """
    cleaned = clean_text(text).strip()
    if not any(unicodedata.category(letter)[0] not in "ZC" for letter in cleaned):
        raise InputError("the message is empty; write something to send")
    return _limited(cleaned, most, "the message")


def _limited(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise InputError(f"{what} has {len(text):,} characters; at most {most:,} are allowed, shorten it")
    return text


def _one_line(text: str) -> str:
    """Return the text on one line, without control and format characters (some of them change the writing direction)."""
    dropped = ("Cc", "Cf", "Cs")
    kept = (
        letter
        for letter in clean_text(text)
        if letter.isspace() or letter in _JOINERS or unicodedata.category(letter) not in dropped
    )
    # Last, since a character dropped between two spaces leaves both.
    return " ".join("".join(kept).split())


def opening_line(scenario: Scenario, visitor: str) -> Turn:
    """Return the first line of the environment, with the visitor's name and the place filled in."""
    return _filled(plain_turn(ENVIRONMENT, scenario.opening.strip()), (visitor, scenario.place or HERE[scenario.language]))


def greeting_turn(text: str, speaker: str, slots: tuple[str, str]) -> Turn:
    """Parse a written greeting as a turn; `slots` are the visitor's name and the place."""
    return _filled(parse(text, speaker, notation="coser"), slots)


def _filled(turn: Turn, slots: tuple[str, str]) -> Turn:
    """Fill the slots after parsing, so that no name becomes structure, and in one pass, so that no slot is expanded twice."""
    parts = tuple(Part(kind=part.kind, text=fill_slots(part.text, *slots)) for part in turn.parts)
    return turn.model_copy(update={"parts": parts, "raw": fill_slots(turn.raw, *slots)})


def _leading(scene: BookScene, speakers: set[str]) -> int:
    """Count the turns before the first one by any of these speakers."""
    return next((index for index, turn in enumerate(scene.turns) if turn.speaker in speakers), len(scene.turns))
