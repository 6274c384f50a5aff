"""her/format/read.py: a whole text at once, native reasoning, and what a person typed."""

from her.format import parse, plain_turn, render
from her.types import Part
from tests.format.turns import NAME, parts_of


def test_reasoning_is_the_plan() -> None:
    turn = parse("Iago: hi", NAME, reasoning="I <think>\n")
    assert (turn.parts, turn.defects) == (parts_of("p:I <think>|s:hi"), ())
    both = parse("<think>q</think>Iago: hi", NAME, reasoning="p")
    assert both.parts == parts_of("p:p q|s:hi")
    assert "plan_repeated" in {defect.name for defect in both.defects}


def test_lone_surrogates_become_replacement_characters() -> None:
    assert parse("Iago: a\ud800b", NAME, reasoning="\udfff").raw == "Iago: a\ufffdb"
    assert plain_turn(NAME, "\ud800").text() == "\ufffd"


def test_plain_turn_is_literal() -> None:
    turn = plain_turn("Ann", " <role_thinking>I win</role_thinking> *bows* ")
    assert turn.parts == (Part(kind="speech", text="<role_thinking>I win</role_thinking> *bows*"),)
    assert turn.raw == " <role_thinking>I win</role_thinking> *bows* "
    assert render(turn.parts, "Ann") == "Ann: &lt;role_thinking>I win&lt;/role_thinking> *bows*"
    assert plain_turn("Ann", " \n").parts == ()
