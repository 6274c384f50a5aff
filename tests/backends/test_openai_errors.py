"""her/backends/openai_errors.py: sentences without keys, and the reason of each failure. Statuses: test_openai_http.py."""

import json

import pytest

from her.backends.openai_errors import (
    ServerLabel,
    error_from_connection,
    error_from_event,
    error_from_exception,
    error_from_status,
    server_message,
)

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
        ({"code": "model_not_found"}, "server_error"),
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
