"""Figures of a checkpoint that a publication holds, `free_metrics.json`: whoever pulls it measures the same and compares.

They are of ten greedy turns, or of ten scores of a scalar reward model, for prompts that stand in the file itself. Equal files
and versions give equal figures on one kind of machine; on another one the last bits of logits differ, and so may a token.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from her.deploy.hub.manifest import HubManifest
from her.errors import InputError
from her.types import Message, Value

FREE_METRICS = "free_metrics.json"
TOLERANCE = 1e-4
"""Largest difference of two scores that counts as none, relative to the larger one or to 1."""


class CheckpointFigures(Value):
    """Answers of a checkpoint to fixed prompts, and figures of them.

    Args:
        prompts: messages; those of a scalar reward model end with the answer that is scored.
        turns: greedy answers, in the order of the prompts; none of a scalar reward model, which has `scores` instead.
        figures: free metrics by name, without those that had nothing to count.
        versions: of the packages that measured, and `device`.
    """

    prompts: tuple[tuple[Message, ...], ...]
    turns: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    figures: dict[str, float]
    versions: dict[str, str] = {}


Measure = Callable[[Path, "tuple[tuple[Message, ...], ...]"], CheckpointFigures]
"""`(folder, prompts)` -> figures of the checkpoint in the folder; without prompts those of this project are taken."""


def write_figures(figures: CheckpointFigures, folder: Path) -> None:
    """Write the file of the figures into a folder that is going to be published."""
    path = folder / FREE_METRICS
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(figures.model_dump(), ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")


def read_figures(folder: Path, manifest: HubManifest) -> CheckpointFigures | None:
    """Return the figures that a pulled publication holds; None when it has none.

    Raises:
        InputError: the file is not one of figures.
    """
    if FREE_METRICS not in manifest.files:
        return None
    try:
        return CheckpointFigures.model_validate_json((folder / FREE_METRICS).read_bytes())
    except (ValidationError, OSError) as error:
        raise InputError(f"{FREE_METRICS} of '{folder.name}' cannot be read; it was not published with her") from error


def unlike(published: CheckpointFigures, measured: CheckpointFigures) -> list[str]:
    """Say what differs, one sentence each; empty when everything is equal."""
    found = [
        f"{name} is {_shown(measured.figures, name)} and was {_shown(published.figures, name)}"
        for name in sorted(published.figures.keys() | measured.figures.keys())
        if not _close(published.figures.get(name), measured.figures.get(name))
    ]
    others = sum(a != b for a, b in zip(published.turns, measured.turns, strict=False))
    if others or len(published.turns) != len(measured.turns):
        found.append(f"{others} of {len(published.turns)} greedy turns are others")
    apart = [not _close(a, b) for a, b in zip(published.scores, measured.scores, strict=False)]
    if any(apart) or len(published.scores) != len(measured.scores):
        found.append(f"{sum(apart)} of {len(published.scores)} scores are others")
    return found


def other_versions(published: CheckpointFigures, measured: CheckpointFigures) -> str:
    """Return what the two were measured with where that differs, such as `torch 2.13.0 and 2.14.0`; empty when it is the same."""
    names = sorted(published.versions.keys() | measured.versions.keys())
    return ", ".join(
        f"{name} {published.versions.get(name, 'none')} and {measured.versions.get(name, 'none')}"
        for name in names
        if published.versions.get(name) != measured.versions.get(name)
    )


def figures_section(figures: CheckpointFigures | None) -> str:
    """Return the section of a card; empty without figures, as a number without a record does not appear."""
    if figures is None:
        return ""
    what = f"{len(figures.turns)} greedy turns" if figures.turns else f"{len(figures.scores)} scores"
    measured = ", ".join(f"{name} {version}" for name, version in sorted(figures.versions.items()))
    head = (
        f"Of {what} for the prompts in `{FREE_METRICS}`, from the files of this repository, without a judge; `her pull` measures "
        f"them again and says whether they are equal. Measured with {measured}."
    )
    rows = [f"| {name} | {round(value, 6)} |" for name, value in sorted(figures.figures.items())]
    table = "\n".join(["## Free metrics", "", head, "", "| figure | value |", "| --- | --- |", *rows])
    return "\n\n".join(filter(None, (table, _worked_turn(figures))))


def _worked_turn(figures: CheckpointFigures) -> str:
    """Return the first prompt that was measured, with its greedy answer."""
    if not figures.turns:
        return ""
    said = [f"[{message.role}]\n{message.content}" for message in figures.prompts[0]] + [f"[answer]\n{figures.turns[0]}"]
    # What a model says must not end the block.
    shown = "\n\n".join(said).replace("~~~~", "~ ~ ~ ~")
    return f"## One turn\n\nThe first of these prompts, and what the model answers.\n\n~~~~text\n{shown}\n~~~~"


def _close(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TOLERANCE * max(1.0, abs(first), abs(second))


def _shown(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.6g}" if name in figures else "not there"
