"""her/chat/openings.py: names, first turns, scenes of books."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from her.chat.openings import clean_message, clean_name, open_book, open_persona
from her.errors import InputError
from her.types import CastMember, Part
from tests.players import (
    BOOK,
    MARA,
    STORM,
)

SCENE = BOOK.scenes[0]


@pytest.mark.parametrize(
    ("given_name", "language", "name"),
    [
        ("Anne", "en", "Anne"),
        ("", "en", "Visitor"),
        (" \n\t", "zh", "来客"),
        ("\u200b\u202e", "en", "Visitor"),
        ("  Anne \n of  Green\tGables ", "en", "Anne of Green Gables"),
        ("An\u202ene\x07", "en", "Anne"),
        ("👩\u200d🚀", "en", "👩\u200d🚀"),
        ("{place} & {{char}} (x) [y]", "en", "{place} & {{char}} (x) [y]"),
        ("孙行者", "zh", "孙行者"),
        ("n" * 60, "en", "n" * 60),
    ],
)
def test_names_are_cleaned(given_name: str, language: str, name: str) -> None:
    assert clean_name(given_name, language) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("n" * 61, "61 characters; at most 60"),
        ("Anne: hello", "contains ':'"),
        ("安：好", "contains '：'"),
        ("<role_action>", "contains '<'"),
        ("environment", "narrator's"),
        ("mara", "is the persona's name"),
    ],
)
def test_names_that_would_be_read_as_something_else_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_persona(MARA, STORM, name)


@given(st.text(max_size=80))
@example("0\r\x1b 0")
def test_a_name_is_one_line_or_refused(name: str) -> None:
    try:
        cleaned = clean_name(name, "en")
    except InputError:
        return
    assert 0 < len(cleaned) <= 60 and cleaned == cleaned.strip() and cleaned.splitlines() == [cleaned]
    assert clean_name(cleaned, "en") == cleaned


@given(st.text(max_size=200))
def test_a_message_is_valid_unicode_or_refused(text: str) -> None:
    try:
        cleaned = clean_message(text, 100)
    except InputError:
        return
    cleaned.encode()
    assert 0 < len(cleaned) <= 100 and "\x00" not in cleaned and "\r" not in cleaned


def test_slots_are_filled_once_and_never_become_structure() -> None:
    opening = open_persona(MARA, STORM, "{place} [x]")
    greeting = opening.turns[-1][0]
    assert greeting.parts == (
        Part(kind="role_action", text="opens the door"),
        Part(kind="speech", text="Come in, {place} [x]."),
        Part(kind="role_thinking", text="Wet."),
    )
    assert greeting.raw == "(opens the door) Come in, {place} [x]. [Wet.]"


def test_a_chat_without_a_scene_or_greeting() -> None:
    opening = open_persona(MARA, None, "Anne", about="A <b>sailor</b>.\x00", greeting=1)
    assert [turn.text() for turn, _ in opening.turns] == ["here is closed."]
    assert [turn.text() for turn in opening.alternatives] == ["opens the door Come in, Anne. Wet."]
    assert opening.draft.cast[1] == CastMember(name="Anne", profile="A <b>sailor</b>.\ufffd") and opening.draft.title == "Mara"
    assert open_persona(MARA.model_copy(update={"greetings": ()}), None, "Anne").turns == ()


def test_a_persona_of_another_language_keeps_its_own() -> None:
    opening = open_persona(MARA.model_copy(update={"language": "zh"}), STORM, "")
    assert (opening.draft.language, opening.draft.scenario.language, opening.draft.visitor_name) == ("zh", "zh", "来客")


@pytest.mark.parametrize(
    ("greeting", "about", "sentence"), [(2, "", "no greeting 2"), (-1, "", "no greeting -1"), (0, "x" * 4_001, "4,001")]
)
def test_openings_that_cannot_be(greeting: int, about: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_persona(MARA, STORM, "Anne", about, greeting)


@pytest.mark.parametrize(
    ("me", "model", "replay", "count"),
    [("Roderigo", "Iago", 0, 1), ("Brabantio", "Iago", 0, 2), ("Roderigo", "Iago", 3, 3), ("Iago", "Roderigo", 4, 4)],
)
def test_a_books_first_turns_are_shown_under_ids_of_their_own(me: str, model: str, replay: int, count: int) -> None:
    opening = open_book(SCENE, me, model, replay)
    assert [turn.parts for turn, _ in opening.turns] == [turn.parts for turn in SCENE.turns[:count]]
    assert not {turn.id for turn, _ in opening.turns} & {turn.id for turn in SCENE.turns}
    assert {origin for _, origin in opening.turns} == {"book"}
    assert (opening.draft.speaker, opening.draft.visitor_name) == (model, me)


@pytest.mark.parametrize(
    ("me", "model", "replay", "sentence"),
    [
        ("Desdemona", "Iago", 0, "nobody is called 'Desdemona' in this scene; choose one of Iago, Roderigo, Brabantio"),
        ("Iago", "Othello", 0, "nobody is called 'Othello'"),
        ("Iago", "Iago", 0, "two different people"),
        ("Iago", "Roderigo", 5, "from 0 to 4 of them, not 5"),
        ("Iago", "Roderigo", -1, "not -1"),
    ],
)
def test_book_chats_that_cannot_be(me: str, model: str, replay: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_book(SCENE, me, model, replay)
