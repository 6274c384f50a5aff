"""Draw the figures of a report card as SVG with matplotlib, for a page that has a light and a dark theme.

matplotlib writes colours into the drawing; a few that occur nowhere else stand for the page's own and are replaced by its CSS
variables. Text stays text, in the page's fonts. Every drawing is as wide as a phone, so it is never scaled down to be read.
"""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any, NamedTuple

from her.judging.card_text import FigureRow
from her.judging.report_card import Calibration

WIDTH, ROW, MARGIN = 3.7, 0.26, 0.62
"""Inches: width of a drawing, height of a row, height of the axis below; 100 pixels an inch."""
INK, SOFT, RULE, MARK, BAND = "#010203", "#010204", "#010205", "#010206", "#010207"
VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", RULE: "var(--rule)", MARK: "var(--mark)", BAND: "var(--band)"}
LONGEST_NAME = 30
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a name is a `$`
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "font.size": 9,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_ID = re.compile(r' id="(?:figure|axes|patch|text|line2d|matplotlib\.axis|xtick|ytick|LineCollection|PathCollection|legend)_\d+"')


def interval_plot(rows: Sequence[FigureRow], title: str, *, band: FigureRow | None = None) -> str:
    """Return the SVG of values with their intervals, one row each; an empty string for no rows.

    Args:
        title: said to those who do not see the drawing.
        band: an interval that is drawn as a band behind all rows, such as the human ceiling.
    """
    known = [row for row in rows if not math.isnan(row.interval.value)]
    if not known:
        return ""
    shares = all(0 <= limit <= 1 for row in known for limit in row.interval if not math.isnan(limit))
    with _drawing(len(known) * ROW + MARGIN) as (figure, axes):
        for place, row in enumerate(known):
            _draw_row(axes, len(known) - 1 - place, row)
        if band is not None and not math.isnan(band.interval.value):
            _draw_band(axes, band)
        axes.set_yticks(range(len(known)), [_short(row.name) for row in reversed(known)])
        axes.set_ylim(-0.6, len(known) - 0.4)
        if shares:
            axes.set_xlim(-0.02, 1.02)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        return _svg(figure, title)


def calibration_plot(curve: Sequence[Calibration], title: str) -> str:
    """Return the SVG of the reliability curve; an empty string for a judge that gives no probabilities."""
    if not curve:
        return ""
    with _drawing(WIDTH * 0.8) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
        most = max(part.rows for part in curve)
        axes.plot([part.given for part in curve], [part.found for part in curve], color=MARK, linewidth=1.2)
        sizes = [12 + 60 * part.rows / most for part in curve]
        axes.scatter([part.given for part in curve], [part.found for part in curve], s=sizes, color=MARK, zorder=3)
        axes.set_xlabel("given probability that a wins")
        axes.set_ylabel("share that a won")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.grid(color=RULE, linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return _svg(figure, title)


class Curve(NamedTuple):
    """A curve over steps: values with their limits (NaN or None for none), and the level to compare with."""

    steps: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    level: float | None = None
    marked: Sequence[float] = ()
    """Steps at which a vertical line stands, such as those of alarms."""


def curve_plot(curve: Curve, title: str) -> str:
    """Return the SVG of a curve over training steps; an empty string for no points."""
    if not curve.steps:
        return ""
    with _drawing(WIDTH * 0.5) as (figure, axes):
        if curve.low and curve.high:
            axes.fill_between(curve.steps, curve.low, curve.high, color=BAND, linewidth=0)
        if curve.level is not None:
            axes.axhline(curve.level, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
        for step in curve.marked:
            axes.axvline(step, color=INK, linewidth=0.8)
        axes.plot(curve.steps, curve.values, color=MARK, linewidth=1.4, marker="o" if len(curve.steps) < 60 else "", markersize=3)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(integer=True)  # steps are whole numbers
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return _svg(figure, title)


def _draw_row(axes: Any, height: float, row: FigureRow) -> None:
    value, low, high = row.interval
    if row.neutral is not None:
        axes.plot([row.neutral] * 2, [height - 0.35, height + 0.35], color=SOFT, linewidth=1.4)
    if not math.isnan(low):
        axes.plot([low, high], [height, height], color=MARK, linewidth=2, solid_capstyle="butt")
    axes.plot([value], [height], marker="o", markersize=5, color=MARK)


def _draw_band(axes: Any, band: FigureRow) -> None:
    value, low, high = band.interval
    if not math.isnan(low):
        axes.axvspan(low, high, color=BAND, linewidth=0, zorder=0)
    axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)


@contextmanager
def _drawing(height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes; settings of matplotlib are put back afterwards."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # measured in another font than the page's
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        yield figure, axes


def _svg(figure: Any, title: str) -> str:
    """Return the drawing as an element for HTML, with the page's colours."""
    from matplotlib import rc_context

    text = StringIO()
    # Ids of shared shapes are hashes; with the title in them two drawings on one page share none.
    with rc_context({"svg.hashsalt": title}):
        figure.savefig(
            text, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    drawing = text.getvalue()
    drawing = _ID.sub("", drawing[drawing.index("<svg") :])
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, variable)
    return drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
