"""Write the report of a generative reward run: `report.json`, the same as `report.md`, and the model card."""

import math
from pathlib import Path

from her.files.atomic import replacing
from her.judging.card_text import markdown
from her.judging.report_card import ReportCard
from her.statistics import Interval
from her.types import Value
from pipelines.reward.generative_evaluation import GenerativeFigures
from pipelines.reward.generative_rows import Balance
from pipelines.reward.options import GenerativeOptions
from pipelines.reward.report import cell, number, table


class TrainedStage(Value):
    """A stage that ran: rows it was given, optimiser steps (0 where not counted) and wall-clock seconds."""

    name: str
    rows: int
    steps: int = 0
    seconds: float = 0.0


class GenerativeReport(Value):
    """Figures of a generative reward run.

    Args:
        left_out: pairs and critiques that were not used, by reason.
        before: shares of the readable critiques; `after` of those that were trained on.
        gain: accuracy of the last model less that of the fine-tuned one, over the same pairs; None with one stage.
        models: figures of each stage's model.
        card: report card of the last one.
    """

    name: str
    base: str
    form: str
    stages: tuple[TrainedStage, ...]
    left_out: dict[str, int]
    before: Balance
    after: Balance
    gain: Interval | None
    models: tuple[GenerativeFigures, ...]
    card: ReportCard | None = None


def write_generative_report(report: GenerativeReport, folder: Path) -> None:
    """Write both forms of the report."""
    texts = (("report.json", report.model_dump_json(indent=2) + "\n"), ("report.md", generative_text(report)))
    for name, text in texts:
        with replacing(folder / name) as file:
            file.write(text)


def generative_text(report: GenerativeReport) -> str:
    """Return the report as Markdown."""
    pairs = report.models[-1].pairs
    stages = "; ".join(
        f"{stage.name}: {stage.rows:,} rows, {f'{stage.steps:,} steps, ' if stage.steps else ''}{stage.seconds:.0f} s"
        for stage in report.stages
    )
    head = [
        f"# Generative reward model {report.name}",
        "",
        f"Base: {report.base or 'random weights'}. {stages}. Evaluated on {pairs:,} held-out pairs, each in both orders, as a "
        "judge is asked. Intervals are 95 %, over conversations.",
        "",
    ]
    left_out = ", ".join(f"{why}: {count:,}" for why, count in report.left_out.items())
    gain = [f"Gain of the last stage on the same pairs: {cell(report.gain)}.", ""] if report.gain else []
    return "\n".join(
        [
            *head,
            *([f"Left out: {left_out}.", ""] if left_out else []),
            *gain,
            *_figures(report),
            "",
            "Shares of the critiques:",
            "",
            *_balance(report),
            *_by_kind(report),
            "",
        ]
    )


def generative_card(report: GenerativeReport, options: GenerativeOptions) -> str:
    """Return the README.md of the model's folder."""
    base = f"base_model: {report.base.partition('@')[0]}\n" if report.base and not report.base.startswith(("/", ".", "~")) else ""
    judge = "PairJudge" if report.form == "pair" else "PointJudge"
    task = "compares two candidate turns" if report.form == "pair" else "rates one candidate turn"
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: text-generation\n{base}---\n\n"
        f"A generative reward model of role-play: it {task}, names its principles, quotes its evidence, and ends with the "
        "verdict. It sees role thinking and no system thinking. Its prompts are those of "
        f'`her.judging` with `{judge}(ask, ..., instructions="{options.instructions}")`; other prompts give other answers. '
        "Ask it about both orders: a disagreement is a tie.\n\n"
        + generative_text(report).partition("\n")[2].lstrip()
        + ("" if report.card is None else f"\n{markdown(report.card)}")
    )


def _figures(report: GenerativeReport) -> list[str]:
    principles = sorted({name for model in report.models for name in model.by_principle})
    rows = [
        ["accuracy", *(cell(model.accuracy) for model in report.models)],
        *([f"accuracy, decided by {name}", *(cell(m.by_principle.get(name)) for m in report.models)] for name in principles),
        ["agreement of both orders together", *(cell(model.agreement) for model in report.models)],
        ["same verdict in both orders", *(cell(model.swap_consistency) for model in report.models)],
        ["first candidate named", *(cell(model.first_slot) for model in report.models)],
        ["ties", *(f"{model.ties:.3f} (labels {model.label_ties:.3f})" for model in report.models)],
        ["missing", *(number(model.missing) for model in report.models)],
        ["attacks seen through", *(number(None if math.isnan(model.passed) else model.passed) for model in report.models)],
    ]
    return table(["", *(model.name for model in report.models)], rows)


def _balance(report: GenerativeReport) -> list[str]:
    names = {"pairs": "pairs", "ties": "ties", "a_wins": "a wins", "longer_wins": "longer one wins", "mixed": "mixed verdicts"}
    rows = [
        [title, *(f"{getattr(part, name):,}" if name == "pairs" else f"{getattr(part, name):.3f}" for part in parts)]
        for parts in [(report.before, report.after)]
        for name, title in names.items()
    ]
    return table(["", "readable", "trained"], rows)


def _by_kind(report: GenerativeReport) -> list[str]:
    lines: list[str] = []
    for title, field in (("Attacks that the honest turn beats", "attacks"), ("Honest turns that lose", "false_alarms")):
        kinds = sorted({kind for model in report.models for kind in getattr(model, field)})
        rows = [[kind, *(cell(getattr(model, field).get(kind)) for model in report.models)] for kind in kinds]
        if rows:
            lines += ["", f"{title}:", "", *table(["kind", *(model.name for model in report.models)], rows)]
    return lines
