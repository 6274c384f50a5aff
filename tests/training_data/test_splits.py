"""her/training_data/splits.py: nothing is in two splits, whatever its name; what the test set holds out stays out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.characters.coser import load_book
from her.errors import InputError
from her.format import parse, plain_turn
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
    unique_by=lambda unit: unit.id,
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
    assert made.of.keys() == {unit.id for unit in conversations}
    assert (made.by, made.seed, made.shares) == (by, seed, SHARES)
    assert splits.leaks(conversations, made) == []


@given(conversations=CONVERSATIONS)
@settings(max_examples=40)
def test_an_earlier_run_is_kept(conversations: list[SplitUnit]) -> None:
    before = splits.split(conversations, SHARES, seed=1)
    more = [*conversations, talk("new", 100, 101)]
    after = splits.split(more, SHARES, seed=2, keep=before.of)
    assert {unit_id: after.of[unit_id] for unit_id in before.of} == before.of


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


def test_a_scene_that_appears_twice_is_in_one_split() -> None:
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
def test_leaks_are_reported(of: dict[str, str], sentence: str) -> None:
    conversations = [talk("a", 1, 2), talk("b", 1, 2), talk("c", 1)]
    (problem,) = splits.leaks(conversations, splits.Splits(by="conversation", seed=0, shares=SHARES, of=of))
    assert re.search(sentence, problem)


def test_a_leak_is_found_behind_a_conversation_without_a_split() -> None:
    made = splits.Splits(by="conversation", seed=0, shares=SHARES, of={"b": "sft", "c": "test"})
    units = [talk("a", 1, 2), talk("b", 1, 2), talk("c", 1, 2)]
    assert splits.leaks(units, made) == [
        "conversation a is in no split",
        "2 lines of b (sft) are in c (test) as well",
    ]


def test_one_common_line_is_no_leak_and_three_are_one() -> None:
    of = {"a": "sft", "b": "test"}
    for lines, problems in (((1,), []), ((1, 2, 3), ["3 lines of a (sft) are in b (test) as well"])):
        units = [talk("a", *lines), talk("b", *lines, 9)]
        assert splits.leaks(units, splits.Splits(by="conversation", seed=0, shares=SHARES, of=of)) == problems


def test_books_may_be_separated_where_conversations_are_split() -> None:
    made = splits.Splits(by="conversation", seed=0, shares=SHARES, of={"a": "sft", "b": "test"})
    assert splits.leaks([talk("a"), talk("b")], made) == []


def test_a_line_that_many_have_is_compared_with_a_few() -> None:
    """Eight conversations of a split are kept for each line, so that a common line does not cost quadratic time."""
    of = {f"a{number:02}": "sft" for number in range(20)} | {"b": "test"}
    units = [*(talk(f"a{number:02}", 1, 2) for number in range(20)), talk("b", 1, 2)]
    assert len(splits.leaks(units, splits.Splits(by="conversation", seed=0, shares=SHARES, of=of))) == 8


@pytest.mark.parametrize(("count", "together"), [(64, True), (65, False)])
def test_a_stock_phrase_joins_nothing(count: int, together: bool) -> None:
    """A line that more than 64 groups share is a stock phrase: a unit that has only this line stays alone."""
    units = [talk(f"c{number:03}", 1, 1000 + number, 2000 + number) for number in range(count)]
    groups = splits._groups([*units, talk("d", 1)], "conversation")
    assert (len(groups) == 1) is together
    assert len(groups) == (1 if together else count + 1)


def test_groups_have_their_ids_in_order_and_the_sum_of_their_turns() -> None:
    units = [talk("c", 1, 2, turns=4), talk("b", 5, turns=2), talk("a", 1, 2, turns=3), talk("d", 5, 6, turns=1)]
    assert splits._groups(units, "conversation") == [(("a", "c"), 7), (("b",), 2), (("d",), 1)]
    assert splits._groups(units, "book") == [(("a", "b", "c", "d"), 10)]


def test_two_groups_become_one_by_a_third_conversation() -> None:
    units = [talk("a", 1, 2), talk("b", 3, 4), talk("c", 1, 2, 3, 4)]
    assert splits._groups(units, "conversation") == [(("a", "b", "c"), 9)]


def test_shares_are_relative_and_empty_ones_left_out() -> None:
    units = [talk(f"c{number}", number) for number in range(12)]
    made = splits.split(units, {"sft": 2.0, "rl": 1.0, "none": 0.0})
    assert made.shares == {"sft": 2.0, "rl": 1.0}
    assert sorted(made.of.values()) == ["rl"] * 4 + ["sft"] * 8
    assert list(made.of) == sorted(made.of)


def test_the_seed_decides_the_order() -> None:
    assert splits.split([talk("a")], SHARES).seed == 42
    units = [talk(f"c{number}", number) for number in range(12)]
    assert len({tuple(splits.split(units, SHARES, seed=seed).of.values()) for seed in range(5)}) > 1


def test_kept_conversations_use_up_the_room_of_their_split() -> None:
    units = [talk(f"c{number}", number) for number in range(10)]
    made = splits.split(units, {"sft": 0.5, "test": 0.5}, keep={f"c{number}": "test" for number in range(5)})
    assert [made.of[f"c{number}"] for number in range(10)] == ["test"] * 5 + ["sft"] * 5


def test_a_member_of_a_kept_group_goes_with_it() -> None:
    made = splits.split([talk("a", 1, 2), talk("b", 1, 2), talk("c", 7)], SHARES, keep={"b": "test", "gone": "sft"})
    assert (made.of["a"], made.of["b"]) == ("test", "test")


def test_a_separated_book_is_reported() -> None:
    made = splits.Splits(by="book", seed=0, shares=SHARES, of={"a": "sft", "b": "test"})
    assert splits.leaks([talk("a"), talk("b")], made) == ["book 'b' is in the splits sft, test"]


def test_a_hundred_and_fifty_copies_are_one() -> None:
    conversations = [talk(f"c{number:03}", 1, 2, 3, book=f"b{number}") for number in range(150)]
    assert len(set(splits.split(conversations, SHARES).of.values())) == 1


def test_the_default_shares() -> None:
    assert splits.SHARES == {"sft": 0.33, "rm_sft": 0.33, "rm_rl": 0.2, "rl": 0.1, "test": 0.04}


@pytest.mark.parametrize("shares", [{}, {"sft": 0.0}, {"sft": 1.0, "rl": -1.0}])
def test_shares_that_give_no_split(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="at least one has to be above 0"):
        splits.split([talk("a")], shares)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ({"a": "sft", "b": "rl"}, r"separate conversations that belong together \(a: \['rl', 'sft'\]\)"),
        ({"a": "gone"}, "a kept split is 'gone'; the shares name rl, sft, test"),
    ],
)
def test_kept_splits_that_do_not_fit(keep: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        splits.split([talk("a", 1, 2), talk("b", 1, 2)], SHARES, keep=keep)


NAMES = ("Ann", "Bob")
"""Who speaks in turn: neighbouring lines of one speaker would be one line."""


def case(book: str, i_p: int, tag: str, *lines: str) -> dict[str, Any]:
    return {
        "book": book,
        "i_p": i_p,
        "i_c": 0,
        "tag": tag,
        "scenario": "A room.",
        "dialogues": [{"character": NAMES[number % 2], "message": line} for number, line in enumerate(lines)],
    }


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    path = tmp_path / "test_set.json"
    mine = [LONG.format("one"), f"[Hm.] {LONG.format('two')}", LONG.format("three")]
    cases = [case("Tess of the D’Urbervilles", 8, "id", *mine), case("“Emma”", 3, "ood", LONG.format("x"))]
    path.write_text(json.dumps(cases), "utf-8")
    return path


def transcript(book: str, *lines: str, setting: str = "") -> Transcript:
    turns = tuple(plain_turn(NAMES[number % 2], line) for number, line in enumerate(lines))
    cast = tuple(CastMember(name=name) for name in NAMES)
    return Transcript(scenario=Scenario(source=book, setting=setting), cast=cast, turns=turns)


def test_fingerprints_are_of_long_lines_whatever_their_spelling() -> None:
    line = "a" * 31
    assert splits.fingerprints(transcript("b", line)) == frozenset()
    (number,) = splits.fingerprints(transcript("b", line + "b"))
    assert 0 <= number < 2**63
    for other in (line.upper() + " B!", f"“{line}”, b"):
        assert splits.fingerprints(transcript("c", other)) == {number}
    assert splits.fingerprints(transcript("b", setting=line + "b")) == {number}
    assert len(splits.fingerprints(transcript("b", line + "b", line + "c"))) == 2


def test_thoughts_and_acts_are_not_compared() -> None:
    turn = parse(f"[{'a' * 40}] ({'b' * 40}) {'c' * 40}", "Ann", notation="coser")
    talk_of = transcript("b").model_copy(update={"turns": (turn,)})
    assert splits.fingerprints(talk_of) == splits.fingerprints(transcript("b", "c" * 40))


def test_the_facts_about_a_transcript() -> None:
    own = transcript("Les Misérables", LONG.format("one"))
    unit = splits.conversation(own, 5)
    assert (unit.id, unit.book, unit.turns, unit.lines) == (own.id, "lesmiserables", 5, splits.fingerprints(own))


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


def test_what_a_test_set_holds_out(test_set: Path) -> None:
    held = splits.read_held_out(test_set)
    tess, emma = "Tess of the D’Urbervilles-8-0", "“Emma”-3-0"
    assert (held.name, held.books) == ("test_set.json", {"emma"})
    assert held.cases == {("tessofthedurbervilles", 8, 0): tess, ("emma", 3, 0): emma}
    assert held.sizes == {tess: 3, emma: 1} and len(held.lines) == 4
    assert set(held.lines.values()) == {frozenset({tess}), frozenset({emma})}


def test_a_case_with_one_line_is_known_by_it(test_set: Path) -> None:
    held = splits.read_held_out(test_set)
    assert held.why_transcript(transcript("x", LONG.format("x"))).startswith("1 of its lines are those of case “Emma”-3-0")


def test_a_line_of_two_cases(tmp_path: Path) -> None:
    cases = [case("A", 1, "id", LONG.format("one")), case("B", 2, "id", LONG.format("one"), LONG.format("two"))]
    (tmp_path / "test_set.json").write_text(json.dumps(cases), "utf-8")
    held = splits.read_held_out(tmp_path / "test_set.json")
    assert sorted(map(sorted, held.lines.values())) == [["A-1-0", "B-2-0"], ["B-2-0"]]
    assert held.why_transcript(transcript("x", LONG.format("two"))) == ""
    assert "case A-1-0" in held.why_transcript(transcript("x", LONG.format("one")))


def test_one_case_is_a_test_set_without_whole_books(tmp_path: Path) -> None:
    (tmp_path / "test_set.json").write_text(json.dumps(case("A", 1, "ood", "Hi.")), "utf-8")
    assert splits.read_held_out(tmp_path / "test_set.json").books == frozenset()


def test_whole_books_can_be_held_out(test_set: Path) -> None:
    held = splits.read_held_out(test_set, whole_books=True)
    assert "holds out" in held.why_transcript(transcript("tess of the d'urbervilles", "Hi."))
