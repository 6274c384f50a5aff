"""What is seen of a run while it goes: the calls (her/progress.py), lines in `metrics.jsonl`, a forecast after the pilot."""

import logging
import time
from contextlib import ExitStack
from typing import Any

from her.calls import Prices
from her.jobs import Run
from her.progress import clock, display
from her.spending import Tokens, forecast
from pipelines.synthesize.asking import Models

log = logging.getLogger(__name__)
IN_METRICS = 5.0
"""Seconds between two lines of `metrics.jsonl`."""


class Progress:
    """Told by `tick` after every scene; a context manager, within which the calls are shown as well."""

    def __init__(self, models: Models, run: Run, pilot: int) -> None:
        self._models, self._run, self._pilot = models, run, pilot
        self._noted = self._began = 0.0
        self._stack = ExitStack()
        self._stage = ""
        self._done_before = self._answered_before = 0
        self._tokens_before = Tokens()
        self._forecast_of = ""
        self._expected: dict[str, int] = {}

    def __enter__(self) -> "Progress":
        self._stack.enter_context(display(self._models.main.tally))
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def expect(self, stage: str, calls: int) -> None:
        """So many questions a stage has at least."""
        self._expected[stage] = calls
        shot = self._models.main.tally.snapshot()
        self._models.main.tally.total = shot.answered + shot.recorded + shot.failed + calls

    def tick(self, stage: str, done: int, total: int) -> None:
        """A scene more is done. `total` 0: nobody knows how many there are."""
        now = time.monotonic()
        shots = [caller.tally.snapshot() for caller in self._models.callers]
        if stage != self._stage:
            self._stage, self._began = stage, now
            self._answered_before = sum(shot.answered for shot in shots)
            self._tokens_before = Tokens(shots[0].prompt_tokens, shots[0].completion_tokens)
            self._done_before = done - 1
        self._foresee(stage, done, total, shots)
        last = bool(total) and done == total
        if last or now - self._noted > IN_METRICS:
            self._noted = now
            self._run.metric(stage=stage, done=done, total=total, **_numbers(shots))
        if last:
            log.info("%s: %d scenes", stage, done)

    def _foresee(self, stage: str, done: int, total: int, shots: list[Any]) -> None:
        """Once a stage has answered as many calls as a pilot: what the whole stage will take."""
        answered = sum(shot.answered for shot in shots) - self._answered_before
        if not self._pilot or not total or self._forecast_of == stage or answered < self._pilot:
            return
        self._forecast_of = stage
        prices: Prices = self._models.main.limits.prices
        took = Tokens(
            shots[0].prompt_tokens - self._tokens_before.prompt, shots[0].completion_tokens - self._tokens_before.completion
        )
        calls = max(answered, self._expected.get(stage, 0))
        each = [Tokens(took.prompt // answered, took.completion // answered)] * min(answered, 1000)
        seen = forecast(each, 0, calls, prices, time.monotonic() - self._began)
        log.info(
            "forecast for %s from %d calls: %s calls, %s tokens, %.2f in money, %s",
            stage,
            answered,
            f"{calls:,}",
            f"{seen.prompt_tokens + seen.completion_tokens:,}",
            seen.money,
            clock(seen.seconds),
        )
        self._run.metric(stage=stage, forecast=seen.model_dump())


def _numbers(shots: list[Any]) -> dict[str, Any]:
    return {
        "answered": sum(shot.answered for shot in shots),
        "recorded": sum(shot.recorded for shot in shots),
        "failed": sum(shot.failed for shot in shots),
        "rate": round(sum(shot.rate for shot in shots), 3),
        "money": max(shot.money for shot in shots),
        "prompt_tokens": shots[0].prompt_tokens,
        "completion_tokens": shots[0].completion_tokens,
        "out": [name for shot in shots for name in shot.out],
    }
