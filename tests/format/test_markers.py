"""her/format/markers.py: spellings of names, and where a star or bracket counts."""

import pytest

from her.format.markers import HALF_ENTITY, WRAPPER, NameFinder, name_prefixes, sentence_starts, stands_free


def test_the_canonical_spelling_of_a_name_comes_first() -> None:
    assert name_prefixes("Ann") == ["Ann:", "Ann：", "**Ann**:", "**Ann**：", "**Ann:**", "**Ann：**"]


def test_the_longest_name_that_fits_counts() -> None:
    finder = NameFinder("Ann", ["Ann: the Elder", "Bo.b"])
    for text, found in (
        ("Ann: hi", "Ann:"),
        ("Ann: the Elder: hi", "Ann: the Elder:"),
        ("**Ann:** hi", "**Ann:**"),
        ("Bo.b：", "Bo.b："),
    ):
        match = finder.match(text)
        assert match and match[0] == found
    assert finder.match("Boxb: hi") is None and finder.match("ann: hi") is None
    assert finder.own == set(name_prefixes("Ann"))


@pytest.mark.parametrize(
    ("text", "may"),
    [("A", True), ("Ann", True), ("Ann:", True), ("Ann: ", True), ("Ann: x", False), ("*", True), ("**Ann:*", True), ("", False)],
)
def test_a_name_may_still_begin(text: str, may: bool) -> None:
    finder = NameFinder("Ann", ["Ann: the Elder"])
    assert finder.may_begin(text, 0) is may
    assert finder.may_begin("so " + text, 3) is may


def test_a_whole_spelling_does_not_wait() -> None:
    assert not NameFinder("Ann", []).may_begin("Ann:", 0) and not NameFinder("Ann", []).may_begin("**Ann**：", 0)


@pytest.mark.parametrize(
    ("run", "starts"),
    [
        ([], True),
        (["  "], True),
        (["He left.", " "], True),
        (["He left"], False),
        (["He left.", " and", "  "], False),
        (["“Go!”"], True),
        (["so\n"], True),
        (["so", "\n", " "], True),
        (["so \n\t"], True),
        (["你好。"], True),
        (["wait—"], True),
        (["a,"], False),
    ],
)
def test_a_sentence_may_start(run: list[str], starts: bool) -> None:
    assert sentence_starts(run) is starts


@pytest.mark.parametrize(
    ("bracket", "run", "free"),
    [
        ("(", [], True),
        ("(", ["f"], False),
        ("(", ["so "], True),
        ("(", ["so\n"], True),
        ("(", ["so", "*"], True),
        ("(", [":"], False),
        ("(", ["你好"], True),
        ("(", ["Go."], True),
        ("[", ["a", "1"], False),
        ("（", ["f"], True),
    ],
)
def test_a_bracket_stands_free(bracket: str, run: list[str], free: bool) -> None:
    assert stands_free(bracket, run) is free


def test_a_wrapper_names_a_language_in_one_word() -> None:
    for text, length in (("```xml\n<", 7), ("```", 3), ("```   \n", 6), ("```abcdefghijklm", 15), ("```a b", 5)):
        match = WRAPPER.match(text)
        assert match and match.end() == length


@pytest.mark.parametrize("half", ["&", "&a", "&am", "&amp", "&amp;", "&amp;amp;l", "&lt", "&g", "&gr", "&gra", "&grav", "&grave"])
def test_half_an_escape_at_the_end_is_not_shown(half: str) -> None:
    assert HALF_ENTITY.sub("", "so " + half) == "so "
    assert HALF_ENTITY.sub("", half + "x") == half + "x"
