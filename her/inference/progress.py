"""What is seen of many calls while they go: a moving display on a terminal, a line now and then elsewhere.

    with display(caller.tally, total=5_000):
        async for answer in ask_all(caller, calls): ...

and of a run that asks in stages, also lines of numbers for `metrics.jsonl` and a forecast after the pilot:

    with Progress([caller.tally], run.metric, pilot=50) as progress:
        progress.expect("judging", 5_000)
        progress.tick("judging", done=1, total=2_500)
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, Self, TextIO

from her.inference.budget import forecast
from her.inference.counters import CountersSnapshot, Tally, snapshot_of

log = logging.getLogger(__name__)
ON_TERMINAL, ELSEWHERE = 0.25, 15.0
"""Seconds between two looks."""
IN_METRICS = 5.0
"""Seconds between two lines of `metrics.jsonl`."""


class Metric(Protocol):
    """Takes one line of numbers, such as `her.runs.open_run.Run.log_metric`."""

    def __call__(self, **values: Any) -> None: ...


@contextmanager
def display(
    tally: Tally | Sequence[Tally], total: int | None = None, out: TextIO | None = None, every: float | None = None
) -> Iterator[None]:
    """Show a tally, or those of one run together, until the block ends, then once more.

    Args:
        total: calls expected, for the time left.
        out: where to; standard error by default. A terminal gets a moving line, anything else log lines.
        every: seconds between two looks.
    """
    tallies = [tally] if isinstance(tally, Tally) else list(tally)
    tallies[0].total = total
    stream = out or sys.stderr
    if stream.isatty():
        with _moving(stream) as show:
            with _watching(tallies, show, every or ON_TERMINAL):
                yield
            show(snapshot_of(tallies))
    else:
        with _watching(tallies, _log, every or ELSEWHERE):
            yield
        _log(snapshot_of(tallies))


def line(shot: CountersSnapshot) -> str:
    """One line: done, rate, time left, cost, failures, and what is unusual."""
    done = shot.answered + shot.recorded + shot.failed
    said = [
        f"{done:,} of {shot.total:,} calls ({done / max(1, shot.total):.0%})" if shot.total is not None else f"{done:,} calls"
    ]
    said += [f"{shot.recorded:,} from the ledger"] if shot.recorded else []
    said += [f"{shot.rate:.1f}/s"]
    said += [f"{clock(shot.seconds_left)} left"] if shot.seconds_left is not None else []
    said += [f"{shot.prompt_tokens + shot.completion_tokens:,} tokens"]
    said += [f"{shot.money:.2f} spent"] if shot.money else []
    said += [f"{shot.failed:,} failed"]
    said += [f"{shot.unusable:,} unusable"] if shot.unusable else []
    said += [f"{sum(shot.retries.values()):,} asked again"] if shot.retries else []
    said += [f"out: {', '.join(shot.out)}"] if shot.out else []
    return ", ".join(said)


def clock(seconds: float) -> str:
    """Seconds in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _log(shot: CountersSnapshot) -> None:
    log.info("%s", line(shot))


@contextmanager
def _watching(tallies: Sequence[Tally], show: Callable[[CountersSnapshot], None], every: float) -> Iterator[None]:
    """Look from a thread of its own, so that a busy loop is seen as well."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            show(snapshot_of(tallies))

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _moving(stream: TextIO) -> Iterator[Callable[[CountersSnapshot], None]]:
    """A bar and the line under it, which a narrow terminal wraps."""
    from rich.console import Console, Group  # a tenth of a second, needed on a terminal only
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False) as live:

        def show(shot: CountersSnapshot) -> None:
            done = shot.answered + shot.recorded + shot.failed
            live.update(Group(ProgressBar(total=shot.total, completed=done, width=40), Text(line(shot))), refresh=True)

        yield show


class Progress:
    """A run that asks in stages; a context manager, within which its calls are shown. `tick` after every piece of work.

    Args:
        tallies: of all callers of the run, which have one ledger.
        metric: takes the lines of numbers.
        pilot: so many answers of a stage, and the rest of it is forecast; 0 never.
    """

    def __init__(self, tallies: Sequence[Tally], metric: Metric, pilot: int = 0) -> None:
        self._tallies, self._metric, self._pilot = tallies, metric, pilot
        self._noted = self._began = 0.0
        self._stack = ExitStack()
        self._stage = self._forecast_of = ""
        self._before = snapshot_of(tallies)
        self._expected: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(display(self._tallies))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def expect(self, stage: str, calls: int) -> None:
        """A stage begins, which has at least so many questions."""
        shot = snapshot_of(self._tallies)
        self._expected[stage] = calls
        self._begin(stage, shot)
        for tally in self._tallies:
            tally.total = None
        self._tallies[0].total = shot.answered + shot.recorded + shot.failed + calls

    def tick(self, stage: str, done: int, total: int) -> None:
        """A piece of work more is done. `total` 0: nobody knows how many there are."""
        now, shot = time.monotonic(), snapshot_of(self._tallies)
        if stage != self._stage:
            self._begin(stage, shot)
        self._foresee(stage, total, shot)
        last = bool(total) and done == total
        if last or now - self._noted > IN_METRICS:
            self._noted = now
            self._metric(stage=stage, done=done, total=total, **_numbers(shot))
        if last:
            log.info("%s: %d scenes", stage, done)

    def _begin(self, stage: str, shot: CountersSnapshot) -> None:
        self._stage, self._began, self._before = stage, time.monotonic(), shot
        for tally in self._tallies:
            tally.latest.clear()

    def _foresee(self, stage: str, total: int, shot: CountersSnapshot) -> None:
        """Once a stage has answered as many calls as a pilot: what the whole stage will take."""
        before = self._before
        answered = shot.answered - before.answered
        if not self._pilot or not total or self._forecast_of == stage or answered < self._pilot:
            return
        self._forecast_of = stage
        each, failed = [tokens for tally in self._tallies for tokens in tally.latest], shot.failed - before.failed
        calls = max(answered, self._expected.get(stage, 0))
        seconds = (time.monotonic() - self._began) * (len(each) + failed) / (answered + failed)
        seen = forecast(each, failed, calls, self._tallies[0].prices, seconds)
        told = f"{calls:,} calls, {seen.prompt_tokens + seen.completion_tokens:,} tokens, {seen.money:.2f} in money"
        told += f" ({seen.low:.2f} to {seen.high:.2f})" if seen.money else ""
        log.info("forecast for %s from %d calls: %s, %s", stage, answered, told, clock(seen.seconds))
        self._metric(stage=stage, forecast=seen.model_dump())


def _numbers(shot: CountersSnapshot) -> dict[str, Any]:
    names = ("answered", "recorded", "failed", "money", "prompt_tokens", "completion_tokens")
    return {name: getattr(shot, name) for name in names} | {"rate": round(shot.rate, 3), "out": list(shot.out)}
