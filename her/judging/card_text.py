"""Write a report card in words: rows of figures, and a section of a model card in Markdown."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from her.judging.report_card import ReportCard
from her.statistics import Interval

UNKNOWN = "–"
NO_CEILING = "unknown: no two people voted on one pair"


HEAD = ("design", "agreement", "first slot", "swap consistency", "ties", "missing", "calls", "tokens")
"""Columns of a comparison."""


class Cell(NamedTuple):
    """A number of a comparison, and its interval in brackets where it has one."""

    value: str
    limits: str = ""


class FigureRow(NamedTuple):
    """One figure as people read it.

    Args:
        neutral: value of an unbiased judge, where there is one.
        meaning: half a sentence that says how to read the value.
    """

    name: str
    interval: Interval
    meaning: str
    neutral: float | None = None


def agreement_rows(card: ReportCard) -> list[FigureRow]:
    """Return agreement with labels and people, by dimension and language, and the human ceiling."""
    rows = [FigureRow("labels", card.agreement, "share of verdicts equal to the label")] if card.pairs else []
    if card.people is not None:
        rows.append(FigureRow("single people", card.people, "share of single votes that the verdict agrees with"))
    if card.ceiling is not None:
        rows.append(FigureRow("two people", card.ceiling, "human ceiling: how often two people agree on such a pair"))
    rows += [FigureRow(_words(name), each, "") for name, each in card.by_dimension.items()]
    return rows + [FigureRow(_language(name), each, "") for name, each in card.by_language.items()]


def correlation_rows(card: ReportCard) -> list[FigureRow]:
    """Return the rank correlations with people's scores; none where no turn has a score."""
    return [
        FigureRow("all turns" if name == "all" else _words(name), each, "Spearman's rho with people's scores", 0.0)
        for name, each in card.correlation.items()
    ]


def bias_rows(card: ReportCard) -> list[FigureRow]:
    """Return the figures that show a bias or a lack of consistency."""
    if not card.pairs:
        return [FigureRow("missing", card.missing, "share of turns without a score", 0.0)]
    ties = f"share of ties; {_percent(card.label_tie_rate)} of the labels are"
    rows = [
        FigureRow("first slot", card.first_slot, "share of decided verdicts for the candidate shown first", 0.5),
        FigureRow("swap consistency", card.swap_consistency, "share of pairs with one verdict in both orders", 1.0),
        FigureRow("ties", card.tie_rate, ties, None if math.isnan(card.label_tie_rate) else card.label_tie_rate),
        FigureRow("self-preference", card.self_preference, "how much more often than the labels it chose its own family", 0.0),
        FigureRow("missing", card.missing, "share of pairs without a verdict in both orders", 0.0),
    ]
    return [row for row in rows if not math.isnan(row.interval.value)]


def verbosity_rows(card: ReportCard) -> list[FigureRow]:
    """Return the slope over length, which is no share and has a scale of its own; none where it says nothing."""
    meaning = "log odds to win for each log ratio of lengths, beyond the labels' own"
    known = not math.isnan(card.verbosity.value)
    return [FigureRow("verbosity slope", card.verbosity, meaning, 0.0)] if known else []


def adversarial_rows(card: ReportCard) -> list[FigureRow]:
    """Return the share of attacks of each kind that the honest turn beats."""
    return [FigureRow(_words(kind), each, "", 1.0) for kind, each in card.adversarial.items()]


def markdown(card: ReportCard, heading: str = "## Report card") -> str:
    """Return a section for a model card."""
    tables = [
        ("Agreement", agreement_rows(card)),
        ("Rank correlation with people's scores", correlation_rows(card)),
        ("Bias and consistency", [*bias_rows(card), *verbosity_rows(card)]),
        ("Attacks seen through", adversarial_rows(card)),
    ]
    parts = [_cell_text(heading), summary(card)]
    parts += [f"**{name}**\n\n{_table(rows)}" for name, rows in tables if rows]
    parts += [calibration_line(card), cost_line(card)]
    return "\n\n".join(filter(None, parts)) + "\n"


def comparison(cards: Sequence[ReportCard]) -> str:
    """Return one Markdown table of several designs of a judge over the same pairs."""
    rows = [[_cell_text(card.name), *(f"{cell.value} {cell.limits}".strip() for cell in cells(card))] for card in cards]
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ["---"] * len(HEAD), *rows)) + "\n"


def cells(card: ReportCard) -> list[Cell]:
    """Return the cells of a comparison after the name of the design."""
    shares = (card.agreement, card.first_slot, card.swap_consistency, card.tie_rate, card.missing)
    cost = card.cost
    counts = (0, 0) if cost is None else (cost.calls, cost.prompt_tokens + cost.completion_tokens)
    return [*map(_cell, shares), *(Cell(f"{count:,}" if cost else UNKNOWN) for count in counts)]


def _cell(share: Interval) -> Cell:
    value, _, limits = value_text(share).partition(" ")
    return Cell(value, limits)


def summary(card: ReportCard) -> str:
    """Return one sentence: who was judged on what, and the agreement beside what people reach."""
    who = card.judge + (f" ({card.model})" if card.model and card.model != card.judge else "")
    if not card.pairs:
        rho = value_text(card.correlation.get("all", card.agreement))
        return f"{_cell_text(who)} on {card.turns:,} turns that people scored: Spearman's rho {rho}. Intervals are 95 %."
    ceiling = NO_CEILING if card.ceiling is None else value_text(card.ceiling)
    return (
        f"{_cell_text(who)} on {card.pairs:,} labelled pairs: agreement {value_text(card.agreement)}, Cohen's kappa "
        f"{number_text(card.kappa)}; human ceiling {ceiling}. Intervals are 95 %, over conversations."
    )


def calibration_line(card: ReportCard) -> str:
    """Return the calibration error in a sentence; empty for a judge that gives no probabilities."""
    if not card.calibration:
        return ""
    rows = sum(part.rows for part in card.calibration)
    return f"Expected calibration error {number_text(card.calibration_error)} over {rows:,} pairs, 10 bins."


def cost_line(card: ReportCard) -> str:
    """Return calls, tokens and money in a sentence; empty where nothing was counted."""
    if (cost := card.cost) is None:
        return ""
    judged = max(1, card.pairs or card.turns)
    money = f", {cost.money:,.2f} in money" if cost.money else ""
    return (
        f"{cost.calls:,} calls ({cost.calls / judged:.1f} for each {'pair' if card.pairs else 'turn'}), "
        f"{cost.prompt_tokens:,} prompt and {cost.completion_tokens:,} completion tokens{money}."
    )


def value_text(interval: Interval) -> str:
    """Return a value with its interval, three decimals."""
    if math.isnan(interval.value):
        return UNKNOWN
    limits = "" if math.isnan(interval.low) else f" ({interval.low:.3f} to {interval.high:.3f})"
    return f"{interval.value:.3f}{limits}"


def number_text(number: float) -> str:
    """Return a number with three decimals."""
    return UNKNOWN if math.isnan(number) else f"{number:.3f}"


def _table(rows: Sequence[FigureRow]) -> str:
    lines = [f"| {_cell_text(row.name)} | {value_text(row.interval)} | {_cell_text(row.meaning)} |" for row in rows]
    return "\n".join(["| figure | value | |", "| --- | --- | --- |", *lines])


def _cell_text(text: str) -> str:
    """Return a text that cannot break out of a table or start a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _language(name: str) -> str:
    return {"en": "English", "zh": "Chinese"}.get(name, name)


def _percent(share: float) -> str:
    return "an unknown share" if math.isnan(share) else f"{share:.1%}"
