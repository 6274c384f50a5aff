"""Run the two steps of an evaluation for all cases: play (simulation.py), then judge (judging.py); write what came of it.

The steps are apart: a transcript that is there already is judged and not played. A case is judged as soon as it is played, so
that neither step waits for the slowest case of the other.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.inference.budget import CostForecast, forecast
from her.inference.caller import Ledger
from her.inference.progress import Progress
from her.runs.open_run import Run, RunStopped
from her.types import Transcript
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.judge_calibration import calibrated
from pipelines.evaluate.judging import SceneJudge, all_of
from pipelines.evaluate.manifest import evaluated_checkpoint, key_of, manifest, simulation_manifest
from pipelines.evaluate.options import ROLES, EvaluateOptions, Role
from pipelines.evaluate.protocols import ActingProtocol
from pipelines.evaluate.ray_rounds import answer_on_ray
from pipelines.evaluate.report import write_report
from pipelines.evaluate.role_callers import RoleAsker, RoleCallers
from pipelines.evaluate.score_rows import JudgedCase, overlap_rows, question_about, score_rows, unplayed
from pipelines.evaluate.scores import SCORES_FILE, TRANSCRIPTS_FILE, CaseScore
from pipelines.evaluate.scripted_scene import ScriptedScene
from pipelines.evaluate.simulation import Played, PlayStage, Simulation, simulate

SIMULATIONS_FILE, MANIFEST_FILE, FORECAST_FILE = "simulations.jsonl", "manifest.json", "forecast.json"
log = logging.getLogger(__name__)
Task = tuple[ActingCase, int]
"""A case and the number of its run."""


class Bench(NamedTuple):
    """State that the tasks of a run share.

    Args:
        stage: of the simulations.
        protocol: of the run.
        kept: transcripts that are there already, by case and run.
    """

    stage: PlayStage
    protocol: ActingProtocol
    kept: dict[tuple[str, int], Played]

    async def judged(self, task: Task) -> JudgedCase:
        """Play a case, unless its transcript is there, and judge it."""
        case, run = task
        played = self.kept.get((case.key, run)) or await simulate(case, run, self.stage)
        return await judge_case(case, played, self.stage.asker, self.protocol)

    def judged_by(self, asker: RoleAsker) -> Callable[[Task], Awaitable[JudgedCase]]:
        """Return `judged` with another asker."""
        return self._replace(stage=self.stage._replace(asker=asker)).judged


async def judge_case(case: ActingCase, played: Played, asker: RoleAsker, protocol: ActingProtocol) -> JudgedCase:
    """Judge one simulation, in every view of the protocol; one that cannot be judged has no judgements."""
    if unplayed(played):
        return JudgedCase(case, played, {})
    judge = SceneJudge(asker, protocol)
    questions = [question_about(case, played, thoughts) for thoughts in protocol.thoughts]
    found = await all_of(judge.judge(question) for question in questions)
    return JudgedCase(case, played, dict(zip(protocol.thoughts, found, strict=True)))


async def evaluate(opened: Run, options: EvaluateOptions, cases: Sequence[ActingCase], inputs: dict[str, str]) -> list[Path]:
    """Evaluate all cases and return the files that were written, the page first.

    Raises:
        BudgetSpent, BackendError: the run ends; its ledger keeps every answer.
        RunStopped: the forecast is above the budget.
    """
    scripted = ScriptedScene() if options.scripted else None
    with Ledger(opened.folder / "calls.sqlite3") as ledger:
        async with RoleCallers(options, ledger, scripted) as callers:
            models = models_of(options, callers)
            _require_same_models(opened.folder / MANIFEST_FILE, models)
            checkpoint = evaluated_checkpoint(options)
            described = manifest(options, models, inputs, (case.key for case in cases), checkpoint)
            _write_json(opened.folder / MANIFEST_FILE, {"key": key_of(described), **described})
            key = key_of(simulation_manifest(options, models, checkpoint))
            stage = PlayStage(options, callers, models.get("actor", ""), key)
            bench = Bench(stage, options.acting, kept_simulations(opened.folder, stage, cases))
            tasks = [(case, run) for run in range(options.runs) for case in cases]
            tasks = [task for task in tasks if options.transcripts is None or (task[0].key, task[1]) in bench.kept]
            with Progress([caller.counters for caller in callers.callers], opened.log_metric, 0) as progress:
                await _pilot(bench, tasks, callers, opened)
                if options.executor == "ray":
                    await answer_on_ray(tasks, bench.judged_by, callers)
                done = await in_flight(
                    bench.judged, tasks, _at_once(options), lambda count: progress.tick("scenes", count, len(tasks))
                )
            card = await calibrated(
                options.calibration, opened.folder, lambda call: callers.ask("judge", call), models.get("judge", "")
            )
            failures = dict(sorted(callers.failures.items()))
    return _write(opened, done, options.model_copy(update={"calibration": card}), models.get("judge", ""), failures)


def _require_same_models(path: Path, models: Mapping[Role, str]) -> None:
    """Refuse another model under the name of a run: its endpoints may move, and the scores of one model stay those of one.

    Raises:
        InputError: a role was played by another model at an earlier start.
    """
    try:
        before = json.loads(path.read_text("utf-8"))
        earlier = {**before["simulation"]["models"], "judge": before["judging"]["judge"]}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for role, model in models.items():
        if earlier.get(role, model) != model:
            raise InputError(
                f"the {role} of run '{path.parent.name}' was {earlier[role]!r} and would now be {model!r}; give another name, "
                "or judge its transcripts again with `her eval judge`"
            )


def models_of(options: EvaluateOptions, callers: RoleCallers) -> dict[Role, str]:
    """Return model and revision of each role that is asked."""
    roles: tuple[Role, ...] = ("judge",) if options.transcripts is not None else ROLES
    return {role: callers.of(role).model for role in roles}


def kept_simulations(folder: Path, stage: PlayStage, cases: Sequence[ActingCase]) -> dict[tuple[str, int], Played]:
    """Return the simulations that need not be played.

    Of this run those whose key is that of now; of `transcripts` all of its whole ones, whatever they were played with.

    Raises:
        InputError: `transcripts` is no evaluation, or has none of these cases.
    """
    source = stage.options.transcripts
    keys = {case.key: case for case in cases}
    if source is None:
        try:
            found = read_simulations(folder)
        except InputError as error:
            log.warning("%s; the cases are played again, from the ledger", error)
            return {}
        return {
            at: played
            for at, played in found.items()
            if at[0] in keys and not played.simulation.failed and played.simulation.key == stage.key_of(keys[at[0]], at[1])
        }
    kept = {at: played for at, played in read_simulations(source).items() if at[0] in keys and at[1] < stage.options.runs}
    if not kept:
        raise InputError(f"'{source}' has no transcript of these cases; give the folder of an evaluation of the same data")
    return kept


def read_simulations(folder: Path) -> dict[tuple[str, int], Played]:
    """Return the simulations of a run by case and run; none where it has written none.

    Raises:
        InputError: a file is damaged, or a transcript is missing.
    """
    if not (folder / SIMULATIONS_FILE).is_file():
        return {}
    transcripts = {each.id: each for each in jsonl.read(folder / TRANSCRIPTS_FILE, Transcript)}
    found: dict[tuple[str, int], Played] = {}
    for simulation in jsonl.read(folder / SIMULATIONS_FILE, Simulation):
        if simulation.transcript not in transcripts:
            raise InputError(f"'{folder / TRANSCRIPTS_FILE}' lacks the transcript {simulation.transcript!r}; restore the file")
        found[simulation.case, simulation.run] = Played(simulation, transcripts[simulation.transcript])
    return found


async def _pilot(bench: Bench, tasks: Sequence[Task], callers: RoleCallers, opened: Run) -> None:
    """Do some cases first, forecast what all cost, and stop where that is more than the budget."""
    options, prices = bench.stage.options, callers.callers[0].limits.prices
    first_run = [task for task in tasks if task[1] == tasks[0][1]]
    count = min(options.pilot, len(first_run))
    # Of a run that was done before, the transcripts are there, and what is asked says nothing about its cost.
    if not count or count == len(tasks) or (bench.kept and options.transcripts is None):
        return
    chosen = [first_run[number * len(first_run) // count] for number in range(count)]
    began = time.monotonic()
    await in_flight(bench.judged, chosen, _at_once(options))
    used = [callers.used[case.key] for case, _ in chosen if case.key in callers.used]
    if used:
        estimate = forecast(used, count - len(used), len(tasks), prices, time.monotonic() - began)
        _write_json(opened.folder / FORECAST_FILE, estimate.model_dump(mode="json"))
        log.info("forecast from %d scenes: %s", count, _in_words(estimate))
        require_affordable(estimate, options)


def require_affordable(estimate: CostForecast, options: EvaluateOptions) -> None:
    """Stop before the budget is spent on a part of the cases.

    Raises:
        RunStopped: the forecast is above the budget.
    """
    tokens = estimate.prompt_tokens + estimate.completion_tokens
    calls = options.calls
    if (calls.budget_money and estimate.money > calls.budget_money) or (calls.budget_tokens and tokens > calls.budget_tokens):
        raise RunStopped(
            f"the forecast for {estimate.calls} scenes is {_in_words(estimate)}, more than the budget; raise calls.budget_money "
            "and calls.budget_tokens, or lower limit or runs under another name; the pilot's answers are kept"
        )


def _in_words(estimate: CostForecast) -> str:
    tokens = f"{estimate.prompt_tokens:,} + {estimate.completion_tokens:,} tokens"
    return f"{tokens}, money {estimate.money:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _at_once(options: EvaluateOptions) -> int:
    """Return how many cases are worked on at a time: each has one call in flight while it is played."""
    return max(8, 4 * options.calls.in_flight * max(1, len(options.actor)))


async def in_flight(
    work: Callable[[Task], Awaitable[JudgedCase]],
    tasks: Sequence[Task],
    at_once: int,
    done: Callable[[int], object] = lambda _: None,
) -> list[JudgedCase]:
    """Return the outcome of all tasks in their order, so many of them worked on at a time.

    After an error no further task begins; those that are worked on end first, so that what they have paid for is recorded.
    """
    room, finished, stopped = asyncio.Semaphore(at_once), 0, False

    async def one(task: Task) -> JudgedCase | None:
        nonlocal finished, stopped
        async with room:
            if stopped:
                return None
            try:
                outcome = await work(task)
            except BaseException:
                stopped = True
                raise
        finished += 1
        done(finished)
        return outcome

    return [outcome for outcome in await all_of(one(task) for task in tasks) if outcome is not None]


def _write(opened: Run, done: Iterable[JudgedCase], options: EvaluateOptions, judge: str, failures: dict[str, Any]) -> list[Path]:
    """Write simulations, transcripts and scores, in the order of cases and runs."""
    folder, protocol = opened.folder, options.acting
    ordered = sorted(done, key=lambda each: (each.case.key, each.played.simulation.run))
    jsonl.write(folder / TRANSCRIPTS_FILE, (each.played.transcript for each in ordered))
    jsonl.write(folder / SIMULATIONS_FILE, (each.played.simulation for each in ordered))
    rows = [row for each in ordered for row in (*score_rows(each, protocol, judge), *overlap_rows(each, protocol))]
    jsonl.write(folder / SCORES_FILE, rows)
    _log_means(opened, rows, failures)
    _, reports = write_report(folder, f"Evaluation {opened.folder.name}", calibration=options.calibration)
    reports.sort(key=lambda path: path.suffix != ".html")  # the page first: its path is what the command prints
    return [*reports, *(folder / name for name in (SCORES_FILE, TRANSCRIPTS_FILE, SIMULATIONS_FILE, MANIFEST_FILE))]


def _log_means(opened: Run, rows: Sequence[CaseScore], failures: dict[str, Any]) -> None:
    for thoughts, dimension in dict.fromkeys((row.thoughts, row.dimension) for row in rows):
        scores = [row.score for row in rows if (row.thoughts, row.dimension) == (thoughts, dimension)]
        known = [score for score in scores if score is not None]
        mean = sum(known) / len(known) if known else None
        opened.log_metric(dimension=dimension, thoughts=thoughts, mean=mean, used=len(known), missing=len(scores) - len(known))
    missing = sum(row.score is None for row in rows)
    log.info("%d scores, %d missing%s", len(rows), missing, f"; {json.dumps(failures)}" if failures else "")


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
