"""Say in a model's card what it got worse at: against the checkpoint on stage, else against the model that it was trained from.

Every figure that fell stands there with its interval, whether or not the interval excludes zero: the score of the judge by
dimension, the overlap with the book's words, and the free metrics. Both models are known by a hash in the manifests of their
evaluations. Where there is nothing to compare, the section says so, and the command that makes it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from her.deploy.checkpoints import checkpoint_hash
from her.deploy.hub.bases import local_base
from her.deploy.hub.selection import SentRun, base_of
from her.deploy.stage_record import on_stage
from her.errors import InputError
from her.judging.promotion import free_differences
from her.judging.promotion_inputs import EVALUATE, evaluations_of
from her.judging.statistics import PairedDifference
from her.runs.pipelines import pipeline_module

TITLE = "## What got worse"


class _Before(NamedTuple):
    """The model that a published one is compared with."""

    what: str
    checkpoint: str
    folder: str


def worse_section(run: SentRun) -> str:
    """Return the section of the card of a model."""
    return f"{TITLE}\n\n{_text(run)}"


def _text(run: SentRun) -> str:
    own = checkpoint_hash(run.folder / "model")
    before = _before(run, own)
    if before is None:
        return "No model is on stage, and the one that it was trained from is not here, so there is nothing to compare with."
    try:
        known = evaluations_of((before.checkpoint, own))
        for checkpoint, name, folder in (
            (before.checkpoint, "before", before.folder),
            (own, run.name.split("/")[0], str(run.name)),
        ):
            if not known[checkpoint]:
                command = EVALUATE.format(folder=folder.rstrip("/").rsplit("/", 1)[-1], run=name)
                return f"Not known: {before.what} and this model were not both evaluated (`{command}`)."
        first, second = known[before.checkpoint][-1], known[own][-1]
        fallen = sorted(_fallen(first, second), key=lambda each: each[1].estimate.value or 0)
    except InputError as error:
        return f"Not known: {error}."
    head = f"Against {before.what}, over the scenes that both played (evaluations `{first}` and `{second}`)"
    if not fallen:
        return f"{head}, no figure fell."
    rows = [_row(name, found) for name, found in fallen]
    table = ["| figure | change | 95 % interval | p (Holm) | cases | missing | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([f"{head}, these figures fell:", "", *table, *rows])


def _before(run: SentRun, own: str) -> _Before | None:
    staged = on_stage()
    if staged is not None and staged.checkpoint != own:
        return _Before(f"the model on stage (run `{staged.run}`)", staged.checkpoint, staged.folder)
    model = run.settings.get("model", {})
    base = str(model.get("base", "")) if isinstance(model, dict) else ""
    folder = local_base(base) if base else None
    if folder is None or not (folder / "config.json").is_file():
        return None
    return _Before(f"its base `{base_of(run.settings)}`", checkpoint_hash(folder), str(folder))


def _fallen(first: str, second: str) -> Iterator[tuple[str, PairedDifference]]:
    """Yield every figure that is lower in the second evaluation."""
    read, compare = pipeline_module("evaluate", "report").read_run, pipeline_module("evaluate", "comparison").compare
    found: dict[str, PairedDifference] = dict(free_differences(first, second))
    for each in compare(read(first).scores, read(second).scores, (first, second)):
        about = f"{each.judge}, thoughts {each.thoughts}, {each.language}"
        found |= {f"{name} ({about})": difference for name, difference in each.differences.items()}
        found |= {f"{name} ({each.language})": difference for name, difference in each.overlap.items()}
    for name, difference in found.items():
        if difference.estimate.value is not None and difference.estimate.value < 0:
            yield name, difference


def _row(name: str, found: PairedDifference) -> str:
    estimate = found.estimate
    known = estimate.low is not None and estimate.high is not None
    interval = f"{estimate.low:+.4f} to {estimate.high:+.4f}" if known else f"none: {estimate.reason}"
    p = "" if found.adjusted is None else f"{found.adjusted:.4f}"
    said = "worse" if estimate.excludes(0) else "within the noise"  # Holm's p stands beside it
    plain = " ".join(name.split()).replace("|", "\\|").replace("`", "'")
    return f"| {plain} | {estimate.value:+.4f} | {interval} | {p} | {estimate.used} | {estimate.missing} | {said} |"
