"""her/backends/openai_errors.py: sentences without keys, and the reason of each failure. Statuses: test_openai_http.py."""

import json

import pytest

from her.backends.openai_errors import (
    ServerLabel,
    error_from_connection,
    error_from_event,
    error_from_exception,
    error_from_status,
    error_hints,
    server_message,
)
from her.errors import TooLong

SERVER = ServerLabel("host", "m", "sk-secret-of-mine")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": "model not found"}, "model not found"),
        ({"detail": [{"loc": ["body"]}]}, '[{"loc": ["body"]}]'),
        ({"message": "no"}, "no"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_servers_own_words(body: object, text: str) -> None:
    assert server_message(json.dumps(body).encode()) == text


@pytest.mark.parametrize(("content", "text"), [(b"busy", "busy"), (b"<!DOCTYPE html><p>x", ""), (b"\xff", "\ufffd")])
def test_words_that_are_not_json(content: bytes, text: str) -> None:
    assert server_message(content) == text


@pytest.mark.parametrize("secret", ["sk-secret-of-mine", "Bearer abcdef", "hf_abcdefghij", "AIza-abcdefghij"])
def test_keys_are_removed(secret: str) -> None:
    shown = SERVER.redact(f"the key {secret} is\nwrong")
    assert shown == "the key *** is wrong"


def test_long_words_are_cut() -> None:
    assert len(SERVER.redact("word " * 100)) == 240


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
)
def test_retry_after_in_seconds(header: str, seconds: float | None) -> None:
    assert error_from_status(429, SERVER, retry_after=header).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "429", "message": "x"}, "rate_limited"),
        ({"code": "model_not_found"}, "not_found"),
        ({"code": "invalid_api_key", "message": "x"}, "unauthorised"),
        ([{"message": "Rate limit reached"}], "rate_limited"),
        ({"message": "Insufficient Balance", "code": 402}, "unauthorised"),
        ({"message": "Loading model", "code": 503}, "rate_limited"),
        ({"message": "flagged by moderation", "code": 403}, "bad_request"),
        ({"code": 200}, "server_error"),
        ("text", "server_error"),
    ],
)
def test_errors_within_an_answer(error: object, reason: str) -> None:
    assert error_from_event(error, SERVER).reason == reason


@pytest.mark.parametrize(
    ("error", "begun", "reason", "sentence"),
    [
        (ConnectionRefusedError(), False, "unreachable", "connection refused"),
        (OSError("certificate verify failed"), False, "unreachable", "TLS certificate"),
        (OSError("reset"), True, "broken_stream", "before the answer ended"),
        (OSError("peer closed connection"), False, "broken_stream", "before the answer ended"),
        (OSError("reset"), False, "unreachable", "without an answer"),
    ],
)
def test_broken_connections(error: Exception, begun: bool, reason: str, sentence: str) -> None:
    failure = error_from_connection(error, SERVER, begun)
    assert failure.reason == reason and sentence in str(failure)


def test_the_cause_of_an_error_is_found_in_groups_and_circles() -> None:
    outer = OSError("outer")
    outer.__cause__ = ExceptionGroup("group", [ConnectionRefusedError()])
    outer.__cause__.__context__ = outer
    assert "connection refused" in str(error_from_connection(outer, SERVER, False))


def test_a_fault_of_this_program_is_raised_unchanged() -> None:
    with pytest.raises(KeyError):
        error_from_exception(KeyError("x"), SERVER)


TOO_LONG = [
    ("maximum context length is 4096 tokens. However, you requested 5000 tokens (2952 in the messages, 2048 in ...)", 4096, 2952),
    ("request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 4390),
    ("the request exceeds the available context size. try increasing the context size", 0, 0),
    ("prompt is too long: 210000 tokens > 200000 maximum", 200_000, 210_000),
    ("The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576, 1_100_000),
    ("`inputs` tokens + `max_new_tokens` must be <= 4,096. Given: 3000 `inputs` tokens", 4096, 0),
]


@pytest.mark.parametrize(("words", "context", "prompt"), TOO_LONG)
@pytest.mark.parametrize("status", [400, 413, 500])
def test_an_overflow_in_the_servers_words(words: str, context: int, prompt: int, status: int) -> None:
    error = error_from_status(status, SERVER, words)
    assert isinstance(error, TooLong) and "shorten the chat" in str(error)
    assert (error.context, error.prompt) == (context, prompt)


def test_an_overflow_named_by_fields_of_the_body() -> None:
    body = json.dumps({"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 4390, "n_ctx": 4096}})
    error = error_from_status(400, SERVER, "no", hints=error_hints(body.encode()))
    assert isinstance(error, TooLong) and (error.context, error.prompt) == (4096, 4390)


def test_a_limit_per_minute_is_no_overflow() -> None:
    assert (
        error_from_status(413, SERVER, "Request too large on tokens per minute: context window of the day").reason
        == "bad_request"
    )
