"""her/backends/openai_stream.py: an answer put together from the values that servers send. Faults: test_openai_http.py."""

from typing import Any

import pytest

from her.backends.base import Delta, Usage
from her.backends.openai_errors import ServerLabel
from her.backends.openai_stream import IDLE_BYTES, IDLE_VALUES, StreamedAnswer
from her.backends.wire import Arrival
from her.errors import BackendError

SERVER = ServerLabel("host", "m", "")


def chunk(text: Any = "", finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **fields}


def thinking(name: str, text: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "", name: text}}]}


def message(content: Any, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content, **fields}, "finish_reason": "stop"}]}


def read(*values: Any, event: str = "", ended: bool = False) -> tuple[str, str, str | None]:
    """Return text, reasoning and finish of an answer of these values."""
    answer = StreamedAnswer(SERVER, 100)
    deltas = [answer.add(Arrival(value, event)) for value in values]
    if ended:
        answer.add(Arrival(end=True))
    deltas.append(answer.last_delta())
    return "".join(one.text for one in deltas), "".join(one.reasoning for one in deltas), deltas[-1].finish


def failed(*values: Any, event: str = "", ended: bool = False) -> BackendError:
    with pytest.raises(BackendError) as caught:
        read(*values, event=event, ended=ended)
    return caught.value


STOP = chunk("", "stop")
PLANS: list[Any] = [
    *(thinking(name, "A plan.") for name in ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thought")),
    thinking("reasoning", {"content": "A plan."}),
    thinking("reasoning_details", [{"type": "reasoning.text", "text": "A plan."}, {"type": "reasoning.encrypted", "data": "x"}]),
    thinking("reasoning_details", [{"type": "reasoning.summary", "summary": "A plan."}]),
    thinking("thinking_blocks", [{"type": "thinking", "thinking": "A plan.", "signature": "x"}]),
    chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "A plan."}]}]),
    chunk([{"type": "reasoning", "text": "A plan."}]),
    {"choices": [{"delta": {"reasoning_content": "A plan.", "reasoning": "A plan."}}]},
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_under_every_name_is_read_once(plan: Any) -> None:
    assert read(plan, chunk("Hi."), STOP) == ("Hi.", "A plan.", "stop")


WHOLE: list[tuple[list[Any], str]] = [
    ([chunk("Hi."), STOP], "stop"),
    ([chunk([{"type": "text", "text": "Hi."}]), STOP], "stop"),
    ([chunk({"type": "text", "text": "Hi."}), STOP], "stop"),
    ([message("Hi.")], "stop"),
    ([message([{"type": "output_text", "text": "Hi."}])], "stop"),
    ([{"choices": [{"text": "Hi.", "finish_reason": "stop"}]}], "stop"),
    ([{"message": {"role": "assistant", "content": "Hi."}, "done": False}, {"message": {"content": ""}, "done": True}], "stop"),
    ([chunk("H"), chunk("i."), message("Hi.")], "stop"),
    ([chunk("Hi.", "MAX_TOKENS")], "length"),
    ([chunk("Hi.", "Model-Length")], "length"),
    ([chunk("Hi.", "")], ""),
    ([chunk("", "stop"), chunk("Hi."), chunk("", "length")], "length"),
    ([chunk("Hi.", "length"), STOP], "length"),
    ([chunk("Hi.", "stop"), {"error": "too late"}], "stop"),
    ([chunk("Hi."), {"choices": None}, {"choices": [None]}, {}, [], None, {"type": "ping"}, STOP], "stop"),
    ([chunk("Hi."), {"choices": [{"index": 1, "delta": {"content": "Ho."}, "finish_reason": "error"}]}, STOP], "stop"),
    ([chunk("Hi.", "stop"), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}], "stop"),
    ([[chunk("H"), chunk("i.")], STOP], "stop"),
]


@pytest.mark.parametrize(("values", "finish"), WHOLE)
def test_whole_answers(values: list[Any], finish: str) -> None:
    assert read(*values, ended=not finish) == ("Hi.", "", finish or "stop")


