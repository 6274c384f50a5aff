"""Open a scene of several characters, of a book or of personas, and move characters in and out. Nothing is read or written."""

from collections.abc import Sequence

from her.characters.coser import BookScene
from her.characters.personas import cast_member
from her.chat.openings import Opening, book_turns, clean_name, clean_title, opening_line
from her.chat.pages import Page
from her.errors import InputError
from her.format import plain_turn
from her.store import Draft, Ensemble, Origin
from her.types import ENVIRONMENT, CastMember, Persona, Scenario, Turn
from her.view import absent

FEWEST, MOST = 2, 6
"""Characters of a scene, the visitor's included."""


def open_book_scene(scene: BookScene, names: Sequence[str], me: str, ensemble: Ensemble, replay: int = 0) -> Opening:
    """Open a scene of a book with these characters of its cast, after its first `replay` turns.

    Args:
        scene: a scene of a book.
        names: who takes part, 2 to 6; others who speak in the replayed turns are heard but play no more.
        me: who the visitor plays; empty for nobody.
        ensemble: how it is played.
        replay: turns of the book to show first.

    Raises:
        InputError: names, number or `replay` do not fit the scene.
    """
    known = {member.name: member for member in scene.cast}
    for name in (*names, *([me] if me else [])):
        if name not in known:
            raise InputError(f"nobody is called {name[:60]!r} in this scene; choose one of {', '.join(known)}")
    if not 0 <= replay <= len(scene.turns):
        raise InputError(f"this scene has {len(scene.turns)} turns; replay from 0 to {len(scene.turns)} of them, not {replay}")
    cast = tuple(member for member in scene.cast if member.name in names)
    title = clean_title(f"{scene.book} · {scene.title}")
    turns = book_turns(scene.turns[:replay])
    return Opening(_draft(title, scene.scenario, cast, me, ensemble), turns)


def open_own_scene(personas: Sequence[Persona], scene: Scenario | None, me: str, ensemble: Ensemble, name: str = "") -> Opening:
    """Open a scene with personas, and with the visitor under a `name` of their own where they play none of them.

    Args:
        personas: 2 to 6 of one language, or fewer with the visitor.
        scene: setting and opening line; None for no scene.
        me: name of the persona whom the visitor plays; empty for none of them.
        ensemble: how it is played.
        name: the visitor's own name; empty when they only look on.

    Raises:
        InputError: the personas do not go together, or the name is one of theirs.
    """
    if not personas:
        raise InputError(f"the scene has no characters; choose {FEWEST} to {MOST}")
    language = personas[0].language
    if any(persona.language != language for persona in personas):
        raise InputError("the personas speak different languages; choose personas of one language")
    cast = [cast_member(persona) for persona in personas]
    if not me and name.strip():
        me = clean_name(name, language)
        if me.casefold() in {member.name.casefold() for member in cast}:
            raise InputError(f"the name {me!r} is a persona's name; choose another, or play that persona")
        cast.append(CastMember(name=me))
    scenario = (scene or Scenario()).model_copy(update={"language": language})
    turns: list[tuple[Turn, Origin]] = []
    if scenario.opening.strip():
        turns.append((opening_line(scenario, me or cast[0].name), "opening"))
    names = ("、" if language == "zh" else ", ").join(member.name for member in cast)
    title = clean_title(f"{scene.title} · {names}" if scene and scene.title else names)
    return Opening(_draft(title, scenario, tuple(cast), me, ensemble), tuple(turns))


def moving_turn(page: Page, name: str) -> Turn:
    """Return the narrator's turn in which a character leaves, or comes in when they are not there."""
    chat = page.conversation
    if chat.ensemble is None or name not in {member.name for member in chat.cast}:
        raise InputError(f"nobody is called {name[:60]!r} in this scene; choose one of its characters")
    away, zh = absent(page.transcript()), chat.language == "zh"
    if name in away:
        return plain_turn(ENVIRONMENT, f"{name}走了进来。" if zh else f"{name} comes in.").model_copy(update={"enters": (name,)})
    return plain_turn(ENVIRONMENT, f"{name}离开了。" if zh else f"{name} leaves.").model_copy(update={"leaves": (name,)})


def _draft(title: str, scenario: Scenario, cast: tuple[CastMember, ...], me: str, ensemble: Ensemble) -> Draft:
    if not FEWEST <= len(cast) <= MOST:
        raise InputError(f"the scene has {len(cast)} characters; choose {FEWEST} to {MOST}")
    if me and me not in {member.name for member in cast}:
        raise InputError(f"you play {me[:60]!r}, who takes no part; choose one of {', '.join(member.name for member in cast)}")
    speaker = next(member.name for member in cast if member.name != me)
    return Draft(
        title=title,
        language=scenario.language,
        visitor_name=me,
        speaker=speaker,
        scenario=scenario,
        cast=cast,
        ensemble=ensemble,
    )
