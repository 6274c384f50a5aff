"""her/backends/openai_fields.py: tables of what servers write and how it is read."""

import math
from typing import Any

import pytest

from her.backends.base import CHOICES_KEPT, LEAST_LOGPROB, Usage
from her.backends.openai_fields import ending, parse_usage, reasoning_field, same_model, string_field, token_choices


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("stop", "stop"),
        ("FINISH_REASON_STOP", "stop"),
        ("tool_calls", "stop"),
        ("anything", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content-filter", "filtered"),
        ("Recitation", "filtered"),
        ("abort", "failed"),
        ("insufficient_system_resource", "failed"),
        (None, None),
        ("", None),
        ("null", None),
    ],
)
def test_finish_reasons_are_a_vocabulary(reason: object, end: str | None) -> None:
    assert ending(reason) == end


@pytest.mark.parametrize(
    ("message", "known", "text"),
    [
        ({"reasoning_content": "a"}, "", "a"),
        ({"reasoning": "b"}, "", "b"),
        ({"reasoning_content": "a", "reasoning": "a"}, "", "a"),
        ({"reasoning_content": None, "reasoning": "b"}, "", "b"),
        ({"reasoning_content": "a", "reasoning_details": [{"text": "b"}]}, "reasoning_details", "b"),
        ({"reasoning_content": "a"}, "reasoning", ""),
        ({}, "", ""),
        (None, "", ""),
        ("text", "", ""),
    ],
)
def test_reasoning_is_read_from_one_field(message: Any, known: str, text: str) -> None:
    assert reasoning_field(message, known)[1] == text


@pytest.mark.parametrize(("message", "text"), [({"content": "a"}, "a"), ({"content": None}, ""), ({"content": 1}, ""), ([], "")])
def test_a_field_that_is_not_text_is_empty(message: Any, text: str) -> None:
    assert string_field(message, "content") == text


@pytest.mark.parametrize("counts", [None, [], {}, {"prompt_tokens": 1}, {"prompt_tokens": "1", "completion_tokens": 2}])
def test_usage_that_is_not_whole_is_unknown(counts: Any) -> None:
    assert parse_usage(counts) is None


def test_usage() -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert parse_usage(counts) == Usage(prompt_tokens=3, completion_tokens=2)


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("llama3", "llama3:latest", True),
        ("Qwen/Qwen3-8B:fastest", "qwen3-8b", True),
        ("C:\\models\\her.gguf", "her", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("qwen3-8b", "llama3", False),
    ],
)
def test_same_model(name: str, other: str, same: bool) -> None:
    assert same_model(name, other) is same_model(other, name) is same


def token(text: Any = " A", logprob: Any = -0.1, **others: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, **others}


def test_the_last_tokens_are_kept_likeliest_first() -> None:
    listed = [token(str(place), 0) for place in range(40)]
    listed.append(token(" A", -2.0, top_logprobs=[token(" B", -0.2), token(" tie", -9999), "x", token(None)]))
    found = token_choices({"content": listed})
    assert len(found) == CHOICES_KEPT and found[0].text == str(41 - CHOICES_KEPT)
    assert found[-1].text == " A" and found[-1].logprobs == ((" B", -0.2), (" A", -2.0), (" tie", -9999.0))


@pytest.mark.parametrize("value", [-math.inf, -1e300])
def test_what_is_as_good_as_impossible_can_be_recorded(value: float) -> None:
    assert token_choices({"content": [token(logprob=value)]})[0].logprobs == ((" A", LEAST_LOGPROB),)


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "logprobs",
        {},
        {"content": None},
        {"content": {}},
        {"tokens": [" A"], "token_logprobs": [-0.1]},  # the old completions API
        {"content": [token(), None]},
        {"content": [token(logprob="-0.1")]},
        {"content": [token(logprob=True)]},
        {"content": [token(logprob=math.nan)]},
        {"content": [token(logprob=3.0)]},
        {"content": [token(text=7)]},
        {"content": [{"token": " A"}]},
    ],
)
def test_other_forms_give_none(given: Any) -> None:
    assert token_choices(given) == ()


def test_half_a_character_can_be_recorded() -> None:
    (found,) = token_choices({"content": [token("\ud83d", top_logprobs=[token("\ude00")])]})
    assert found.text == "�"