FAILURES: list[tuple[list[Any], str, str]] = [
    ([chunk("Hi."), chunk("", "error")], "broken_stream", "gave up"),
    ([chunk("Hi."), chunk("", "abort")], "broken_stream", "gave up"),
    ([chunk("Hi."), chunk("", "Content-Filter")], "bad_request", "content filter"),
    ([chunk("Hi."), chunk("", "SAFETY")], "bad_request", "content filter"),
    ([chunk("Hi.")], "broken_stream", "before the answer ended"),
    ([], "broken_stream", "before the answer ended"),
    ([STOP], "empty", "said nothing"),
    ([{"choices": [{"delta": {"tool_calls": [{}]}, "finish_reason": "tool_calls"}]}], "empty", "said nothing"),
    (
        [{"choices": [{"delta": {"refusal": "I can"}}]}, {"choices": [{"delta": {"refusal": "not."}}]}, STOP],
        "bad_request",
        "I cannot",
    ),
    ([chunk([{"type": "refusal", "refusal": "I cannot."}]), STOP], "bad_request", "refused to answer: I cannot"),
    ([{"choices": []}], "invalid_reply", "another protocol"),
    ([{"type": "ping"}], "invalid_reply", "another protocol"),
    ([chunk("a" * 101)], "endless", "did not stop"),
    ([{"error": {"message": "no", "code": 429}}], "rate_limited", "slow down"),
    ([{"error": {"message": "no", "code": "invalid_api_key"}}], "unauthorised", "key"),
    ([{"error": {"message": "no", "type": "rate_limit_error"}}], "rate_limited", "slow down"),
    ([{"error": "no"}], "server_error", "no"),
    ([{"errors": [{"message": "Overloaded"}]}], "rate_limited", "Overloaded"),
    ([{"object": "error", "message": "input too large", "code": 400}], "bad_request", "too large"),
    ([{"message": "input too large", "status": 400}], "bad_request", "too large"),
    ([{"detail": "Not Found"}], "invalid_reply", "another protocol; a chat completion was expected (Not Found)"),
    ([{"choices": [{"delta": {}, "error": {"message": "died", "code": 502}}]}], "server_error", "died"),
    ([chunk("Hi."), {"error": {"message": "died", "code": 502}}], "server_error", "died"),
]


@pytest.mark.parametrize(("values", "reason", "sentence"), FAILURES)
def test_failures(values: list[Any], reason: str, sentence: str) -> None:
    error = failed(*values)
    assert (error.reason, sentence in str(error)) == (reason, True), str(error)


@pytest.mark.parametrize("value", [{"message": "The engine is overloaded", "code": 503}, "The engine is overloaded"])
def test_an_event_called_error_is_one(value: Any) -> None:
    assert failed(value, event="error").reason == "rate_limited"


def test_usage_and_the_other_name_come_with_the_last_delta() -> None:
    answer = StreamedAnswer(SERVER, 100)
    answer.add(Arrival(chunk("Hi.", model="vendor/other")))
    answer.add(Arrival({"usage": {"prompt_tokens": 3, "completion_tokens": 2}}))
    answer.add(Arrival(end=True))
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    assert answer.last_delta() == Delta(finish="stop", usage=usage, model="vendor/other")


def test_a_surrogate_pair_over_two_chunks_is_one_character() -> None:
    answer = StreamedAnswer(SERVER, 100)
    assert [answer.add(Arrival(chunk(text))).text for text in ("a\ud83d", "\ude42b", "\ud83d")] == ["a", "\U0001f642b", ""]
    answer.add(Arrival(chunk("", "stop")))
    assert answer.last_delta().text == "\ufffd"


def test_bytes_without_a_word_are_counted_since_the_last_word() -> None:
    answer = StreamedAnswer(SERVER, 100)
    answer.count(IDLE_BYTES)
    answer.add(Arrival(chunk("Hi.")))
    answer.count(IDLE_BYTES)
    with pytest.raises(BackendError, match="MB without a word"):
        answer.count(IDLE_BYTES)


def test_pieces_without_a_word_are_counted_since_the_last_word() -> None:
    answer = StreamedAnswer(SERVER, 100)
    empty = Arrival([{"choices": []}] * IDLE_VALUES)
    for arrival in (empty, Arrival(chunk("Hi.")), empty):
        answer.add(arrival)
    with pytest.raises(BackendError, match="50,001 pieces without a word"):
        answer.add(Arrival({}))
