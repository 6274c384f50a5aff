"""Structured answers: which text gives a value, by which tier, and what is refused."""

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from her.inference.structured import Tier, parse_structured, repair_messages, strict_schema, value_of
from her.types import Message


class Turn(BaseModel):
    speaker: str
    text: str = ""


class Enhanced(BaseModel):
    turns: list[Turn]
    default: bool = False


GOOD = '{"turns": [{"speaker": "Iago", "text": "I am not what I am."}], "default": false}'


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        (GOOD, "server"),
        (f"```json\n{GOOD}\n```", "plain"),
        (f"<think>The turns {{so many}} come first: [1, 2].</think>\n{GOOD}", "plain"),
        (f'<think>{{"turns": []}} would be empty.</think>{GOOD}', "plain"),
        (f"<think>{GOOD}</think>I would rather not.", "failed"),
        (f"<think>{GOOD} and on", "failed"),
        (f"Here you are:\n{GOOD}\nIs that right?", "plain"),
        (f"[{GOOD}]", "failed"),
        (GOOD.replace("not what", "not\nwhat"), "plain"),  # a line break within a string
        (GOOD.replace('"default": false', '"default": false,'), "repaired"),
        (GOOD.replace('"', "'"), "repaired"),
        (GOOD[:-1], "repaired"),
        (GOOD[:-2], "failed"),  # `fals` is nothing
        ('{"turns": [{"speaker": "Iago" "text": "x"}]}', "repaired"),
        ("I am sorry, I cannot do that.", "failed"),
        ("I cannot do [that].", "failed"),
        ("", "failed"),
        ("{}", "failed"),
        ('{"turns": "none"}', "failed"),
        ("{" * 1_100, "failed"),
        ("[" * 1_100, "failed"),
        ('{"turns": [{"speaker": "\ud800"}]}', "failed"),
    ],
)
def test_tiers(text: str, tier: Tier) -> None:
    gc.disable()  # a finaliser that runs where the decoder has used up the recursion limit fails, and pytest reports it here
    try:
        reading = parse_structured(text, Enhanced, truncated=False, held=True)
    finally:
        gc.enable()
    assert reading.tier == tier
    if tier == "failed":
        assert reading.problem
    else:
        value = value_of(reading.fixed or text, Enhanced)
        assert isinstance(value, Enhanced) and value.turns[0].speaker == "Iago"


def test_a_value_as_it_stands_is_not_made_again() -> None:
    assert parse_structured(GOOD, Enhanced, truncated=False, held=False).tier == "plain"
    assert parse_structured(GOOD, Enhanced, truncated=False, held=False).fixed == ""


def test_what_was_cut_off_is_never_repaired() -> None:
    reading = parse_structured('{"turns": [{"speaker": "Iago", "text": "I am not wh', Enhanced, truncated=True, held=True)
    assert reading.tier == "failed" and "cut off" in reading.problem


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet='{}[]":, abturnsspeaker\n\\', max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    reading = parse_structured(text, Enhanced, truncated=False, held=False)
    assert (reading.tier == "failed") == bool(reading.problem)
    if reading.tier != "failed":
        assert isinstance(value_of(reading.fixed or text, Enhanced), Enhanced)


def test_the_schema_for_servers_leaves_nothing_open() -> None:
    schema = strict_schema(Enhanced)
    assert schema["required"] == ["turns", "default"] and schema["additionalProperties"] is False
    turn = schema["$defs"]["Turn"]
    assert turn["required"] == ["speaker", "text"] and turn["additionalProperties"] is False
    assert "default" not in turn["properties"]["text"]


def test_the_second_question_shows_the_first_answer_and_the_schema() -> None:
    first = (Message(role="user", content="Enhance this."),)
    asked = repair_messages(first, "no", "turns: Field required", Enhanced)
    assert asked[0] is first[0] and [one.role for one in asked] == ["user", "assistant", "user"]
    assert asked[1].content == "no"
    assert "turns: Field required" in asked[2].content and json.dumps(strict_schema(Enhanced)) in asked[2].content
