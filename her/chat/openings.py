"""How a chat opens: what a visitor may be called, which turns come first, what of a book is shown. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from her.characters.coser import BookScene
from her.characters.personas import cast_member, fill_slots
from her.errors import InputError
from her.format import parse, plain_turn
from her.store import Draft, Origin
from her.types import ENVIRONMENT, CastMember, Language, Part, Persona, Scenario, Turn, new_id

MAX_NAME_CHARS = 60
MAX_ABOUT_CHARS = 4_000
MAX_TITLE_CHARS = 120
_VISITOR = {"en": "Visitor", "zh": "来客"}
HERE = {"en": "here", "zh": "这里"}
"""What stands for the place where no scene is chosen."""
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
_JOINERS = "\u200c\u200d"  # Persian names and emoji need them


@dataclass(frozen=True)
class Opening:
    """A chat before its first word from the visitor: `turns` one under the other, `alternatives` to the last of them."""

    draft: Draft
    turns: tuple[tuple[Turn, Origin], ...] = ()
    alternatives: tuple[Turn, ...] = ()


def open_persona(persona: Persona, scene: Scenario | None, name: str, about: str = "", greeting: int = 0) -> Opening:
    """A chat with a persona: the scene's opening line, then the greeting, its other greetings beside it.

    Raises:
        InputError: the name or `about` cannot be used, or there is no greeting of that number.
    """
    language = persona.language
    visitor = clean_name(name, language)
    if visitor.casefold() == persona.name.casefold():
        raise InputError(f"the name {visitor!r} is the persona's own; choose another for yourself")
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
        turns.append((_filled(plain_turn(ENVIRONMENT, scenario.opening.strip()), slots), "opening"))
    greetings = [greeting_turn(text, persona.name, slots) for text in persona.greetings]
    if greetings:
        if not 0 <= greeting < len(greetings):
            last = len(greetings) - 1
            raise InputError(f"{persona.name} has no greeting {greeting}; choose one from 0 to {last}")
        turns.append((greetings.pop(greeting), "greeting"))
    return Opening(draft, tuple(turns), tuple(greetings))


def open_book(scene: BookScene, me: str, model: str, replay: int = 0, title: str = "") -> Opening:
    """A chat in a book's scene: the visitor is `me`, the model plays `model`, the book's first turns are there already.

    Args:
        scene: a scene of a book.
        me: name of a cast member.
        model: name of another one.
        replay: how many of the book's turns are shown; 0 shows those before either of the two first speaks.
        title: of the chat; default the book's and the scene's.

    Raises:
        InputError: a name is not in the cast, both are the same, or `replay` is not a number of turns of this scene.
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
    """A book's turns for a chat: ids of their own, since the same scene may be opened often."""
    return tuple((turn.model_copy(update={"id": new_id()}), "book") for turn in turns)


def clean_name(name: str, language: Language) -> str:
    """A visitor's name, on one line; the language's word for a visitor when empty.

    Raises:
        InputError: it is too long, or holds what would be read as structure.
    """
    cleaned = _one_line(name)
    if not cleaned:
        return _VISITOR[language]
    if len(cleaned) > MAX_NAME_CHARS:
        raise InputError(f"the name has {len(cleaned)} characters; at most {MAX_NAME_CHARS} are taken, use a shorter one")
    if found := re.search(r"[:：<>＜＞]", cleaned):
        raise InputError(f"the name {cleaned!r} holds {found[0]!r}, which separates names from speech; leave it out")
    if cleaned.casefold() == ENVIRONMENT.casefold():
        raise InputError(f"the name {cleaned!r} is the narrator's; choose another")
    return cleaned


def clean_title(title: str) -> str:
    """A chat's title: one line, cut at 120 characters."""
    return _one_line(title)[:MAX_TITLE_CHARS].strip()


def clean_text(text: str) -> str:
    """What a visitor typed, with line ends as `\\n` and what no database takes (NUL, half characters) shown as U+FFFD."""
    return whole_characters(text).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def whole_characters(text: str) -> str:
    """Replace each half of a UTF-16 surrogate pair by U+FFFD; such a half cannot be encoded as UTF-8."""
    return _HALF_CHARACTER.sub("\ufffd", text)


def clean_message(text: str, most: int) -> str:
    """A message fit to be sent.

    Raises:
        InputError: it is empty, or longer than `most` characters; nothing is cut.
    """
    cleaned = clean_text(text).strip()
    if not any(unicodedata.category(letter)[0] not in "ZC" for letter in cleaned):
        raise InputError("the message is empty; write something to send")
    return _limited(cleaned, most, "the message")


def _limited(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise InputError(f"{what} has {len(text):,} characters; at most {most:,} are taken, shorten it")
    return text


def _one_line(text: str) -> str:
    """Blanks made single, control and format characters (also those that turn the writing direction) left out."""
    spaced = " ".join(clean_text(text).split())
    return "".join(one for one in spaced if one in _JOINERS or unicodedata.category(one) not in ("Cc", "Cf", "Cs")).strip()


def greeting_turn(text: str, speaker: str, slots: tuple[str, str]) -> Turn:
    """A written greeting as a turn; `slots` are the visitor's name and the place."""
    return _filled(parse(text, speaker, notation="coser"), slots)


def _filled(turn: Turn, slots: tuple[str, str]) -> Turn:
    """Slots filled after reading, so that no name becomes structure, and in one pass, so that none is expanded twice."""
    parts = tuple(Part(kind=part.kind, text=fill_slots(part.text, *slots)) for part in turn.parts)
    return turn.model_copy(update={"parts": parts, "raw": fill_slots(turn.raw, *slots)})


def _leading(scene: BookScene, two: set[str]) -> int:
    """How many turns stand before either of the two first speaks."""
    return next((index for index, turn in enumerate(scene.turns) if turn.speaker in two), len(scene.turns))
