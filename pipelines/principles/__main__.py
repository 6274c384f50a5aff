"""Make principles of preferences: name -> cluster -> distil -> test on other conversations -> library and expert's page.

    python -m pipelines.principles @pipelines/configs/principles_smoke.toml name=first --dry-run

The same is `her run principles @pipelines/configs/principles_smoke.toml`. The run folder is HER_HOME/runs/NAME: the library in
`library/`, all candidates with their tests in `principles.jsonl`, the expert's page in `page.html`. Started again with the same
settings, a run that was stopped or killed resumes and repeats no call.
"""

import asyncio
import hashlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from her.errors import BackendError, HerError, InputError
from her.files import atomic
from her.inference.caller import BudgetSpent, Ledger
from her.inference.progress import Progress
from her.judging.principles import LIBRARY, library_hash, load_dimensions
from her.prompts import template
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder, stored_status
from her.runs.open_run import Run, RunStopped, open_run
from her.types import Sampling
from pipelines.principles.clusters import Cluster, cluster_texts
from pipelines.principles.distilling import Distilled, distil
from pipelines.principles.expert_page import write_page
from pipelines.principles.made import (
    Outcome,
    RunFigures,
    make_principles,
    planted_figures,
    used_conversations,
    write_library,
    write_tables,
)
from pipelines.principles.naming import Named, name_principles
from pipelines.principles.options import PrinciplesOptions
from pipelines.principles.pairs import Contrasts, load_contrasts
from pipelines.principles.questions import PrincipleCallers, first_reasons
from pipelines.principles.selection import apply_candidates, judge_candidates

TASKS = ("name_principles", "distil_principle", "apply_principles")
log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, PrinciplesOptions, run, "principles")


def run(options: PrinciplesOptions) -> Path:
    """Run everything and return the path of the expert's page.

    Raises:
        RunStopped: the budget is spent or no endpoint is left; the run can be resumed.
        HerError: the pairs or the library are wrong.
    """
    base = options.library or LIBRARY
    _require_unedited(run_folder(options.name))
    hashes = {**atomic.file_hashes(options.pairs.files), "library": library_hash(base), "prompts": _prompts_hash()}
    with open_run("principles", options.name, options, seed=options.seed, hashes=hashes) as opened:
        contrasts = load_contrasts(options.pairs, options.seed)
        manifest = used_conversations(options.name, contrasts.named_from, contrasts.held_out)
        with atomic.replacing(opened.folder / "manifest.json") as file:
            file.write(manifest.model_dump_json(indent=2) + "\n")
        try:
            asyncio.run(_make(options, contrasts, opened, base))
        except BudgetSpent as spent:
            raise RunStopped(f"{spent}; raise the budget to resume") from spent
        except BackendError as error:
            raise RunStopped(str(error)) from error
        outputs = [opened.folder / name for name in ("principles.jsonl", "decisions.jsonl")]
        outputs += sorted((opened.folder / "library").glob("*.yaml"))
        opened.update_status(outputs={str(path.relative_to(opened.folder)): atomic.file_hash(path) for path in outputs})
        return opened.folder / "page.html"


def _require_unedited(folder: Path) -> None:
    """Refuse to write over a library that an expert has edited since the run wrote it.

    Raises:
        InputError: names the file that was changed.
    """
    earlier = stored_status(folder)
    for name, digest in (earlier.outputs if earlier else {}).items():
        if name.startswith("library/") and (folder / name).is_file() and atomic.file_hash(folder / name) != digest:
            raise InputError(
                f"'{folder / name}' was edited since the run wrote it, and the run would write over it; "
                "copy the library elsewhere and delete it here, or give another name"
            )


