"""The values of the store: hashes of prompts, prompts of continuations, what counts as an empty rating, and their limits."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from her.store import Rating, Seen
from her.store.records import LONGEST_COMMENT, LONGEST_SIGHT
from her.types import Message
from tests.store.samples import OPEN, PROMPT, SEEN, SHUT, generation, rating


def test_the_hash_of_a_prompt_is_that_of_roles_lengths_and_contents() -> None:
    text = "system\x0010\x00Play Iago.\x00user\x0021\x00Cassio: Good evening.\x00"
    assert generation().prompt_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert generation(raw="other", model="other").prompt_sha256 == generation().prompt_sha256
    joined = (Message(role="user", content="a\x00user\x001\x00b"),)
    apart = (Message(role="user", content="a"), Message(role="user", content="b"))
    assert generation(prompt=joined).prompt_sha256 != generation(prompt=apart).prompt_sha256


def test_the_prompt_of_a_continuation_ends_before_the_reply() -> None:
    begun = Message(role="assistant", content="Iago: And")
    assert generation().prompt == PROMPT
    assert generation(prompt=(*PROMPT, begun)).prompt == PROMPT
    assert generation(prompt=(begun, *PROMPT)).prompt == (begun, *PROMPT)
    assert generation(prompt=()).prompt == ()


@pytest.mark.parametrize(
    ("fields", "empty"),
    [
        ({}, True),
        ({"comment": " \n"}, True),
        ({"seen": Seen(dwell_ms=5)}, True),
        ({"thumb": 0}, False),
        ({"thumb": -1}, False),
        ({"stars": {"voice": 1}}, False),
        ({"tags": ("repeats",)}, False),
        ({"comment": "x"}, False),
    ],
)
def test_a_rating_that_says_nothing_is_empty(fields: dict[str, Any], empty: bool) -> None:
    assert rating(**fields).empty == empty


@pytest.mark.parametrize(
    "fields",
    [
        {"stars": {"voice": 0}},
        {"stars": {"voice": 6}},
        {"thumb": 2},
        {"thumb": -2},
        {"comment": "x" * 4_001},
        {"rubric": ""},
        {"seen": {"swipe_index": -1}},
        {"seen": {"swipe_count": 0}},
        {"seen": {"dwell_ms": -1}},
        {"seen": {"layout": "huge"}},
        {"other": 1},
    ],
)
def test_a_rating_outside_its_limits_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rating(**{"rubric": "r", **fields})


def sent(**fields: Any) -> str:
    """Return the JSON of a record of version 2 with other fields."""
    return json.dumps(SEEN.model_dump(mode="json") | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 3},
        {"version": 1},  # it has no sights
        {"sights": {}},
        {"sights": {"turn": {"open": True, "in_view": True, "ms": LONGEST_SIGHT + 1}}},
        {"sights": {"turn": {"open": True, "in_view": True, "ms": -1}}},
        {"sights": {"turn": {"open": 1, "in_view": True, "ms": 1.5}}},
        {"sights": {"turn": {"open": True, "in_view": True, "ms": 1, "more": 1}}},
        {"sights": {"turn": {"open": False, "in_view": True, "ms": 1}}},
        {"sights": {"speech": {"open": True, "in_view": True, "ms": 1}}},
        {"sights": {"chat": OPEN.model_dump(), "turn": OPEN.model_dump()}},
        {"sights": {"chat": OPEN.model_dump(), "speech": SHUT.model_dump()}},
        {"sights": {"turn": SHUT.model_dump(), "speech": {"open": True, "in_view": False, "ms": 1}}},
        {"sights": {"turn": SHUT.model_dump(), "speech": {"open": False, "in_view": False, "ms": 301}}},
        {"sights": {"turn": OPEN.model_dump(), "diary": OPEN.model_dump()}},
        {"dwell_ms": 1},
        {"swipe_index": 3},
        {"opened": ["speech"] * 5},
        {"browser": "not hexadecimal"},
        {"browser": "0" * 17},
        {"act": 2**53},
        {"act": -1},
    ],
)
def test_a_record_of_what_was_seen_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Seen.model_validate_json(sent(**fields))


def test_a_record_of_what_was_seen_tells_open_from_closed_and_from_unknown() -> None:
    seen = Seen.model_validate_json(sent(browser="0f" * 8, act=7))
    assert (seen.saw("speech"), seen.saw("system_thinking"), seen.saw("role_thinking")) == (True, False, None)
    old = Seen.model_validate_json('{"role_thinking": true, "opened": ["system_thinking"], "dwell_ms": 90000}')
    assert (old.version, old.saw("role_thinking"), old.saw("system_thinking"), old.dwell_ms) == (1, None, None, 90_000)
    chat = Seen.model_validate_json(sent(sights={"chat": OPEN.model_dump()}))
    assert chat.saw("chat") and chat.saw("turn") is None


def test_a_rating_at_its_limits_is_taken() -> None:
    stars = {"voice": 1, "engaging": 5}
    assert rating(1, stars, comment="x" * 4_000, seen=Seen()).stars == stars
    assert LONGEST_COMMENT == 4_000
    assert Seen() == Seen(swipe_index=0, swipe_count=1, layout="wide", dwell_ms=0)
