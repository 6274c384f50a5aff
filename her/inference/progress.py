"""Show the progress of many calls: a moving display on a terminal, log lines elsewhere.

    with display(caller.counters, total=5_000):
        async for answer in ask_all(caller, calls): ...

A run with stages also writes its numbers to `metrics.jsonl`, and a forecast after the pilot of each stage:

    with Progress([caller.counters], run.log_metric, pilot=50) as progress:
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
from her.inference.counters import Counters, CountersSnapshot, snapshot_of_run

log = logging.getLogger(__name__)
TERMINAL_SECONDS, LOG_SECONDS = 0.25, 15.0
"""Seconds between two updates."""
METRIC_SECONDS = 5.0
"""Seconds between two lines of `metrics.jsonl`."""


class Metric(Protocol):
    """Writer of one line of numbers, such as `her.runs.open_run.Run.log_metric`."""

    def __call__(self, **values: Any) -> None:
        """Write the line."""
        ...


@contextmanager
def display(
    counters: Counters | Sequence[Counters], total: int | None = None, out: TextIO | None = None, every: float | None = None
) -> Iterator[None]:
    """Show the counters of a run until the block ends, then once more.

    Args:
        counters: of one caller, or of all callers of the run.
        total: expected calls, for the time left.
        out: stream; standard error by default. A terminal gets a moving line, anything else log lines.
        every: seconds between two updates.
    """
    counters = [counters] if isinstance(counters, Counters) else list(counters)
    counters[0].total = total
    stream = out or sys.stderr
    if stream.isatty():
        with _moving(stream) as show:
            with _updating(counters, show, every or TERMINAL_SECONDS):
                yield
            show(snapshot_of_run(counters))
    else:
        with _updating(counters, _log, every or LOG_SECONDS):
            yield
        _log(snapshot_of_run(counters))


def progress_line(shot: CountersSnapshot) -> str:
    """Return one line: calls done, rate, time left, cost, failures; zeros that are the rule are left out."""
    done = shot.done
    parts = [
        f"{done:,} of {shot.total:,} calls ({done / max(1, shot.total):.0%})" if shot.total is not None else f"{done:,} calls"
    ]
    parts += [f"{shot.recorded:,} from the ledger"] if shot.recorded else []
    parts += [f"{shot.rate:.1f}/s"]
    parts += [f"{duration(shot.seconds_left)} left"] if shot.seconds_left is not None else []
    parts += [f"{shot.prompt_tokens + shot.completion_tokens:,} tokens"]
    parts += [f"{shot.money:.2f} spent"] if shot.money else []
    parts += [f"{shot.failed:,} failed"]
    parts += [f"{shot.unusable:,} unusable"] if shot.unusable else []
    parts += [f"{sum(shot.retries.values()):,} asked again"] if shot.retries else []
    parts += [f"out: {', '.join(shot.out)}"] if shot.out else []
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as text, such as `2 h 01 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _log(shot: CountersSnapshot) -> None:
    log.info("%s", progress_line(shot))


@contextmanager
def _updating(counters: Sequence[Counters], show: Callable[[CountersSnapshot], None], every: float) -> Iterator[None]:
    """Show the counters regularly, from a thread: a blocked event loop must be visible as well."""
    ended = threading.Event()

    def update() -> None:
        while not ended.wait(every):
            show(snapshot_of_run(counters))

    thread = threading.Thread(target=update, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _moving(stream: TextIO) -> Iterator[Callable[[CountersSnapshot], None]]:
    """Open a bar with a line of text below it, which a narrow terminal wraps."""
    from rich.console import Console, Group  # 0.1 s to import, needed on a terminal only
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False) as live:  # `_updating` has a thread already

        def show(shot: CountersSnapshot) -> None:
            bar = ProgressBar(total=shot.total, completed=shot.done, width=40)
            live.update(Group(bar, Text(progress_line(shot))), refresh=True)

        yield show


class Progress:
    """Progress of a run with stages. A context manager that displays the calls; call `tick` after each piece of work.

    Args:
        counters: of all callers of the run, which share one ledger.
        metric: writes the lines of numbers.
        pilot: answers of a stage after which the rest of it is forecast; 0 for no forecast.
    """

    def __init__(self, counters: Sequence[Counters], metric: Metric, pilot: int = 0) -> None:
        self._counters, self._metric, self._pilot = counters, metric, pilot
        self._noted_at = self._began = 0.0
        self._stack = ExitStack()
        self._stage = self._forecast_stage = ""
        self._before = snapshot_of_run(counters)
        self._expected: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(display(self._counters))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def expect(self, stage: str, calls: int) -> None:
        """Begin a stage that has at least so many calls."""
        shot = snapshot_of_run(self._counters)
        self._expected[stage] = calls
        self._begin(stage, shot)
        for counters in self._counters:
            counters.total = None
        self._counters[0].total = shot.done + calls

    def tick(self, stage: str, done: int, total: int) -> None:
        """Note that `done` of `total` pieces of work are finished; `total` 0 if their number is unknown."""
        now, shot = time.monotonic(), snapshot_of_run(self._counters)
        if stage != self._stage:  # a stage without calls was not announced by `expect`
            self._begin(stage, shot)
        self._forecast(stage, total, shot)
        last = bool(total) and done == total
        if last or now - self._noted_at > METRIC_SECONDS:
            self._noted_at = now
            self._metric(stage=stage, done=done, total=total, **_numbers(shot))
        if last:
            log.info("%s: %d done", stage, done)

    def _begin(self, stage: str, shot: CountersSnapshot) -> None:
        self._stage, self._began, self._before = stage, time.monotonic(), shot
        for counters in self._counters:
            counters.latest.clear()

    def _forecast(self, stage: str, total: int, shot: CountersSnapshot) -> None:
        """Forecast a whole stage, once, when as many of its calls as the pilot has are answered."""
        answered = shot.answered - self._before.answered
        if not self._pilot or not total or self._forecast_stage == stage or answered < self._pilot:
            return
        self._forecast_stage = stage
        used, failed = [tokens for each in self._counters for tokens in each.latest], shot.failed - self._before.failed
        calls = max(answered, self._expected.get(stage, 0))  # repeated requests may be more than were expected
        # `latest` keeps the last thousand only: the pilot's seconds are those of as many calls.
        seconds = (time.monotonic() - self._began) * (len(used) + failed) / (answered + failed)
        estimate = forecast(used, failed, calls, self._counters[0].prices, seconds)
        text = f"{calls:,} calls, {estimate.prompt_tokens + estimate.completion_tokens:,} tokens, {estimate.money:.2f} in money"
        text += f" ({estimate.low:.2f} to {estimate.high:.2f})" if estimate.money else ""
        log.info("forecast for %s from %d calls: %s, %s", stage, answered, text, duration(estimate.seconds))
        self._metric(stage=stage, forecast=estimate.model_dump())


def _numbers(shot: CountersSnapshot) -> dict[str, Any]:
    names = ("answered", "recorded", "failed", "money", "prompt_tokens", "completion_tokens")
    return {name: getattr(shot, name) for name in names} | {"rate": round(shot.rate, 3), "out": list(shot.out)}