async def _make(options: PrinciplesOptions, contrasts: Contrasts, opened: Run, base: Path) -> None:
    """Ask, test, and write the outputs."""
    library = load_dimensions(base)
    with Ledger(opened.folder / "calls.sqlite3") as ledger:
        async with PrincipleCallers(options, ledger) as callers:
            counters = [caller.counters for caller in callers.callers]
            with Progress(counters, opened.log_metric, options.calls.pilot) as progress:
                progress.expect("name_principles", len(contrasts.named_from))
                named = await name_principles(callers, contrasts.named_from, options.temperature, options.seed)
                _require_answers(options, "pairs without three principles", named.missing, len(contrasts.named_from))
                clusters = cluster_texts(named.texts, options.clusters.distance, options.seed)
                counts = (len(named.texts), len(named.missing), len(clusters))
                log.info("%d principles named, %d pairs missing; %d clusters", *counts)
                sampling = Sampling(temperature=options.temperature, seed=options.seed)
                distilled = await distil(callers, clusters, library, options.clusters, sampling)
                asked = len(distilled.missing) + len(distilled.candidates) + distilled.left_out.get("the same", 0)
                _require_answers(options, "clusters without a principle", distilled.missing, asked)
                blocks = -(-len(distilled.candidates) // options.selection.at_once)
                progress.expect("apply_principles", len(contrasts.held_out) * blocks * options.selection.orders)
                decisions = await apply_candidates(
                    callers, distilled.candidates, contrasts.held_out, options.selection, options.seed
                )
                unusable = [each.problem for each in decisions if each.side == "missing"]
                _require_answers(options, "verdicts that cannot be used", unusable, len(decisions))
            models = (callers.teacher.model, callers.judge.model)
    tests = judge_candidates(distilled.candidates, decisions, contrasts.held_out, options.selection, options.seed)
    outcome = Outcome(make_principles(distilled.candidates, tests), tuple(decisions), contrasts.held_out)
    figures = _figures(options, contrasts, outcome, (named, clusters, distilled), models)
    _write(options, outcome, figures, opened, base)


def _require_answers(options: PrinciplesOptions, what: str, missing: Sequence[str], asked: int) -> None:
    """Fail when so much of a step is missing that what is left says little.

    Raises:
        HerError: names the number and the most frequent reasons.
    """
    if len(missing) > options.most_missing * asked:
        raise HerError(
            f"{len(missing)} of {asked} are {what} ({first_reasons(missing)}); "
            "give endpoints that answer as asked, or raise most_missing. The same command resumes and asks only what is missing"
        )


def _figures(
    options: PrinciplesOptions,
    contrasts: Contrasts,
    outcome: Outcome,
    steps: tuple[Named, Sequence[Cluster], Distilled],
    models: tuple[str, str],
) -> RunFigures:
    named, clusters, distilled = steps
    unusable = [decision.problem for decision in outcome.decisions if decision.side == "missing"]
    manifest = used_conversations(options.name, contrasts.named_from, contrasts.held_out)
    return RunFigures(
        name=options.name,
        named_from=len(contrasts.named_from),
        held_out=len(contrasts.held_out),
        conversations=len(manifest.held_out),
        namings=len(named.texts),
        clusters=len(clusters),
        candidates=len(outcome.made),
        tested=sum(each.test.p is not None for each in outcome.made),
        kept=sum(each.test.kept for each in outcome.made),
        left_out={**contrasts.left_out, **{f"clusters: {why}": count for why, count in distilled.left_out.items()}},
        missing={"named": len(named.missing), "distilled": len(distilled.missing), "applied": len(unusable)},
        reasons={
            "named": first_reasons(named.missing),
            "distilled": first_reasons(distilled.missing),
            "applied": first_reasons(unusable),
        },
        false_discovery=options.selection.false_discovery,
        model=models[0],
        judge=models[1],
        planted=None if contrasts.rules is None else planted_figures(outcome.made, contrasts.rules),
    )


def _write(options: PrinciplesOptions, outcome: Outcome, figures: RunFigures, opened: Run, base: Path) -> None:
    folder: Path = opened.folder
    kept = [each for each in outcome.made if each.test.kept]
    write_tables(folder, outcome)
    write_library(base, folder / "library", kept)
    write_page(folder / "page.html", outcome, figures, folder / "library", options.shown)
    with atomic.replacing(folder / "report.json") as file:
        file.write(figures.model_dump_json(indent=2) + "\n")
    counts = figures.model_dump(include={"namings", "clusters", "candidates", "tested", "kept", "missing", "planted"})
    opened.log_metric(saved="library", **counts)
    log.info("%d of %d candidates kept, at a false discovery rate of %g", len(kept), len(outcome.made), figures.false_discovery)


def _prompts_hash() -> str:
    texts = [template(task, language) for task in TASKS for language in ("en", "zh")]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
