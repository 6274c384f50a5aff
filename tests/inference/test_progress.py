"""Progress: the line of counters, on a terminal and elsewhere, and the numbers and forecast of a run with stages."""

import io
import logging
import re
import threading
from dataclasses import replace
from typing import Any

import pytest

from her.inference.budget import Prices, TokenCount
from her.inference.counters import Counters
from her.inference.progress import Progress, display, duration, progress_line
from her.store.ledger import Entry, StoredText

ENTRY = Entry(b"k" * 32, "s", "m", StoredText("x"), tier="failed", error="no", prompt_tokens=1_000_000, completion_tokens=500_000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def resumed() -> Counters:
    """Return the counters of a run that used half a million tokens before."""
    counters = Counters([], Prices(prompt=2, completion=4))
    counters.add_tokens(TokenCount(0, 500_000))
    return counters


def test_the_line_says_what_matters() -> None:
    counters = resumed()
    counters.recorded, counters.failed, counters.total = 10, 2, 100
    counters.add_answer(ENTRY)
    counters.add_retry("timeout")
    shot = counters.snapshot().model_copy(update={"rate": 2.0, "seconds_left": 43.5, "out": ("a", "b")})
    assert progress_line(shot) == (
        "13 of 100 calls (13%), 10 from the ledger, 2.0/s, 44 s left, 2,000,000 tokens, 6.00 spent, 2 failed, 1 unusable, "
        "1 asked again, out: a, b"
    )


def test_the_line_leaves_out_what_is_nothing() -> None:
    shot = Counters([], Prices()).snapshot()
    assert progress_line(shot) == "0 calls, 0.0/s, 0 tokens, 0 failed"
    assert progress_line(shot.model_copy(update={"total": 0})).startswith("0 of 0 calls (0%), ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3_600, "1 h 00 min"), (7_260, "2 h 01 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_elsewhere_it_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    counters, out = resumed(), io.StringIO()
    with caplog.at_level(logging.INFO, "her.inference.progress"), display(counters, 1, out):
        counters.add_answer(ENTRY)
    assert len(caplog.messages) == 1
    assert caplog.messages[-1].startswith("1 of 1 calls (100%)") and out.getvalue() == ""


def test_on_a_terminal_it_moves(caplog: pytest.LogCaptureFixture) -> None:
    counters, out = resumed(), Terminal()
    with caplog.at_level(logging.INFO), display([counters], 2, out):
        counters.add_answer(ENTRY)
        counters.add_answer(ENTRY)
    assert "2 of 2 calls (100%)" in out.getvalue() and not caplog.messages
    assert max(map(len, re.findall("━+", out.getvalue()))) == 40


def test_the_line_is_renewed_while_the_block_runs() -> None:
    """From a thread: the block may be busy."""
    counters, written = resumed(), threading.Event()

    class Noted(Terminal):
        def write(self, text: str) -> int:
            if "1 calls" in text:
                written.set()
            return super().write(text)

    with display(counters, None, Noted(), every=0.001):
        counters.add_answer(ENTRY)
        assert written.wait(60)


def test_the_display_ends_with_an_error_of_the_block() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="mine"), display(resumed(), None, io.StringIO()):
        raise ValueError("mine")
    assert threading.active_count() == before


class Clock:
    """The clock of progress and counters, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("her.inference.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def forecasts(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["forecast"] for line in lines if "forecast" in line]


def test_a_run_in_stages_is_forecast_once_a_stage(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    counters, lines = resumed(), []
    caplog.set_level(logging.INFO, "her.inference.progress")
    with Progress([counters], lambda **values: lines.append(values), pilot=2) as progress:
        counters.add_answer(replace(ENTRY, prompt_tokens=9))
        progress.tick("books", 1, 0)
        progress.expect("plans", 10)
        assert counters.total == 11
        for scene, size in enumerate((500_000, 1_500_000, 1, 1), 1):
            clock.now += 3
            counters.add_answer(replace(ENTRY, prompt_tokens=size))
            progress.tick("plans", scene, 4)
    (forecast,) = forecasts(lines)
    assert (forecast["pilot"], forecast["calls"], forecast["money"]) == (2, 10, 40.0)
    assert forecast["prompt_tokens"] == 10_000_000 and forecast["low"] < 40 < forecast["high"]
    assert forecast["seconds"] == 30
    said = [message for message in caplog.messages if message.startswith("forecast")]
    assert said == ["forecast for plans from 2 calls: 10 calls, 15,000,000 tokens, 40.00 in money (20.40 to 59.60), 30 s"]
    assert "plans: 4 done" in caplog.messages


def test_failed_calls_of_a_pilot_count_in_its_time(clock: Clock) -> None:
    counters, lines = resumed(), []
    progress = Progress([counters], lambda **values: lines.append(values), pilot=2)
    counters.failed = 7  # in an earlier stage
    progress.expect("plans", 1)
    clock.now += 8
    counters.failed += 2
    for _ in range(2):
        counters.add_answer(ENTRY)
    progress.tick("plans", 1, 4)
    (forecast,) = forecasts(lines)
    assert (forecast["pilot"], forecast["failed"], forecast["calls"], forecast["seconds"]) == (4, 2, 2, 4)


def test_a_stage_without_a_pilot_or_of_unknown_size_is_not_forecast(clock: Clock) -> None:
    for pilot, total in ((0, 4), (2, 0), (3, 4)):
        counters, lines = resumed(), []
        progress = Progress([counters], lambda lines=lines, **values: lines.append(values), pilot=pilot)
        for _ in range(2):
            counters.add_answer(ENTRY)
        progress.tick("plans", 1, total)
        assert forecasts(lines) == []


def test_numbers_are_noted_every_five_seconds_and_at_the_end_of_a_stage(clock: Clock) -> None:
    counters, lines = resumed(), []
    progress = Progress([counters], lambda **values: lines.append(values))
    for done in range(1, 9):
        counters.add_answer(ENTRY)
        progress.tick("plans", done, 8)
        clock.now += 2
    assert [line["done"] for line in lines] == [1, 4, 7, 8]
    assert lines[-1] == {
        "stage": "plans",
        "done": 8,
        "total": 8,
        "answered": 8,
        "recorded": 0,
        "failed": 0,
        "money": pytest.approx(34.0),
        "prompt_tokens": 8_000_000,
        "completion_tokens": 4_500_000,
        "rate": lines[-1]["rate"],
        "out": [],
    }


def test_all_callers_of_a_run_are_counted(clock: Clock) -> None:
    main, rewriter = resumed(), Counters([], Prices())
    progress = Progress([main, rewriter], lambda **values: None)
    rewriter.recorded, rewriter.total = 3, 99
    progress.expect("plans", 10)
    assert (main.total, rewriter.total) == (13, None)
    rewriter.latest.append(TokenCount(1, 1))
    progress.tick("other", 1, 2)
    assert not rewriter.latest, "a new stage begins with its own answers"
