"""her/training_data/splits.py: nothing is in two splits, whatever its name; what the test set holds out stays out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.characters.coser import load_book
from her.errors import InputError
from her.format import plain_turn
from her.training_data import splits
from her.training_data.splits import SplitUnit
from her.types import CastMember, Scenario, Transcript

LONG = "This is a line of number {} that nobody else would say in quite these words"
SHARES = {"sft": 0.5, "rl": 0.3, "test": 0.2}


def talk(id: str, *lines: int, book: str = "b", turns: int = 3) -> SplitUnit:
    return SplitUnit(id=id, book=book, turns=turns, lines=frozenset(lines))


CONVERSATIONS = st.lists(
    st.builds(
        talk,
        st.text("abcdef", min_size=1, max_size=3),
        st.integers(0, 6),
        st.integers(0, 6),
        book=st.sampled_from("xyz"),
        turns=st.integers(0, 9),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tess of the D’Urbervilles", "Tess of the D'Urbervilles"),
        ("Tess of the D’Urbervilles", "Tess_of_the_D_Urbervilles"),
        ("Les Misérables", "les miserables"),
        ("Frankenstein: The 1818 Text", "Frankenstein_ The 1818 Text"),
        ("Moby-Dick or, The Whale", "Moby_Dick or The Whale"),
        ("“Emma”", "Emma"),
        ("西遊記", " 西遊記 "),
        ("Alice\u2019s\u00a0Adventures", "ALICE'S ADVENTURES"),
    ],
)
def test_names_are_normalised(one: str, other: str) -> None:
    assert splits.title_key(one) == splits.title_key(other)


@pytest.mark.parametrize(("one", "other"), [("Emma", "Emma II"), ("1984", "1985"), ("???", "!!!"), ("红楼梦", "西遊記")])
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert splits.title_key(one) != splits.title_key(other)


@given(conversations=CONVERSATIONS, by=st.sampled_from(["conversation", "book"]), seed=st.integers(0, 3))
@settings(max_examples=40)
def test_nothing_leaks(conversations: list[SplitUnit], by: Any, seed: int) -> None:
    made = splits.split(conversations, SHARES, by, seed)
    assert made == splits.split(reversed(conversations), SHARES, by, seed)
    assert made.of.keys() == {one.id for one in conversations}
    assert splits.leaks(conversations, made) == []


@given(conversations=CONVERSATIONS)
@settings(max_examples=40)
def test_an_earlier_run_is_kept(conversations: list[SplitUnit]) -> None:
    before = splits.split(conversations, SHARES, seed=1)
    more = [*conversations, talk("new", 100, 101)]
    after = splits.split(more, SHARES, seed=2, keep=before.of)
    assert {one: after.of[one] for one in before.of} == before.of


def test_shares_are_kept_to() -> None:
    made = splits.split([talk(f"c{number}", number * 2, number * 2 + 1) for number in range(1000)], SHARES)
    sizes = {name: sum(split == name for split in made.of.values()) for name in SHARES}
    assert sizes == {"sft": 500, "rl": 300, "test": 200}


def test_few_conversations_fill_every_split() -> None:
    made = splits.split([talk(f"c{number}") for number in range(10)], splits.SHARES)
    assert {"sft", "rm_sft", "rm_rl", "rl"} <= set(made.of.values())


def test_a_book_stays_whole() -> None:
    conversations = [talk(f"{book}{number}", book=book) for book in "wxyz" for number in range(5)]
    made = splits.split(conversations, SHARES, "book")
    for book in "wxyz":
        assert len({made.of[f"{book}{number}"] for number in range(5)}) == 1


def test_a_scene_told_twice_is_in_one_split() -> None:
    conversations = [
        talk("a", 1),
        talk("b", 1, 2, book="other"),
        talk("c", 1, 2, book="third"),
        *(talk(f"d{n}") for n in range(9)),
    ]
    for seed in range(20):
        made = splits.split(conversations, SHARES, seed=seed)
        assert made.of["b"] == made.of["c"]


@pytest.mark.parametrize(
    ("of", "sentence"),
    [
        ({"a": "sft", "b": "test", "c": "sft"}, r"2 lines of a \(sft\) are in b \(test\) as well"),
        ({"a": "sft", "b": "sft"}, "conversation c is in no split"),
    ],
)
def test_leaks_are_told(of: dict[str, str], sentence: str) -> None:
    conversations = [talk("a", 1, 2), talk("b", 1, 2), talk("c", 1)]
    (found,) = splits.leaks(conversations, splits.Splits(by="conversation", seed=0, shares=SHARES, of=of))
    assert splits.re.search(sentence, found)


def test_a_parted_book_is_told() -> None:
    made = splits.Splits(by="book", seed=0, shares=SHARES, of={"a": "sft", "b": "test"})
    assert splits.leaks([talk("a"), talk("b")], made) == ["book 'b' is in the splits sft, test"]


def test_a_hundred_and_fifty_copies_are_one() -> None:
    conversations = [talk(f"c{number:03}", 1, 2, 3, book=f"b{number}") for number in range(150)]
    assert len(set(splits.split(conversations, SHARES).of.values())) == 1


@pytest.mark.parametrize("shares", [{}, {"sft": 0.0}, {"sft": 1.0, "rl": -1.0}])
def test_shares_that_give_no_split(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="at least one has to be above 0"):
        splits.split([talk("a")], shares)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [({"a": "sft", "b": "rl"}, "separate conversations that belong together"), ({"a": "gone"}, "a kept split is 'gone'")],
)
def test_kept_splits_that_do_not_fit(keep: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        splits.split([talk("a", 1, 2), talk("b", 1, 2)], SHARES, keep=keep)


def case(book: str, i_p: int, tag: str, *lines: str) -> dict[str, Any]:
    return {
        "book": book,
        "i_p": i_p,
        "i_c": 0,
        "tag": tag,
        "scenario": "A room.",
        "dialogues": [{"character": "Ann", "message": line} for line in lines],
    }


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    path = tmp_path / "test_set.json"
    mine = [LONG.format("one"), f"[Hm.] {LONG.format('two')}", LONG.format("three")]
    cases = [case("Tess of the D’Urbervilles", 8, "id", *mine), case("“Emma”", 3, "ood", LONG.format("x"))]
    path.write_text(json.dumps(cases), "utf-8")
    return path


def transcript(book: str, *lines: str, setting: str = "") -> Transcript:
    turns = tuple(plain_turn("Ann", line) for line in lines)
    return Transcript(scenario=Scenario(source=book, setting=setting), cast=(CastMember(name="Ann"),), turns=turns)


HELD = [
    (transcript("Emma", "Hi."), "'Emma' is a book that test_set.json holds out"),
    (transcript("A Pure Woman", LONG.format("ONE"), "(x) Hm", LONG.format("three")), "2 of its lines are those of case Tess"),
    (transcript("A Pure Woman", LONG.format("one")), ""),
    (transcript("Tess of the D'Urbervilles", "Hi."), ""),
]


@pytest.mark.parametrize(("candidate", "reason"), HELD)
def test_the_test_set_is_held_out(test_set: Path, candidate: Transcript, reason: str) -> None:
    found = splits.read_held_out(test_set).why_transcript(candidate)
    assert found.startswith(reason) if reason else found == ""


def test_a_case_is_known_by_plot_whatever_the_spelling(test_set: Path, tmp_path: Path) -> None:
    held = splits.read_held_out(test_set)
    line = {"character": "Ann", "message": "Other words.", "i_p": 8, "i_c": 0}
    plots = [{"conversation": [{"dialogues": [line]}]}, {"conversation": [{"dialogues": [{**line, "i_p": 9}]}]}]
    path = tmp_path / "Tess_of_the_D'Urbervilles.json"
    path.write_text(json.dumps({"plots": plots, "character_datasets": {}}), "utf-8")
    eight, nine = load_book(path).scenes
    assert held.why(eight) == "it is case Tess of the D’Urbervilles-8-0 of test_set.json"
    assert held.why(nine) == ""


def test_whole_books_can_be_held_out(test_set: Path) -> None:
    held = splits.read_held_out(test_set, whole_books=True)
    assert "holds out" in held.why_transcript(transcript("tess of the d'urbervilles", "Hi."))
