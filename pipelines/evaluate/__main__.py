"""Evaluate a model on scenes of books: play every case, judge it, write scores, transcripts and what determines them.

    python -m pipelines.evaluate @pipelines/configs/evaluate_smoke.toml
    her eval coser --data test_set.json --actor openai:http://127.0.0.1:8000/v1#MODEL --judge openai:http://127.0.0.1:8001/v1#JUDGE

The run folder is HER_HOME/runs/NAME. Every call goes through its ledger: a run that was killed asks nothing twice, and one that
is done, started again, asks for what is missing alone.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from her.errors import BackendError
from her.files import atomic
from her.inference.caller import BudgetSpent
from her.runs.command_line import run_command_line
from her.runs.open_run import RunStopped, open_run
from pipelines.evaluate.cases import case_files, read_cases
from pipelines.evaluate.evaluation import evaluate
from pipelines.evaluate.options import EvaluateOptions
from pipelines.evaluate.retrieval import require_books
from pipelines.evaluate.text_overlap import require_packages

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, EvaluateOptions, run, "evaluate")


def run(options: EvaluateOptions) -> Path:
    """Run an evaluation and return the path of its page.

    Raises:
        RunStopped: the budget is spent, the forecast is above it, or no endpoint is left; the run can be resumed.
        ModuleNotFoundError: a package of the extra `evaluate` is missing.
        HerError: data or settings are wrong, or a model is unknown at its endpoint.
    """
    require_packages()
    cases = read_cases(options.cases, options.limit)
    if options.anonymous:
        cases = tuple(case.renamed() for case in cases)
    require_books(cases, options.retrieval)
    hashes = atomic.file_hashes(case_files(options.cases))
    with open_run("evaluate", options.name, options, seed=options.seed, hashes=hashes) as opened:
        try:
            written = asyncio.run(evaluate(opened, options, cases, hashes))
        except BudgetSpent as spent:
            raise RunStopped(f"{spent}; raise the budget to resume") from spent
        except BackendError as error:
            raise RunStopped(str(error)) from error
        opened.update_status(outputs={path.name: atomic.file_hash(path) for path in written})
        return written[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
