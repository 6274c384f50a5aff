"""Run the proxy of Role-Play Bench from a folder of its data: play, judge, calibrate the judge, write a report that says proxy.

    her eval role-play-bench --data FOLDER --actor SPEC --user SPEC --judge SPEC

Calls go through a ledger in the output folder: a run that was killed asks nothing twice.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from her.backends.base import Backend
from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.inference.caller import Caller, Ledger
from her.inference.options import CallOptions
from her.judging.statistics import USUAL, Uncertainty
from her.types import Language, Value
from pipelines.evaluate.judge_calibration import OWN_CARD, calibrated
from pipelines.evaluate.report import write_report
from pipelines.evaluate.role_play_bench import (
    COLUMNS,
    GENERATED,
    PublishedDialogue,
    Seed,
    read_dialogues,
    read_seeds,
    suite_of,
)
from pipelines.evaluate.role_play_sessions import Session, judge_session, play, session_rows
from pipelines.evaluate.scores import SCORES_FILE, TRANSCRIPTS_FILE, CaseScore

CALIBRATION = "calibration.json"
ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")
Endpoints = tuple[str | Backend, ...]


class BenchOptions(NamedTuple):
    """Settings of a run.

    Args:
        actor: endpoints of the model that is evaluated; `user` of the simulated user; `judge` of the judge.
        runs: sessions of each seed; three as published, at least two for an interval.
        limit: most seeds of each language; 0 for all.
        published: most published dialogues that the judge scores as well, to be calibrated on their labels; 0 for none.
        labels: card of judge-check or labels of people that calibrate the judge; empty for none.
    """

    source: Path
    actor: Endpoints
    user: Endpoints
    judge: Endpoints
    runs: int = 3
    turns: int = GENERATED
    limit: int = 0
    published: int = 0
    labels: str = ""
    calls: CallOptions = CallOptions()


class ColumnCalibration(Value):
    """Spearman's correlation of our judge with the published scores of one column, in one language.

    Args:
        rho: over dialogues; `model_rho` over the models' means. None where one side does not vary.
    """

    language: Language
    column: str
    dialogues: int
    models: int
    rho: float | None
    model_rho: float | None


def run_bench(options: BenchOptions, folder: Path, settings: Uncertainty = USUAL) -> list[Path]:
    """Run everything and return the files that were written.

    Raises:
        InputError: the data cannot be read, or turns are no even number.
        BudgetSpent, BackendError: the run stops and can be run again, which asks only what is missing.
    """
    if options.turns < 2 or options.turns % 2:
        raise InputError(f"turns={options.turns}; give an even number, half of which are the model's")
    folder.mkdir(parents=True, exist_ok=True)
    rows, calibration = asyncio.run(_run(options, folder))
    jsonl.write(folder / SCORES_FILE, rows)
    with replacing(folder / CALIBRATION) as file:
        file.write(json.dumps([each.model_dump() for each in calibration], indent=2) + "\n")
    suite = suite_of(options.source)
    proxy = " ".join((suite.proxy, suite.source, *calibration_lines(calibration)))
    card = str(folder / OWN_CARD) if (folder / OWN_CARD).is_file() else options.labels
    _, files = write_report(folder, f"{suite.title} (proxy): {rows[0].model}", suite.name, proxy, settings, card)
    return [*files, folder / CALIBRATION]


async def _run(options: BenchOptions, folder: Path) -> tuple[list[CaseScore], list[ColumnCalibration]]:
    seeds = read_seeds(options.source)
    limits = [options.calls.limits(len(specs)) for specs in (options.actor, options.user, options.judge)]
    chosen = [seed for language in ("en", "zh") for seed in [s for s in seeds if s.language == language][: options.limit or None]]
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with (
            Caller(options.actor, ledger, limits[0]) as actor,
            Caller(options.user, ledger, limits[1], actor.budget) as user,
            Caller(options.judge, ledger, limits[2], actor.budget) as judge,
        ):
            for caller in (actor, user, judge):
                await caller.require_served()
            at_once = max(1, options.calls.in_flight * len(options.actor))
            tasks = [(seed, run) for seed in chosen for run in range(options.runs)]
            played = await in_order(lambda task: play(*task, actor, user, options.turns), tasks, at_once)
            jsonl.write(folder / TRANSCRIPTS_FILE, [session.transcript for session in played])
            judged = await in_order(lambda session: judge_session(session, judge.ask), played, at_once)
            rows = [
                row
                for session, scores in zip(played, judged, strict=True)
                for row in session_rows(session, scores, actor.model, user.model, judge.model)
            ]
            await calibrated(options.labels, folder, judge.ask, judge.model)
            return rows, await _calibrate(options, seeds, judge, at_once)


async def _calibrate(options: BenchOptions, seeds: Sequence[Seed], judge: Caller, at_once: int) -> list[ColumnCalibration]:
    if not options.published:
        return []
    dialogues = [each for each in read_dialogues(options.source, seeds) if each.labels]
    step = max(1, len(dialogues) // options.published)
    chosen = dialogues[::step][: options.published]
    sessions = [Session(each.seed, each.run, each.transcript) for each in chosen]
    judged = await in_order(lambda session: judge_session(session, judge.ask), sessions, at_once)
    return calibration([(each, scores.scores) for each, scores in zip(chosen, judged, strict=True)])


def calibration(judged: Iterable[tuple[PublishedDialogue, dict[str, float | None]]]) -> list[ColumnCalibration]:
    """Return how our judge's scores of published dialogues go with the published scores, by language and column."""
    pairs: dict[tuple[Language, str], list[tuple[str, float, float]]] = defaultdict(list)
    for dialogue, scores in judged:
        for column in COLUMNS:
            given = scores.get(column)
            if given is not None and column in dialogue.labels:
                pairs[dialogue.seed.language, column].append((dialogue.model, given, dialogue.labels[column]))
    return [_column(language, column, rows) for (language, column), rows in sorted(pairs.items())]


