"""her/judging/card_plots.py: what is drawn, and what is left out."""

import math

import pytest

from her.judging.card_plots import calibration_plot, interval_plot
from her.judging.card_text import FigureRow
from her.judging.report_card import Calibration
from her.statistics import Interval

pytestmark = pytest.mark.whole  # draws with matplotlib
NAN = math.nan


def test_names_are_text_and_unknown_values_are_no_rows() -> None:
    rows = [
        FigureRow("known $a$ & b", Interval(0.5, 0.4, 0.6), "", 0.5),
        FigureRow("unknown", Interval(NAN, NAN, NAN), ""),
        FigureRow("单人", Interval(0.2, NAN, NAN), ""),
    ]
    drawing = interval_plot(rows, "Figures", band=rows[0])
    assert "known $a$ &amp; b</text>" in drawing and "单人</text>" in drawing and "unknown" not in drawing
    assert drawing == interval_plot(rows, "Figures", band=rows[0]), "the same rows give the same drawing"
    assert drawing.startswith('<svg role="img" aria-label="Figures" ')


def test_nothing_known_is_no_drawing() -> None:
    assert interval_plot([], "t") == "" == interval_plot([FigureRow("x", Interval(NAN, NAN, NAN), "")], "t")
    assert calibration_plot([], "t") == ""


def test_a_calibration_curve_names_its_axes() -> None:
    drawing = calibration_plot([Calibration(given=0.2, found=0.3, rows=5), Calibration(given=0.8, found=0.9, rows=1)], "Curve")
    assert "given probability that a wins</text>" in drawing and "share that a won</text>" in drawing
