"""What is seen of many calls while they go: a moving display on a terminal, a line now and then elsewhere.

with display(caller.tally, total=5_000):
    async for answer in caller.run(calls): ...
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from her.tally import Snapshot, Tally

log = logging.getLogger(__name__)
ON_TERMINAL, ELSEWHERE = 0.25, 15.0
"""Seconds between two looks."""


@contextmanager
def display(tally: Tally, total: int | None = None, out: TextIO | None = None, every: float | None = None) -> Iterator[None]:
    """Show a tally until the block ends, then once more.

    Args:
        total: calls expected, for the time left.
        out: where to; standard error by default. A terminal gets a moving line, anything else log lines.
        every: seconds between two looks.
    """
    tally.total = total
    stream = out or sys.stderr
    if stream.isatty():
        with _moving(stream) as show:
            with _watching(tally, show, every or ON_TERMINAL):
                yield
            show(tally.snapshot())
    else:
        with _watching(tally, _log, every or ELSEWHERE):
            yield
        _log(tally.snapshot())


def line(shot: Snapshot) -> str:
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


def _log(shot: Snapshot) -> None:
    log.info("%s", line(shot))


@contextmanager
def _watching(tally: Tally, show: Callable[[Snapshot], None], every: float) -> Iterator[None]:
    """Look from a thread of its own, so that a busy loop is seen as well."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            show(tally.snapshot())

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _moving(stream: TextIO) -> Iterator[Callable[[Snapshot], None]]:
    """A bar and the line under it, which a narrow terminal wraps."""
    from rich.console import Console, Group  # a tenth of a second, needed on a terminal only
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False) as live:

        def show(shot: Snapshot) -> None:
            done = shot.answered + shot.recorded + shot.failed
            live.update(Group(ProgressBar(total=shot.total, completed=done, width=40), Text(line(shot))), refresh=True)

        yield show
