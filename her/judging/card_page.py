"""Write report cards as files: JSON for programs, Markdown for model cards, and one HTML page with plots that loads nothing.

The drawings need matplotlib, which the extra `train` installs.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from her.files.atomic import replacing
from her.judging import card_text
from her.judging.card_plots import calibration_plot, interval_plot
from her.judging.card_text import Cell, FigureRow
from her.judging.report_card import ReportCard
from her.statistics import Interval


class PagePart(NamedTuple):
    """A section of the page: a drawing beside the table of its numbers."""

    name: str
    drawing: Markup
    caption: str
    rows: Sequence[FigureRow]


class CardView(NamedTuple):
    """A report card as the template reads it."""

    name: str
    summary: str
    tiles: list[tuple[str, str]]
    parts: list[PagePart]
    cost: str
    cells: list[Cell]


def write_card(card: ReportCard, folder: Path, title: str) -> None:
    """Write `report_card.json`, `report_card.md` and `report_card.html`."""
    _write(folder / "report_card.json", card.model_dump_json(indent=2) + "\n")
    _write(folder / "report_card.md", card_text.markdown(card, f"# {title}"))
    _write(folder / "report_card.html", page([card], title))


def write_comparison(cards: Sequence[ReportCard], folder: Path, title: str) -> None:
    """Write several designs: `report_card.json` is a list, page and Markdown begin with one table."""
    _write(folder / "report_card.json", "[\n" + ",\n".join(card.model_dump_json(indent=2) for card in cards) + "\n]\n")
    sections = [card_text.markdown(card, f"## {card.name}") for card in cards]
    _write(folder / "report_card.md", "\n".join([f"# {title}\n", card_text.comparison(cards), *sections]))
    _write(folder / "report_card.html", page(cards, title))


def page(cards: Sequence[ReportCard], title: str) -> str:
    """Return the page of one card or of several designs; every text is escaped."""
    band = next((row for card in cards for row in _ceiling(card)), None)
    rows = [FigureRow(card.name, card.agreement, "") for card in cards]
    return _template().render(
        title=title,
        views=[_view(card) for card in cards],
        drawing=Markup(interval_plot(rows, "Agreement of each design", band=band)) if len(cards) > 1 else "",
        head=card_text.HEAD,
        value=card_text.value_text,
    )


def _view(card: ReportCard) -> CardView:
    return CardView(
        card.name, card_text.summary(card), _tiles(card), list(_parts(card)), card_text.cost_line(card), card_text.cells(card)
    )


def _tiles(card: ReportCard) -> list[tuple[str, str]]:
    """Return the numbers that a reader wants first; unknown ones say so."""
    if not card.pairs:
        return [(_short(card.correlation["all"]), "Spearman's rho with people"), (_short(card.missing), "of turns have no score")]
    tiles = [
        (_short(card.agreement), "agreement with the labels"),
        ("unknown" if card.ceiling is None else _short(card.ceiling), "agreement of two people"),
        (card_text.number_text(card.kappa), "Cohen's kappa"),
        (_short(card.first_slot), "chosen because shown first, 0.5 is fair"),
        (_short(card.swap_consistency), "same verdict in both orders"),
        (_short(card.missing), "of pairs have no verdict"),
    ]
    return [(number, words) for number, words in tiles if number != card_text.UNKNOWN]


def _parts(card: ReportCard) -> list[PagePart]:
    prefix = f"{card.name}: " if card.name else ""  # two cards on one page have no drawing of one title

    def intervals(name: str, rows: Sequence[FigureRow], caption: str, band: FigureRow | None = None) -> PagePart:
        return PagePart(name, Markup(interval_plot(rows, prefix + name, band=band)), caption, rows)

    ceiling = next(iter(_ceiling(card)), None)
    agreement = "Dot and line: value and interval." + (" The band is what two people reach." if ceiling else "")
    marks = "A short upright line marks what a fair judge would have."
    curve = Markup(calibration_plot(card.calibration, prefix + "Calibration"))
    parts = [
        intervals("Agreement", card_text.agreement_rows(card), agreement, ceiling),
        intervals("Rank correlation", card_text.correlation_rows(card), "With people's scores, by dimension and language."),
        intervals("Bias and consistency", card_text.bias_rows(card), marks),
        intervals("Length", card_text.verbosity_rows(card), "0: length changes nothing that quality does not."),
        PagePart("Calibration", curve, "A point is a tenth of the probabilities; its size is the number of pairs.", _bins(card)),
        intervals("Attacks", card_text.adversarial_rows(card), "Share of worse versions of an honest turn that it saw through."),
    ]
    return [part for part in parts if part.drawing]


def _bins(card: ReportCard) -> list[FigureRow]:
    nan = math.nan
    rows = [
        FigureRow(f"given {part.given:.2f}", Interval(part.found, nan, nan), f"{part.rows:,} pairs") for part in card.calibration
    ]
    error = Interval(card.calibration_error, nan, nan)
    return [FigureRow("expected error", error, "mean distance between given and found"), *rows]


def _ceiling(card: ReportCard) -> list[FigureRow]:
    return [] if card.ceiling is None else [FigureRow("two people", card.ceiling, "")]


def _short(interval: Interval) -> str:
    return card_text.number_text(interval.value)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report_card.html.jinja")


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)
