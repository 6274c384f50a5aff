"""Synthesis, whole: books -> scenes -> role thinking -> settings -> system thinking -> samples, splits and a report.

    python -m pipelines.synthesize @pipelines/configs/synthesize.toml name=first --dry-run

The same is `her run synthesize @pipelines/configs/synthesize_smoke.toml`. The run folder is HER_HOME/runs/NAME. Started
again with the same settings it goes on where it ended.
"""

import asyncio
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.errors import BackendError
from her.files import atomic as files
from her.inference.caller import BudgetSpent, Ledger
from her.inference.counters import snapshot_of
from her.inference.progress import Progress
from her.runs.command_line import run_command_line
from her.runs.open_run import Run, RunStopped, open_run
from her.training_data.audit import require
from pipelines.synthesize.models import Models
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.outputs import report
from pipelines.synthesize.outputs.finish import finish, prompt_hashes
from pipelines.synthesize.run_stages import all_scenes, all_skipped, raw_books, stage
from pipelines.synthesize.sources.books import book_files
from pipelines.synthesize.sources.finished_books import finished_files

ORDER = ("role_thinking", "settings", "system_thinking")
"""Settings come before plans, so that a plan's live prompt is already the prompt of its sample."""


def main(words: Sequence[str]) -> int:
    """The command line; its exit code as `her.runs.command_line.run_command_line` says."""
    return run_command_line(words, SynthesisOptions, run, "synthesize")


def run(options: SynthesisOptions) -> Path:
    """A whole run; the report it left. Raises HerError, `RunStopped` among them when it can be gone on with."""
    with open_run("synthesize", options.name, options, seed=options.seed, hashes=_hashes(options)) as opened:
        for left in opened.folder.glob(".*.part"):
            left.unlink()
        try:
            asyncio.run(_synthesize(opened, options))
        except BudgetSpent as spent:
            raise RunStopped(f"{spent}; raise the budget to go on") from spent
        except BackendError as error:
            raise RunStopped(str(error)) from error
        made = [path for path in sorted(opened.folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        kept = [path for path in made if path.suffix in (".jsonl", ".json", ".parquet") and path.name not in _CHANGING]
        opened.update_status(outputs={str(path.relative_to(opened.folder)): files.file_hash(path) for path in kept})
        return opened.folder / "report.html"


_CHANGING = frozenset(("status.json", "metrics.jsonl", "report.json"))
"""Files that hold times, which no two runs share."""


def _hashes(options: SynthesisOptions) -> dict[str, str]:
    """Of all inputs and of the prompts."""
    inputs = book_files(options.books)
    inputs += finished_files(options.scenes, lambda where, reason: None) if options.scenes else []
    inputs += [options.samples.test_set] if options.samples.test_set else []
    prompts = hashlib.sha256("".join(prompt_hashes().values()).encode()).hexdigest()
    return {**files.file_hashes(inputs), "prompts": prompts}


async def _synthesize(open_run: Run, options: SynthesisOptions) -> None:
    folder = open_run.folder
    try:
        asked, before = await _stages(open_run, options)
    finally:
        all_skipped(folder)
    who = {name: asked["rewriter" if name == "system_thinking" else "model"] for name in asked["stages"]}
    finished = finish(folder, before, options, open_run.status, who)
    made = report.make(folder, [each for each in ORDER if each in options.stages], asked, finished.counts, options.name)
    open_run.log_metric(stage="report", **{key: made["after"][key] for key in ("turns", "plan_coverage", "thought_coverage")})
    require(finished.audit)


async def _stages(open_run: Run, options: SynthesisOptions) -> tuple[dict[str, Any], str]:
    """Everything that asks a model; what was asked, and the name of the last stage."""
    folder, before = open_run.folder, "scenes"
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Models(options, ledger) as models:
            tallies = [caller.tally for caller in models.callers]
            with Progress(tallies, open_run.log_metric, options.calls.pilot) as progress:
                await raw_books(options, folder, models, progress.tick)
                amount = all_scenes(options, folder)
                for name in (each for each in ORDER if each in options.stages):
                    progress.expect(name, amount.calls(name, options))
                    await stage(name, before, options, folder, models, amount.scenes, progress.tick)
                    before = name
            return calls_report(models, ledger), before


def calls_report(models: Models, ledger: Ledger) -> dict[str, Any]:
    """What was asked in the whole run, earlier starts included."""
    stages: dict[str, Any] = {}
    for (name, tier), sums in sorted(ledger.sums().items()):
        entry = stages.setdefault(name, {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "tiers": {}})
        entry["calls"] += sums.calls
        entry["prompt_tokens"] += sums.prompt_tokens
        entry["completion_tokens"] += sums.completion_tokens
        if tier:
            entry["tiers"][tier] = entry["tiers"].get(tier, 0) + sums.calls
    shot = snapshot_of([caller.tally for caller in models.callers])
    return {
        "model": models.main.tally.model,
        "rewriter": models.rewriter.tally.model,
        "money": round(shot.money, 4),
        "stages": stages,
        "failed": shot.failed,
        "retries": shot.retries,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
