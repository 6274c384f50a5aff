"""her/characters/coser.py: CoSER files in both schemas with every gap that the real ones have."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.characters import coser
from her.errors import InputError
from her.types import ENVIRONMENT

PLOT = {
    "text": "",
    "summary": "The light goes out.",
    "chapter": "Chapter 1",
    "key_characters": [{"name": "Mara", "description": "The keeper.", "experience": "She loses the lamp."}, {"name": "Tom"}],
    "conversation": [
        {
            "scenario": "Night at the lighthouse.",
            "topic": "The lamp",
            "key_characters": [{"name": "Mara", "motivation": "To keep it burning."}],
            "dialogues": [
                {"character": "Environment", "message": "Rain [hard rain] beats on the glass.", "i_p": 4, "i_c": 0},
                {"character": "Mara", "message": "[Not tonight.] (shields the flame) Hold the ladder, Tom.", "i_p": 4, "i_c": 0},
                {"character": "Tom", "message": "Aye.", "i_p": 4, "i_c": 0},
            ],
        }
    ],
}
BOOK = {"plots": [PLOT], "character_datasets": {"Mara": {"profile": "A keeper of few words."}, "Ann": {"profile": "Absent."}}}
CASE = {
    "book": "The Lamp",
    "i_p": 4,
    "i_c": 1,
    "scenario": "Night at the lighthouse.",
    "topic": "The lamp",
    "key_characters": [{"name": "Mara", "thought": "I must keep it burning."}],
    "dialogues": PLOT["conversation"][0]["dialogues"],
    "major_characters": ["Tom", "Mara"],
    "speaking_characters_w_env": ["Mara", "Tom", "Environment"],
    "character_profiles": {"Mara": "A keeper of few words."},
    "plot": {
        "summary": "The light goes out.",
        "chapter": None,
        "key_characters": [{"name": "Mara", "summary": "She loses the lamp."}],
    },
}


def write(folder: Path, content: Any, name: str = "lamp.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_names_that_differ_in_case_are_one_character() -> None:
    conversation = PLOT["conversation"][0]  # type: ignore[index]
    lines = [{"character": name, "message": "Aye."} for name in ("MARA", "tom", "Mara", "TOM")]
    book = {**BOOK, "plots": [{**PLOT, "conversation": [{**conversation, "dialogues": lines}]}]}  # type: ignore[dict-item]
    book["character_datasets"] = {"MARA": {"profile": "A keeper."}, "mara": {"profile": ""}}
    [scene] = coser.read_content(book, "The Lamp").scenes
    assert [turn.speaker for turn in scene.turns] == ["mara", "Tom", "mara", "Tom"]
    assert [(member.name, member.motivation) for member in scene.cast] == [("mara", "To keep it burning."), ("Tom", "")]
    assert "A keeper." in scene.cast[0].profile and scene.experiences == {"mara": "She loses the lamp."}
    [case] = coser.read_content({**CASE, "major_characters": ["TOM", "MARA"]}, "x").scenes
    assert [member.name for member in case.cast] == ["Tom", "Mara"] and case.listed == ("Mara", "Tom", ENVIRONMENT)


def test_a_book_is_read(tmp_path: Path) -> None:
    book = coser.load_book(write(tmp_path, BOOK))
    (scene,) = book.scenes
    assert (book.title, book.skipped) == ("lamp", ())
    assert (scene.plot, scene.conversation, scene.title) == (4, 0, "plot 4: The lamp")
    assert (scene.plot_title, scene.plot_summary) == ("Chapter 1", "The light goes out.")
    assert (scene.scenario.setting, scene.scenario.source, scene.scenario.language) == ("Night at the lighthouse.", "lamp", "en")
    assert scene.major == ("Mara",)
    assert [member.name for member in scene.cast] == ["Mara", "Tom"]
    assert scene.cast[0].profile == "The keeper.\n\nA keeper of few words."
    assert scene.cast[0].motivation == "To keep it burning."
    assert scene.experiences == {"Mara": "She loses the lamp."}


@pytest.mark.parametrize("content", [CASE, [CASE]], ids=["one case", "a list"])
def test_a_test_set_is_read_in_the_other_spelling(tmp_path: Path, content: Any) -> None:
    (scene,) = coser.load_book(write(tmp_path, content)).scenes
    assert (scene.book, scene.scenario.source, scene.plot, scene.conversation) == ("The Lamp", "The Lamp", 4, 1)
    assert scene.major == ("Tom", "Mara")
    assert scene.cast[1].motivation == "I must keep it burning."
    assert scene.experiences == {"Mara": "She loses the lamp."}


def test_the_turns_are_the_books_own(tmp_path: Path) -> None:
    environment, mara, tom = coser.load_book(write(tmp_path, BOOK)).scenes[0].turns
    assert (environment.speaker, environment.text("speech")) == (ENVIRONMENT, "Rain [hard rain] beats on the glass.")
    assert [(part.kind, part.text) for part in mara.parts] == [
        ("role_thinking", "Not tonight."),
        ("role_action", "shields the flame"),
        ("speech", "Hold the ladder, Tom."),
    ]
    assert mara.raw == "[Not tonight.] (shields the flame) Hold the ladder, Tom."
    assert tom.text() == "Aye."


def test_ids_are_stable_and_apart(tmp_path: Path) -> None:
    first = coser.load_book(write(tmp_path, BOOK)).scenes[0]
    again = coser.load_book(write(tmp_path, BOOK)).scenes[0]
    assert first == again
    ids = [first.id, first.scenario.id, *(turn.id for turn in first.turns)]
    assert len(set(ids)) == len(ids)
    assert all(len(identity) == 32 for identity in ids)
    transcript = first.transcript()
    assert (transcript.id, transcript.turns, transcript.member("Tom").name) == (first.id, first.turns, "Tom")


def without(key: str, *path: Any) -> Any:
    """BOOK without one key of the object at `path`."""
    copy = json.loads(json.dumps(BOOK))
    place = copy
    for step in path:
        place = place[step]
    del place[key]
    return copy


def changed(value: Any, *path: Any) -> Any:
    """BOOK with another value at `path`."""
    copy = json.loads(json.dumps(BOOK))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy


TALK = ("plots", 0, "conversation", 0)
TALKS = PLOT["conversation"]
GAPS = [
    (without("character_datasets"), "character_datasets: none, so the characters have no profiles"),
    (changed({}, "character_datasets"), "character_datasets: none"),
    (changed([PLOT, {**PLOT, "conversation": []}], "plots"), "plot 1: no conversation"),
    (changed([PLOT, {"summary": "x"}], "plots"), "plot 1: no conversation"),
    (changed([PLOT, None], "plots"), "plot 1: NoneType instead of an object"),
    (changed([PLOT, PLOT], "plots"), "appears twice in the file; the first is kept"),
    (
        changed([*TALKS, {"topic": "x", "dialogues": []}], "plots", 0, "conversation"),
        "conversation 1: no dialogues",
    ),
    (changed([*TALKS, {"i_c": 7}], "plots", 0, "conversation"), "conversation 7: no dialogues"),
    (changed("", *TALK, "dialogues", 1, "message"), "dialogue 1: Mara says nothing ('message' is empty)"),
    (changed(None, *TALK, "dialogues", 1, "message"), "dialogue 1: Mara says nothing"),
    (without("message", *TALK, "dialogues", 1), "dialogue 1: Mara says nothing"),
    (without("character", *TALK, "dialogues", 1), "dialogue 1: it has no speaker ('character' is missing)"),
    (changed(7, *TALK, "dialogues", 1), "dialogue 1: int instead of an object"),
]


@pytest.mark.parametrize(("content", "reason"), GAPS)
def test_a_gap_is_left_out_and_named(tmp_path: Path, content: Any, reason: str) -> None:
    book = coser.load_book(write(tmp_path, content))
    assert len(book.scenes) == 1
    assert len(book.skipped) == 1
    assert reason in book.skipped[0]


QUIET = [
    without("text", "plots", 0),
    without("summary", "plots", 0),
    without("chapter", "plots", 0),
    without("key_characters", "plots", 0),
    without("scenario", *TALK),
    without("topic", *TALK),
    without("key_characters", *TALK),
    changed(None, *TALK, "key_characters"),
    changed([{"name": "Mara"}, None, {"motivation": "x"}], *TALK, "key_characters"),
    changed(None, "character_datasets", "Mara"),
    changed({"profile": None}, "character_datasets", "Mara"),
]


@pytest.mark.parametrize("content", QUIET)
def test_what_may_be_absent(tmp_path: Path, content: Any) -> None:
    book = coser.load_book(write(tmp_path, content))
    assert (len(book.scenes), len(book.scenes[0].turns), book.skipped) == (1, 3, ())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"plots": [\n{"a" 1}]}', "not JSON at line 2, column 6"),
        (b"", "not JSON at line 1, column 1"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "holds a number that cannot be read"),
        (b"{}", "no conversation found"),
        (b"[]", "no conversation found"),
        (b'"words"', "no conversation found"),
        (b'{"plots": 3}', "no conversation found; left out: character_datasets: none"),
        (b'{"plots": [{"conversation": []}]}', "left out: .*plot 0: no conversation"),
    ],
)
def test_a_file_that_is_no_book(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        coser.load_book(write(tmp_path, content))
    assert str(caught.value).startswith("book 'lamp.json': ")


def test_a_huge_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(coser.MAX_BOOK_BYTES + 1)
    with pytest.raises(InputError, match="64,000,001 bytes; at most 64,000,000 are read"):
        coser.load_book(path)
    with pytest.raises(InputError, match="cannot be read"):
        coser.load_book(tmp_path / "none.json")


def test_half_a_surrogate_pair_is_shown_as_such(tmp_path: Path) -> None:
    scene = coser.load_book(write(tmp_path, changed("Aye \ud800.", *TALK, "dialogues", 2, "message"))).scenes[0]
    assert scene.turns[2].raw == "Aye \ufffd."


def test_nuls_are_no_text(tmp_path: Path) -> None:
    scene = coser.load_book(write(tmp_path, changed("A\0ye.\0", *TALK, "dialogues", 2, "message"))).scenes[0]
    assert (scene.turns[2].raw, scene.turns[2].text()) == ("Aye.", "Aye.")
    book = coser.load_book(write(tmp_path, changed("\0", *TALK, "dialogues", 2, "message")))
    assert len(book.scenes[0].turns) == 2 and "Tom says nothing" in book.skipped[0]


def test_a_chinese_book_is_one(tmp_path: Path) -> None:
    scene = coser.load_book(write(tmp_path, changed("夜里，灯塔。" * 30, *TALK, "scenario"))).scenes[0]
    assert scene.scenario.language == "zh"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["plots", "conversation", "dialogues", "character", "message", "key_characters", "name", "i_p", "plot"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(content=JSON)
@settings(max_examples=30)
def test_any_json_is_a_book_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "any.json")
    try:
        assert coser.load_book(path).scenes
    except InputError as error:
        assert str(error).startswith("book 'any.json': ")


def test_odd_names_and_thought_only_lines_are_kept(tmp_path: Path) -> None:
    """Gaps of the real files (benchmarks of the field list them): names, colons, speakers nobody announced."""
    case = {
        **CASE,
        "dialogues": [
            {"character": "Christopher Dollanganger Jr.", "message": "[I will say nothing.]"},
            {"character": "Mara", "message": "Mara：Hold the ladder."},
            {"character": "Mara", "message": "And the lamp."},
            {"character": "阿远", "message": "[他又来了。] (退后一步) 谁？"},
        ],
    }
    (scene,) = coser.load_book(write(tmp_path, [case])).scenes
    assert [turn.speaker for turn in scene.turns] == ["Christopher Dollanganger Jr.", "Mara", "Mara", "阿远"]
    assert [part.kind for part in scene.turns[0].parts] == ["role_thinking"] and not scene.turns[0].spoken
    assert scene.turns[1].text("speech") == "Hold the ladder."
    assert [part.kind for part in scene.turns[3].parts] == ["role_thinking", "role_action", "speech"]
    assert {"阿远", "Christopher Dollanganger Jr."} <= {member.name for member in scene.cast}
