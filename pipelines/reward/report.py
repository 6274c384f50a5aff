"""Write the report of a reward run: `report.json`, the same as `report.md`, and the model card."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from her.feedback.agreement import JudgeAgreement
from her.files.atomic import replacing
from her.judging.card_text import markdown
from her.judging.preference_pairs import VIEWER, conversation_of
from her.judging.report_card import ReportCard
from her.statistics import Interval
from her.training_data.overlap import TrainedOn, trained_on
from her.types import Preference, Value
from her.view import line
from pipelines.reward.evaluation import ModelFigures


class RewardReport(Value):
    """Figures of a reward run.

    Args:
        trained: pairs trained on, negatives included; `held_out` pairs evaluated on, in `conversations` conversations.
        left_out: pairs that were not used, by reason.
        seconds: wall-clock seconds of the training alone.
        difference: relative difference of scores between the model in memory and the one read back.
        models: the scalar model first, then the baselines.
        ceiling: how often two people name the same winner, where people voted.
        people: agreement of the scalar model with single votes on the held-out pairs.
    """

    name: str
    base: str
    trained: int
    held_out: int
    conversations: int
    left_out: dict[str, int]
    seconds: float
    difference: float
    models: tuple[ModelFigures, ...]
    ceiling: Interval | None = None
    people: JudgeAgreement | None = None


class RewardManifest(Value):
    """Conversations of a run: no later stage may test or reward on those that were trained on.

    Args:
        content: hashes of what was trained on, for conversations that have another id elsewhere; None in older manifests.
    """

    run: str
    base: str
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    content: TrainedOn | None = None


def write_report(report: RewardReport, folder: Path) -> None:
    """Write both forms of the report."""
    for name, text in (("report.json", report.model_dump_json(indent=2) + "\n"), ("report.md", report_text(report))):
        with replacing(folder / name) as file:
            file.write(text)


def trained_content(preferences: Iterable[Preference]) -> TrainedOn:
    """Return hashes of the prompts and lines of preferences, their candidates included."""
    return trained_on(
        (conversation_of(each), each.prompt, [line(turn, VIEWER) for turn in (each.chosen, each.rejected)])
        for each in preferences
    )


def write_manifest(manifest: RewardManifest, folder: Path) -> None:
    """Write `manifest.json`."""
    with replacing(folder / "manifest.json") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")


def report_text(report: RewardReport) -> str:
    """Return the report as Markdown."""
    head = [
        f"# Reward model {report.name}",
        "",
        f"Base: {report.base or 'random weights'}. Trained on {report.trained:,} pairs in {report.seconds:.0f} s, evaluated on "
        f"{report.held_out:,} pairs of {report.conversations:,} held-out conversations. Intervals are 95 %, over conversations.",
        "",
    ]
    if report.ceiling is not None:
        head += [f"Two people name the same winner in {cell(report.ceiling)} of the pairs.", ""]
    if report.people is not None:
        head += [_people(report.people), ""]
    left_out = ", ".join(f"{why}: {count:,}" for why, count in report.left_out.items())
    return "\n".join(
        [*head, *([f"Left out: {left_out}.", ""] if left_out else []), *_accuracy_table(report.models), *_attacks(report)]
    )


def _people(people: JudgeAgreement) -> str:
    return (
        f"The scalar model names the winner of a single vote in {cell(people.agreement)} of {people.pairs:,} held-out pairs "
        f"(Cohen's kappa {cell(people.kappa)}, Krippendorff's alpha {cell(people.alpha)}); two people on the same pairs do in "
        f"{cell(people.ceiling)}. These intervals are over raters and conversations."
    )


def model_card(report: RewardReport, stop: str, card: ReportCard | None = None) -> str:
    """Return the README.md of the model's folder, with the model's report card as a section."""
    base = f"base_model: {report.base.partition('@')[0]}\n" if report.base and not report.base.startswith(("/", ".", "~")) else ""
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-classification\n{base}---\n\n"
        "A scalar reward model of role-play turns: one output, higher is better. It reads the prompt and one candidate turn with "
        "its role thinking and without its system thinking, rendered by the saved chat template; a turn ends with "
        f"`{stop}`. Differences of scores are log odds of a preference; a score alone means nothing.\n\n"
        + report_text(report).partition("\n")[2].lstrip()
        + ("" if card is None else f"\n{markdown(card)}")
    )


def _accuracy_table(models: Sequence[ModelFigures]) -> list[str]:
    principles = sorted({name for model in models for name in model.by_principle})
    head = ["model", "accuracy", *(f"decided by {name}" for name in principles), "ECE"]
    rows = [
        [model.name, cell(model.accuracy), *(cell(model.by_principle.get(name)) for name in principles), number(model.ece)]
        for model in models
    ]
    return table(head, rows)


def _attacks(report: RewardReport) -> list[str]:
    kinds = sorted({kind for model in report.models for kind in model.attacks})
    if not kinds:
        return []
    rows = [[kind, *(cell(model.attacks.get(kind)) for model in report.models)] for kind in kinds]
    return [
        "",
        "Share of attacks in which the honest turn scores higher:",
        "",
        *table(["attack", *(model.name for model in report.models)], rows),
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def cell(interval: Interval | None) -> str:
    """Return an interval as a table shows it."""
    if interval is None or math.isnan(interval.value):
        return "-"
    limits = "" if math.isnan(interval.low) else f" ({interval.low:.3f} to {interval.high:.3f})"
    return f"{interval.value:.3f}{limits}"


def number(value: float | None) -> str:
    """Return a number as a table shows it."""
    return "-" if value is None else f"{value:.3f}"
