"""The key of a call covers all that determines its answer; an answer shows nothing of a failure but its error."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from her.inference.call import Answer, call_key
from her.inference.ledger_writer import RecordedGroup
from her.store.ledger import Entry, Failure, Ledger, StoredText
from her.types import Message, Sampling
from tests.inference.calls import Reply, call

KEY = b"k" * 32
GOOD = '{"text": "yes"}'


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "other"},
        {"version": "2"},
        {"number": 1},
        {"schema": Reply},
        {"sampling": Sampling(max_tokens=51)},
        {"sampling": Sampling(max_tokens=50, seed=1)},
        {"messages": (Message(role="user", content="Answer."), Message(role="user", content="t"))},
        {"messages": (Message(role="system", content="Answer.t"),)},
        {"messages": (Message(role="system", content="Answer.user 1 t"),)},
    ],
)
def test_everything_that_determines_the_answer_is_in_the_key(changes: dict[str, Any]) -> None:
    question = call("t", meta="x")
    assert call_key(question, "m") == call_key(replace(question, id="u", meta=None), "m")
    assert call_key(question, "m") != call_key(question, "n")
    assert call_key(question, "m") != call_key(replace(question, **changes), "m")


def test_the_key_of_a_call_is_the_same_in_every_version() -> None:
    """A ledger of an earlier version is resumed by these keys."""
    assert call_key(call("t\ud800"), "m").hex() == "a0f6c3f23888bcd3d4fac1688c579eb7b4a2e13292fe565acc1ce7e1269d4ec9"


def entry(**changes: Any) -> Entry:
    return Entry(KEY, "plans", "m", StoredText("said", "thought"), **changes)


def test_an_answer_without_a_schema_is_text() -> None:
    answer = Answer(call("t"), entry())
    assert (answer.text, answer.reasoning, answer.tier, answer.error, answer.reason) == ("said", "thought", "", "", "")
    assert answer.value is None and not answer.truncated and not answer.recorded
    assert Answer(call("t"), entry(finish="length")).truncated


def test_a_failure_has_an_error_and_nothing_else() -> None:
    answer = Answer(call("t"), None, Failure(KEY, "plans", "t", "timeout", "too late"))
    assert (answer.error, answer.reason, answer.text, answer.reasoning, answer.tier) == ("too late", "timeout", "", "", "")
    assert answer.value is None and answer.entry is None and not answer.truncated


def test_an_answer_that_misses_its_schema_shows_no_content() -> None:
    answer = Answer(call("t", schema=Reply), entry(error="does not fit", tier="failed"))
    assert (answer.text, answer.reasoning, answer.value) == ("", "", None)
    assert (answer.error, answer.reason, answer.tier) == ("does not fit", "invalid_reply", "failed")


def test_the_value_is_read_once_from_the_corrected_text() -> None:
    content = StoredText("Here: {'text': 'yes'}", fixed=GOOD)
    answer = Answer(call("t", schema=Reply), Entry(KEY, "plans", "m", content, tier="repaired"))
    assert answer.value == Reply(text="yes") and answer.value is answer.value
    assert Answer(call("t", schema=Reply), Entry(KEY, "plans", "m", StoredText(GOOD), tier="server")).value == Reply(text="yes")


def test_a_recorded_answer_is_read_when_it_is_used(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite3") as ledger:
        ledger.write([entry()])
        group = RecordedGroup(ledger, [KEY])
        answer = Answer(call("t"), (group, KEY), recorded=True)
        copy = answer.for_call(call("u"))
        assert group._entries is None, "nothing is read before it is used"
        assert (copy.text, copy.call.id, copy.recorded) == ("said", "u", True)
        assert answer.entry is group.read(KEY)
