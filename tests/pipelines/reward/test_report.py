"""pipelines/reward/report.py: the report says every figure with its interval, and unknown ones as a dash."""

import json
from pathlib import Path

from her.judging.report_card import report_card
from her.statistics import Interval
from pipelines.reward.evaluation import ModelFigures
from pipelines.reward.report import RewardReport, model_card, write_report
from tests.judging.test_report_card import QUICK, planted

NAN = float("nan")
REPORT = RewardReport(
    name="first",
    base="Qwen/Qwen3-0.6B",
    trained=90,
    held_out=10,
    conversations=1,
    left_out={"empty": 3},
    seconds=12.0,
    difference=1e-7,
    models=(
        ModelFigures(
            name="scalar",
            accuracy=Interval(0.9, 0.8, 0.95),
            by_principle={"gate": Interval(0.75, NAN, NAN)},
            ece=0.031,
            attacks={"colon": Interval(1.0, 0.7, 1.0)},
        ),
        ModelFigures(name="length only", accuracy=Interval(0.5, 0.4, 0.6)),
    ),
)


def test_both_forms_are_written(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["models"][0]["accuracy"] == [0.9, 0.8, 0.95]
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "| scalar | 0.900 (0.800 to 0.950) | 0.750 | 0.031 |" in text
    assert "| length only | 0.500 (0.400 to 0.600) | - | - |" in text
    assert "| colon | 1.000 (0.700 to 1.000) | - |" in text and "Left out: empty: 3." in text


def test_the_card_names_base_and_inputs() -> None:
    card = model_card(REPORT, "<|im_end|>")
    assert "base_model: Qwen/Qwen3-0.6B" in card and "without its system thinking" in card
    assert "base_model" not in model_card(REPORT.model_copy(update={"base": "./folder"}), "<|im_end|>")


def test_the_model_card_holds_the_report_card() -> None:
    text = model_card(REPORT, "<|im_end|>", report_card(planted(8), QUICK))
    assert "## Report card\n\nj (m@1) on 8 labelled pairs" in text and "## Report card" not in model_card(REPORT, "<|im_end|>")
