"""Progress: what the line says, on a terminal and elsewhere."""

import io
import logging
from dataclasses import replace

import pytest

from her.inference.budget import Prices, Tokens
from her.inference.counters import Tally, snapshot_of
from her.inference.progress import Progress, clock, display, line
from her.store.ledger import Entry, StoredText

ENTRY = Entry(b"k" * 32, "s", "m", StoredText("x"), tier="failed", error="no", prompt_tokens=1_000_000, completion_tokens=500_000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tally() -> Tally:
    made = Tally([], Prices(prompt=2, completion=4))
    made.took(Tokens(0, 500_000))  # earlier times
    return made


def test_the_line_says_what_matters() -> None:
    counts = tally()
    counts.recorded, counts.failed, counts.total = 10, 2, 100
    counts.fresh(ENTRY)
    counts.retried("timeout")
    shot = counts.snapshot().model_copy(update={"rate": 2.0, "seconds_left": 43.5, "out": ("a",)})
    assert line(shot) == (
        "13 of 100 calls (13%), 10 from the ledger, 2.0/s, 44 s left, 2,000,000 tokens, 6.00 spent, 2 failed, 1 unusable, "
        "1 asked again, out: a"
    )


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")])
def test_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_elsewhere_it_is_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    counts, out = tally(), io.StringIO()
    with caplog.at_level(logging.INFO, "her.inference.progress"), display(counts, 1, out):
        counts.fresh(ENTRY)
    assert caplog.messages[-1].startswith("1 of 1 calls") and out.getvalue() == ""


def test_on_a_terminal_it_moves(caplog: pytest.LogCaptureFixture) -> None:
    counts, out = tally(), Terminal()
    with caplog.at_level(logging.INFO), display(counts, 2, out):
        counts.fresh(ENTRY)
    assert "1 of 2 calls (50%)" in out.getvalue() and "━" in out.getvalue() and not caplog.messages


def test_the_rate_is_that_of_answers_from_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("her.inference.counters.time.monotonic", lambda: now)
    counts = tally()
    counts.recorded, counts.total = 1_000, 1_100
    for _ in range(10):
        now += 2
        for _ in range(4):
            counts.fresh(ENTRY)
        shot = counts.snapshot()
    assert shot.rate == pytest.approx(2.0) and shot.seconds_left == pytest.approx(30.0)


def test_two_callers_of_one_run_are_shown_as_one() -> None:
    """What the ledger had before is told to both, and counts once; each has its own prices."""
    one, other = Tally([], Prices(prompt=2, completion=4)), Tally([], Prices(prompt=10))
    for each in (one, other):
        each.earlier(Tokens(1_000_000, 0), {"plain": 3})
    one.fresh(ENTRY)
    other.fresh(ENTRY)
    other.recorded, one.total = 5, 20
    one.retried("timeout")
    other.retried("timeout")
    shot = snapshot_of([one, other])
    assert (shot.answered, shot.recorded, shot.failed, shot.unusable, shot.total) == (2, 5, 0, 2, 20)
    assert (shot.prompt_tokens, shot.completion_tokens, shot.money) == (3_000_000, 1_000_000, 2 + 4 + 10)
    assert (shot.tiers, shot.retries) == ({"plain": 3, "failed": 2}, {"timeout": 2})
    timed = {"seconds", "rate", "seconds_left"}
    assert snapshot_of([one]).model_dump(exclude=timed) == one.snapshot().model_dump(exclude=timed)


def test_a_run_in_stages_notes_its_numbers_and_is_forecast_once(caplog: pytest.LogCaptureFixture) -> None:
    counts, lines = tally(), []
    with caplog.at_level(logging.INFO, "her.inference.progress"):
        with Progress([counts], lambda **values: lines.append(values), pilot=2) as progress:
            counts.fresh(replace(ENTRY, prompt_tokens=9))
            progress.tick("books", 1, 0)
            progress.expect("plans", 10)
            for scene, size in enumerate((500_000, 1_500_000, 1, 1), 1):
                counts.fresh(replace(ENTRY, prompt_tokens=size))
                progress.tick("plans", scene, 4)
        assert counts.total == 11
    forecasts = [line["forecast"] for line in lines if "forecast" in line]
    assert [(one["pilot"], one["calls"], one["money"]) for one in forecasts] == [(2, 10, 40.0)]
    assert forecasts[0]["prompt_tokens"] == 10_000_000 and forecasts[0]["low"] < 40 < forecasts[0]["high"]
    numbers = [(line["stage"], line["done"], line["answered"]) for line in lines if "done" in line]
    assert numbers == [("books", 1, 1), ("plans", 4, 5)]
    assert any(said.startswith("forecast for plans from 2 calls: 10 calls, 15,000,000 tokens, 40.00") for said in caplog.messages)
