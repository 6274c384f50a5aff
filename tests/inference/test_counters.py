"""The counters of one caller, and those of a run with several callers of one ledger."""

import pytest

from her.inference.budget import Prices, TokenCount
from her.inference.counters import LATEST, Counters, snapshot_of_run
from her.inference.endpoints import Endpoint
from her.store.ledger import Entry, StoredText
from tests.inference.test_endpoints import LIMITS, SilentBackend, failure

ENTRY = Entry(b"k" * 32, "s", "m", StoredText("x"), tier="failed", error="no", prompt_tokens=1_000_000, completion_tokens=500_000)


class Clock:
    """The clock of the counters, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("her.inference.counters.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_everything_is_counted(clock: Clock) -> None:
    endpoint, other = (Endpoint(SilentBackend(name), LIMITS) for name in "ab")
    counters = Counters([endpoint, other], Prices(prompt=2, completion=4))
    endpoint.take(0)
    other.finish(other.take(0), failure("unauthorised"), 0)
    counters.model, counters.total, counters.recorded, counters.failed = "m", 10, 2, 1
    counters.add_earlier(TokenCount(0, 500_000), {"plain": 1})
    counters.add_answer(ENTRY)
    counters.add_answer(Entry(b"l" * 32, "s", "m", StoredText("free text")))
    counters.add_tokens(TokenCount(1, 2))
    for reason in ("timeout", "timeout", "empty"):
        counters.add_retry(reason)
    clock.now += 5
    shot = counters.snapshot()
    assert (shot.model, shot.total, shot.answered, shot.recorded, shot.failed, shot.done) == ("m", 10, 2, 2, 1, 5)
    assert (shot.tiers, shot.unusable, shot.retries) == ({"plain": 1, "failed": 1}, 1, {"timeout": 2, "empty": 1})
    assert (shot.prompt_tokens, shot.completion_tokens) == (1_000_001, 1_000_002)
    assert shot.money == pytest.approx(6.00001)
    assert (shot.seconds, shot.rate, shot.seconds_left) == (5, pytest.approx(2 / 5), pytest.approx(5 / 0.4))
    assert shot.in_flight == {"openai:http://a/v1#m": 1, "openai:http://b/v1#m": 0}
    assert shot.out == ("openai:http://b/v1#m",)
    assert counters.spent_since_start == (1_000_001, 500_002) and counters.tiers_since_start == {"failed": 1}


def test_the_latest_answers_are_kept_one_by_one() -> None:
    counters = Counters([], Prices())
    for number in range(LATEST + 5):
        counters.add_answer(Entry(b"k" * 32, "s", "m", StoredText("x"), prompt_tokens=number))
    assert len(counters.latest) == LATEST and counters.latest[0] == (5, 0)


def test_the_rate_is_that_of_answers_from_endpoints(clock: Clock) -> None:
    counters = Counters([], Prices())
    counters.recorded, counters.total = 1_000, 1_100
    for _ in range(10):
        clock.now += 2
        for _ in range(4):
            counters.add_answer(ENTRY)
        shot = counters.snapshot()
    assert shot.rate == pytest.approx(2.0) and shot.seconds_left == pytest.approx(30.0)


def test_the_rate_is_that_of_the_last_half_minute(clock: Clock) -> None:
    counters = Counters([], Prices())
    for answers in (100, 0):  # a fast minute and an idle one
        for _ in range(60):
            clock.now += 1.5
            for _ in range(answers):
                counters.add_answer(ENTRY)
            rate = counters.snapshot().rate
        assert rate == pytest.approx(answers / 1.5)


def test_looks_within_a_second_do_not_shorten_the_time_of_the_rate(clock: Clock) -> None:
    counters = Counters([], Prices())
    for _ in range(200):
        clock.now += 0.25
        counters.snapshot()
    counters.add_answer(ENTRY)
    assert counters.snapshot().rate == pytest.approx(1 / 37.5, rel=0.05)


def test_the_time_left_is_unknown_without_a_total_or_a_rate(clock: Clock) -> None:
    counters = Counters([], Prices())
    clock.now += 2
    counters.total = 10
    assert counters.snapshot().rate == 0 and counters.snapshot().seconds_left is None
    counters.add_answer(ENTRY)
    counters.total = None
    assert counters.snapshot().seconds_left is None
    counters.total = 0
    assert counters.snapshot().seconds_left == 0, "more calls than expected"


def test_two_callers_of_one_run_are_shown_as_one(clock: Clock) -> None:
    """Earlier starts are reported to both, and count once; each has its own prices."""
    main = Counters([Endpoint(SilentBackend("a"), LIMITS)], Prices(prompt=2, completion=4))
    rewriter = Counters([Endpoint(SilentBackend("a"), LIMITS), Endpoint(SilentBackend("b"), LIMITS)], Prices(prompt=10))
    main.model, rewriter.model = "m", "r"
    clock.now += 2
    for counters in (main, rewriter):
        counters.add_earlier(TokenCount(1_000_000, 0), {"plain": 3})
        counters.add_answer(ENTRY)
        counters.add_retry("timeout")
        for endpoint in counters._endpoints:
            endpoint.take(0)
            endpoint.lost = failure("not_found")
    rewriter.recorded, rewriter.failed, main.total = 5, 1, 20
    shot = snapshot_of_run([main, rewriter])
    assert (shot.answered, shot.recorded, shot.failed, shot.unusable, shot.total) == (2, 5, 1, 2, 20)
    assert (shot.prompt_tokens, shot.completion_tokens, shot.money) == (3_000_000, 1_000_000, 2 + 4 + 10)
    assert (shot.model, shot.tiers, shot.retries) == ("m", {"plain": 3, "failed": 2}, {"timeout": 2})
    assert (shot.rate, shot.seconds, shot.seconds_left) == (1, 2, 12)
    assert shot.in_flight == {"openai:http://a/v1#m": 2, "openai:http://b/v1#m": 1}
    assert shot.out == ("openai:http://a/v1#m", "openai:http://b/v1#m")
    rewriter.total = 1
    assert snapshot_of_run([main, rewriter]).total == 21
    main.total = rewriter.total = None
    assert snapshot_of_run([main, rewriter]).total is None
    assert snapshot_of_run([main]) == main.snapshot()
