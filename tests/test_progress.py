"""Progress: what the line says, on a terminal and elsewhere."""

import io
import logging

import pytest

from her.progress import clock, display, line
from her.spending import Prices, Tokens
from her.store.ledger import Entry, Said
from her.tally import Tally

ENTRY = Entry(b"k" * 32, "s", "m", Said("x"), tier="failed", error="no", prompt_tokens=1_000_000, completion_tokens=500_000)


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
    with caplog.at_level(logging.INFO, "her.progress"), display(counts, 1, out):
        counts.fresh(ENTRY)
    assert caplog.messages[-1].startswith("1 of 1 calls") and out.getvalue() == ""


def test_on_a_terminal_it_moves(caplog: pytest.LogCaptureFixture) -> None:
    counts, out = tally(), Terminal()
    with caplog.at_level(logging.INFO), display(counts, 2, out):
        counts.fresh(ENTRY)
    assert "1 of 2 calls (50%)" in out.getvalue() and "━" in out.getvalue() and not caplog.messages


def test_the_rate_is_that_of_answers_from_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("her.tally.time.monotonic", lambda: now)
    counts = tally()
    counts.recorded, counts.total = 1_000, 1_100
    for _ in range(10):
        now += 2
        for _ in range(4):
            counts.fresh(ENTRY)
        shot = counts.snapshot()
    assert shot.rate == pytest.approx(2.0) and shot.seconds_left == pytest.approx(30.0)
