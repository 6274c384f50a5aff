"""Check a judge: labelled pairs -> verdicts -> its report card as JSON, Markdown and one HTML page.

    python -m pipelines.judge_check @pipelines/configs/judge_check_smoke.toml
    her run judge-check --data votes.jsonl 'endpoints=["openai:http://127.0.0.1:8000/v1"]' ablation=true

The run folder is HER_HOME/runs/NAME. Every call goes through its ledger: a check that was killed asks nothing twice.
"""

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from her.backends.base import Backend
from her.backends.reward_model import RewardModelBackend
from her.errors import BackendError
from her.files import atomic
from her.inference.caller import BudgetSpent, Caller, Ledger
from her.inference.progress import Progress
from her.judging.adversarial import ATTACKS, AdversarialPair
from her.judging.card_page import write_card, write_comparison
from her.judging.honest_turns import attacked_pairs
from her.judging.labelled import LabelledQuestion, LabelledSet
from her.judging.report_card import ReportCard
from her.judging.role_play_benchmarks import read_labelled
from her.runs.command_line import run_command_line
from her.runs.open_run import Run, RunStopped, open_run
from her.types import Preference, Verdict
from pipelines.judge_check.judging import check_design
from pipelines.judge_check.options import JudgeCheckOptions
from pipelines.judge_check.planted import planted_pairs
from pipelines.judge_check.scripted_judge import ScriptedJudge

LABELS = "--data"


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(list(_settings(words)), JudgeCheckOptions, run, "judge-check")


def _settings(words: Sequence[str]) -> Iterator[str]:
    """Yield the words with `--data PATH` and `--data=PATH` as the setting that they mean."""
    rest = iter(words)
    for word in rest:
        if word == LABELS:
            yield f"input.path={next(rest, '')}"
        elif word.startswith(f"{LABELS}="):
            yield f"input.path={word.partition('=')[2]}"
        else:
            yield word


def run(options: JudgeCheckOptions) -> Path:
    """Run the check and return the path of its page.

    Raises:
        RunStopped: the budget is spent or no endpoint is left; the check can be resumed.
        HerError: the labels or settings are wrong.
    """
    labelled = load_labels(options)
    inputs = _input_files(options)
    with open_run("judge_check", options.name, options, seed=options.seed, hashes=atomic.file_hashes(inputs)) as opened:
        try:
            cards = asyncio.run(_check(opened, options, labelled))
        except BudgetSpent as spent:
            raise RunStopped(f"{spent}; raise the budget to resume") from spent
        except BackendError as error:
            raise RunStopped(str(error)) from error
        write_cards(cards, options, opened.folder)
        for card in cards:
            opened.log_metric(design=card.name, agreement=card.agreement.value, missing=card.missing.value, pairs=card.pairs)
        written = [opened.folder / f"report_card.{ending}" for ending in ("json", "md", "html")]
        opened.update_status(outputs={path.name: atomic.file_hash(path) for path in written})
        return opened.folder / "report_card.html"


def load_labels(options: JudgeCheckOptions) -> LabelledSet:
    """Return the pairs and turns of the settings, limited and in a seeded order.

    Raises:
        InputError: the path or its layout is wrong.
    """
    if options.input.path is None:
        labelled = LabelledSet(planted_pairs(options.input.planted, options.seed))
    else:
        labelled = read_labelled(options.input.path, options.input.layout)
    if not options.input.limit:
        return labelled
    chance = random.Random(f"limit {options.seed}")
    pairs, turns = (tuple(chance.sample(part, min(options.input.limit, len(part)))) for part in (labelled.pairs, labelled.turns))
    return labelled._replace(pairs=pairs, turns=turns)  # type: ignore[arg-type]


def _input_files(options: JudgeCheckOptions) -> list[Path]:
    path = options.input.path
    if path is None:
        return []
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in (".json", ".jsonl", ".csv"))


def open_endpoints(options: JudgeCheckOptions) -> list[str | Backend]:
    """Return what the caller asks: specs, scalar reward models, or the scripted judge."""
    if options.judge.form == "scalar":
        return [RewardModelBackend(spec) for spec in options.endpoints]
    return [*options.endpoints] or [ScriptedJudge(options.scripted)]


async def _check(opened: Run, options: JudgeCheckOptions, labelled: LabelledSet) -> list[ReportCard]:
    endpoints = open_endpoints(options)
    attacks = attacks_on(labelled.pairs, options)
    designs = options.designs()
    with Ledger(opened.folder / "calls.sqlite3") as ledger:
        async with Caller(endpoints, ledger, options.calls.limits(len(endpoints))) as caller:
            try:
                with Progress([caller.counters], opened.log_metric, options.calls.pilot) as progress:
                    return [await check_design(each, options, labelled, attacks, caller, progress.tick) for each in designs]
            finally:
                for endpoint in endpoints:
                    if not isinstance(endpoint, str):  # the caller closes what it opened itself
                        await endpoint.close()


def attacks_on(pairs: Sequence[LabelledQuestion], options: JudgeCheckOptions) -> list[AdversarialPair]:
    """Return attacks of every kind on turns that won; none where no pair has a winner."""
    won = [preference for pair in pairs if (preference := _as_preference(pair)) is not None]
    return attacked_pairs(won, tuple(ATTACKS), options.attacked, options.seed) if won and options.attacked else []


def _as_preference(pair: LabelledQuestion) -> Preference | None:
    if pair.label not in ("a", "b"):
        return None
    question = pair.question
    chosen, rejected = (question.a, question.b) if pair.label == "a" else (question.b, question.a)
    # Attacks are drawn by the turn's id, and a turn that was parsed from a text has another one each time.
    chosen = chosen.model_copy(update={"id": question.id})
    verdict = Verdict(winner="a", judge="label")
    return Preference(prompt=question.prompt, chosen=chosen, rejected=rejected, verdict=verdict, conversation=pair.conversation)


def write_cards(cards: Sequence[ReportCard], options: JudgeCheckOptions, folder: Path) -> None:
    """Write the report card, or the comparison of several designs."""
    title = f"Judge check {options.name}"
    if len(cards) == 1:
        write_card(cards[0], folder, title)
    else:
        write_comparison(cards, folder, title)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
