"""her/backends/openai_fields.py: tables of what servers write and how it is read."""

from typing import Any

import pytest

from her.backends.base import Usage
from her.backends.openai_fields import finish_reason, parse_usage, reasoning_text, same_model, string_field


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("length", "length"), ("max_tokens", "length"), ("tool_calls", "stop"), (None, "stop")],
)
def test_finish_reasons(reason: object, finish: str) -> None:
    assert finish_reason(reason) == finish


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"reasoning_content": "a"}, "a"),
        ({"reasoning": "b"}, "b"),
        ({"reasoning_content": "a", "reasoning": "a"}, "a"),
        ({"reasoning_content": None, "reasoning": "b"}, "b"),
        ({}, ""),
        (None, ""),
        ("text", ""),
    ],
)
def test_reasoning_under_either_name_is_read_once(message: Any, text: str) -> None:
    assert reasoning_text(message) == text


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
