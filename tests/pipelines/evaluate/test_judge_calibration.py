"""Test what a report says of its judge: measured against people, another one, or not measured."""

import json
from pathlib import Path

import pytest

from her.errors import InputError
from pipelines.evaluate.judge_calibration import calibration_lines

CARD = {
    "judge": "judge@1",
    "model": "judge@1",
    "turns": 1750,
    "pairs": 271,
    "agreement": [0.55, 0.5, 0.6],
    "ceiling": [0.514, 0.495, 0.532],
    "correlation": {"all": [0.61, None, None]},
}


def test_a_card_calibrates_its_judge(tmp_path: Path) -> None:
    (tmp_path / "report_card.json").write_text(json.dumps(CARD), "utf-8")
    rank, agreement = calibration_lines(str(tmp_path), ["judge@1", ""])
    assert rank == "judge@1: Spearman's rho 0.61 with people's scores of 1,750 turns."
    assert "agreement 0.55 (0.50 to 0.60)" in agreement and "two people agree in 0.51 (0.49 to 0.53)" in agreement
    assert "another one" in calibration_lines(str(tmp_path / "report_card.json"), ["other"])[-1]


def test_a_judge_that_nobody_measured_is_called_that() -> None:
    assert "not calibrated" in calibration_lines("", ["judge@1"])[0] and calibration_lines("", [""]) == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[3]"])
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report_card.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match="no report card"):
        calibration_lines(str(tmp_path), ["judge@1"])


def test_a_run_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no report card"):
        calibration_lines("never-run", ["judge@1"])
