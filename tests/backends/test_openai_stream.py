"""her/backends/openai_stream.py: events as they stand on the wire, and chunks added one by one. Faults: test_openai_http.py."""

from typing import Any

import httpx2
import pytest

from her.backends.base import Delta, Usage
from her.backends.openai_errors import ServerLabel
from her.backends.openai_stream import StreamedAnswer, read_events
from her.errors import BackendError

SERVER = ServerLabel("host", "m", "")


def chunk(text: str = "", finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **fields}


async def test_only_data_lines_before_done_are_events() -> None:
    wire = b': ping\r\nevent: x\nid: 1\ndata: {"a": 1}\n\ndata:{"a": 2}\n\ndata:\n\ndata: [DONE]\n\ndata: {"a": 3}\n\n'
    response = httpx2.Response(200, content=wire)
    assert [event async for event in read_events(response)] == [{"a": 1}, {"a": 2}]


def test_text_finish_and_usage() -> None:
    answer = StreamedAnswer(SERVER, 100)
    assert answer.add_chunk({"choices": [{"delta": {"role": "assistant"}}]}) == Delta()
    assert not answer.begun
    assert answer.add_chunk(chunk("Hel")).text + answer.add_chunk(chunk("lo.", "length")).text == "Hello."
    answer.add_chunk({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    assert answer.last_delta() == Delta(finish="length", usage=Usage(prompt_tokens=3, completion_tokens=2))


def test_the_first_finish_reason_counts() -> None:
    answer = StreamedAnswer(SERVER, 100)
    answer.add_chunk(chunk("a", "length"))
    answer.add_chunk(chunk("", "stop"))
    assert answer.finish == "length"


def test_the_clock_starts_anew_with_each_text_only() -> None:
    answer = StreamedAnswer(SERVER, 100)
    answer.waited = 5.0
    answer.add_chunk(chunk(""))
    assert answer.waited == 5.0
    answer.add_chunk(chunk("a"))
    assert answer.waited == 0.0


def test_a_surrogate_pair_over_two_chunks_is_one_character() -> None:
    answer = StreamedAnswer(SERVER, 100)
    assert [answer.add_chunk(chunk(text)).text for text in ("a\ud83d", "\ude42b", "\ud83d")] == ["a", "\U0001f642b", ""]
    answer.add_chunk(chunk("", "stop"))
    assert answer.last_delta().text == "\ufffd"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "invalid_reply"),
        ({"detail": "x"}, "invalid_reply"),
        ({"choices": ["x"]}, "invalid_reply"),
        (chunk("a", model="another"), "invalid_reply"),
        (chunk("", "content_filter"), "bad_request"),
        (chunk("a" * 101), "endless"),
        ({"error": {"message": "no", "code": 429}}, "rate_limited"),
        ({"error": "no"}, "server_error"),
    ],
)
def test_chunks_that_are_failures(value: Any, reason: str) -> None:
    with pytest.raises(BackendError) as caught:
        StreamedAnswer(SERVER, 100).add_chunk(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("chunks", "reason"), [([], "broken_stream"), ([chunk("a")], "broken_stream"), ([chunk("", "stop")], "empty")]
)
def test_an_answer_without_end_or_text_is_a_failure(chunks: list[Any], reason: str) -> None:
    answer = StreamedAnswer(SERVER, 100)
    for value in chunks:
        answer.add_chunk(value)
    with pytest.raises(BackendError) as caught:
        answer.last_delta()
    assert caught.value.reason == reason
