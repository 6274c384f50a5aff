"""Run a whole synthesis: books -> scenes -> stages (stages/stage_table.py) -> samples, splits, audit, dataset card, report.

    python -m pipelines.synthesize @pipelines/configs/synthesize.toml name=first --dry-run

The same is `her run synthesize @pipelines/configs/synthesize_smoke.toml`. The run folder is HER_HOME/runs/NAME. Started
again with the same settings, a run that was stopped or killed resumes.
"""

import asyncio
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.errors import BackendError
from her.files import atomic
from her.inference.caller import BudgetSpent, Ledger
from her.inference.counters import snapshot_of_run
from her.inference.progress import Progress
from her.runs.command_line import run_command_line
from her.runs.open_run import Run, RunStopped, open_run
from her.training_data.audit import require
from pipelines.synthesize.callers import StageCallers
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.outputs import report
from pipelines.synthesize.outputs.dataset import prompt_hashes, require_splits, write_dataset
from pipelines.synthesize.run_stages import convert_books, read_all_scenes, run_stage, write_skipped
from pipelines.synthesize.sources.finished_books import finished_files
from pipelines.synthesize.sources.raw_books import book_files
from pipelines.synthesize.stages.stage_table import FIRST_INPUT

log = logging.getLogger(__name__)
_TIMED = frozenset(("status.json", "metrics.jsonl", "report.json"))
"""Files that hold times or costs and so differ between two equal runs; the others are hashed into the status."""


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code, see `her.runs.command_line.run_command_line`."""
    return run_command_line(words, SynthesisOptions, run, "synthesize")


def run(options: SynthesisOptions) -> Path:
    """Run everything and return the path of the report.

    Raises:
        RunStopped: the budget is spent or no endpoint is left; the run can be resumed.
        HerError: the inputs are wrong, or the audit found a problem.
    """
    with open_run("synthesize", options.name, options, seed=options.seed, hashes=input_hashes(options)) as opened:
        for unfinished in opened.folder.glob(".*.part"):
            unfinished.unlink()  # left by a process that was killed while it wrote
        try:
            asyncio.run(_synthesize(opened, options))
        except BudgetSpent as spent:
            raise RunStopped(f"{spent}; raise the budget to resume") from spent
        except BackendError as error:
            again = f"her run synthesize @{opened.folder / 'config.toml'}"
            raise RunStopped(f"{str(error).rstrip('.')}; to resume, with other settings behind it: {again}") from error
        opened.update_status(outputs=_output_hashes(opened.folder))
        return opened.folder / "report.html"


def _output_hashes(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    stable = [path for path in files if path.suffix in (".jsonl", ".json", ".parquet") and path.name not in _TIMED]
    return {str(path.relative_to(folder)): atomic.file_hash(path) for path in stable}


def input_hashes(options: SynthesisOptions) -> dict[str, str]:
    """Return name -> sha256 of every input file, and of all prompts together as `prompts`."""
    inputs = book_files(options.books)
    inputs += finished_files(options.scenes, lambda where, reason: None) if options.scenes else []
    inputs += [options.samples.test_set] if options.samples.test_set else []
    prompts = hashlib.sha256("".join(prompt_hashes().values()).encode()).hexdigest()
    return {**atomic.file_hashes(inputs), "prompts": prompts}


async def _synthesize(opened: Run, options: SynthesisOptions) -> None:
    folder = opened.folder
    if options.samples.test_set is None:
        log.warning("no test set is excluded: samples.test_set names none, so CoSER's test cases may be in every split")
    try:
        calls = await _run_stages(opened, options)
    finally:
        write_skipped(folder)  # also when the run stops: the reasons are what a person looks for then
    stages = options.chosen_stages()
    last = stages[-1].name if stages else FIRST_INPUT
    written = write_dataset(folder, last, options, opened.status, _models(options, calls))
    summary = report.write_report(folder, [stage.name for stage in stages], calls, written.counts, options.name)
    coverage = {key: summary["after"][key] for key in ("turns", "plan_coverage", "thought_coverage")}
    opened.log_metric(stage="report", **coverage)
    require(written.audit)


async def _run_stages(opened: Run, options: SynthesisOptions) -> dict[str, Any]:
    """Run everything that asks a model; return the record of the calls."""
    folder, source = opened.folder, FIRST_INPUT
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with StageCallers(options, ledger) as callers:
            counters = [caller.counters for caller in callers.callers]
            with Progress(counters, opened.log_metric, options.calls.pilot) as progress:
                await convert_books(options, folder, callers, progress.tick)
                counts = read_all_scenes(options, folder)
                require_splits(folder, options)
                for stage in options.chosen_stages():
                    progress.expect(stage.name, stage.calls(counts.scenes, counts.turns, options.stage_options()))
                    await run_stage(stage, source, options, folder, callers, counts.scenes, progress.tick)
                    source = stage.name
            return calls_record(callers, ledger)


def calls_record(callers: StageCallers, ledger: Ledger) -> dict[str, Any]:
    """Return the calls of the whole run by question name, earlier starts included, with tokens, tiers, cost and failures."""
    by_question: dict[str, Any] = {}
    for (name, tier), sums in sorted(ledger.sums().items()):
        entry = by_question.setdefault(name, {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "tiers": {}})
        entry["calls"] += sums.calls
        entry["prompt_tokens"] += sums.prompt_tokens
        entry["completion_tokens"] += sums.completion_tokens
        if tier:
            entry["tiers"][tier] = entry["tiers"].get(tier, 0) + sums.calls
    snapshot = snapshot_of_run([caller.counters for caller in callers.callers])
    return {
        "model": callers.main.counters.model,
        "rewriter": callers.rewriter.counters.model,
        "money": round(snapshot.money, 4),
        "stages": by_question,
        "failed": snapshot.failed,
        "retries": snapshot.retries,
    }


def _models(options: SynthesisOptions, calls: dict[str, Any]) -> dict[str, str]:
    """Return the model that each question was asked of, by question name, for the dataset card."""
    rewritten = {question.name for stage in options.chosen_stages() for question in stage.questions if question.rewriter}
    return {name: calls["rewriter" if name in rewritten else "model"] for name in calls["stages"]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
