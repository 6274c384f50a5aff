"""Test what a report says of its judge: measured against people, another one, or not measured."""

import json
from pathlib import Path

import pytest

from her.errors import InputError
from her.inference.call import Call
from pipelines.evaluate.judge_calibration import calibrated, calibration_lines
from tests.judging.test_role_play_benchmarks import scored
from tests.pipelines.evaluate.asking import Reply

CARD = {
    "judge": "judge@1",
    "model": "judge@1",
    "turns": 1750,
    "pairs": 271,
    "agreement": [0.55, 0.5, 0.6],
    "ceiling": [0.514, 0.495, 0.532],
    "correlation": {"all": [0.61, None, None]},
}


def write_character_bench(folder: Path) -> Path:
    """Write answers that people scored, each in both languages."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for score in (1, 4):
        row = scored(score, character_name=f"李越{score}")
        row["response_messages"]["response"] += "好" * score
        row["translation_en"]["response_messages"]["response"] += " Good." * score
        found.append(row)
    (folder / "emotion_test.json").write_text(json.dumps(found), "utf-8")
    return folder


async def test_labels_of_people_at_a_path_calibrate_the_judge(tmp_path: Path) -> None:
    asked: list[Call] = []

    async def ask(call: Call) -> Reply:
        asked.append(call)
        text = call.messages[-1].content
        return Reply(f"Score: {6 if 'Good. Good.' in text or '好好' in text else 3}")

    labels = write_character_bench(tmp_path / "labels")
    card = await calibrated(str(labels), tmp_path, ask, "judge@1")  # type: ignore[arg-type]
    assert card == str(tmp_path / "judge_calibration.json") and len(asked) == 4
    assert calibration_lines(card, ["judge@1"]) == (
        "judge@1: Spearman's rho 1.00 (1.00 to 1.00) with people's scores of 4 turns.",
    )
    again = [await calibrated(source, tmp_path, ask, "judge@1") for source in ("", "judge-check", card)]  # type: ignore[arg-type]
    assert again == ["", "judge-check", card] and len(asked) == 4


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