def _column(language: Language, column: str, rows: Sequence[tuple[str, float, float]]) -> ColumnCalibration:
    models = sorted({model for model, _, _ in rows})
    means = [tuple(float(np.mean([row[side] for row in rows if row[0] == model])) for side in (1, 2)) for model in models]
    return ColumnCalibration(
        language=language,
        column=column,
        dialogues=len(rows),
        models=len(models),
        rho=_rho([(ours, theirs) for _, ours, theirs in rows]),
        model_rho=_rho([(ours, theirs) for ours, theirs in means]),
    )


def _rho(pairs: Sequence[tuple[float, float]]) -> float | None:
    from scipy.stats import rankdata

    if len(pairs) < 3:
        return None
    ours, theirs = (rankdata(column) for column in np.array(pairs).T)
    return None if np.ptp(ours) == 0 or np.ptp(theirs) == 0 else float(np.corrcoef(ours, theirs)[0, 1])


def calibration_lines(found: Iterable[ColumnCalibration]) -> list[str]:
    """Return one sentence a language on how far the judge can be trusted; none without published labels."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for each in found:
        shown = "unknown" if each.rho is None else f"{each.rho:.2f}"
        by_language[each.language].append(f"{each.column.replace('_', ' ')} {shown} ({each.dialogues})")
    return [
        f"Calibration on published labels, {language}: Spearman's rho by column, dialogues in brackets: {', '.join(columns)}."
        for language, columns in by_language.items()
    ]


async def in_order(ask: Callable[[ItemT], Awaitable[FoundT]], items: Sequence[ItemT], at_once: int) -> list[FoundT]:
    """Return what is found for each item, in order, with `at_once` of them in flight; an error is raised when all have ended."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: ItemT) -> FoundT:
        async with gate:
            return await ask(item)

    found = await asyncio.gather(*map(one, items), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found  # type: ignore[return-value]
