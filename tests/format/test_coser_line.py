"""her/format/coser_line.py: wherever the quick reader answers, it answers what the parser would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.format import coser_line as brackets
from her.format import parse
from her.format.parser import Parser
from her.types import Turn

WORDS = ["[", "]", "(", ")", "（", "）", " ", "a", "b.", "Tom", "Tom:", "Ann：", ":", "：", "汤姆", "\t", "\u2028", "\r", "é"]
MORE = ["<", "*", "`", "&", "\n", "\ud800"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
WILD = st.lists(st.sampled_from(WORDS + MORE), max_size=8).map("".join)


def slowly(text: str, speaker: str, others: tuple[str, ...]) -> Turn:
    parser = Parser(speaker, others, "coser")
    parser.feed(text)
    return parser.close("i")


@given(text=TEXT | WILD, speaker=st.sampled_from(["Tom", "汤姆", "[X]", "a"]), others=st.sampled_from([(), ("Ann",), ("b.", "")]))
def test_it_is_the_parsers_turn_or_none(text: str, speaker: str, others: tuple[str, ...]) -> None:
    expected = slowly(text, speaker, others)
    assert brackets.parse_coser_line(text, speaker, others, "i") in (None, expected)
    assert parse(text, speaker, others, "coser", turn_id="i") == expected


@pytest.mark.parametrize(
    "text",
    ["[I wait.] (nods) Aye.", "Aye, it is: late (sits) indeed.", "（点头）好。", "[only a thought]", "Words [and a thought]"],
)
def test_plain_lines_are_read_quickly(text: str) -> None:
    assert brackets.parse_coser_line(text, "Mara", ("Tom",), "i") == slowly(text, "Mara", ("Tom",))


@pytest.mark.parametrize("text", ["", " ", "[a [b] c]", "[open", "()", "[a] [b]", "Mara: x", "(a) Tom: x", "<b>", "*x*", "a\nb"])
def test_the_rest_is_left_to_the_parser(text: str) -> None:
    assert brackets.parse_coser_line(text, "Mara", ("Tom",), "i") is None
