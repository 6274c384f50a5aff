"""pipelines/rl/panel_page.py: every curve is on the page, in the run's summary too, and no text breaks out of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from her import paths
from her.runs.commands import show_run
from her.runs.folder import RunStatus, run_folder
from her.statistics import Interval
from pipelines.rl.alarms import Alarm, Divergence, LengthChange
from pipelines.rl.panel import FOLDER, Look
from pipelines.rl.panel_page import FIGURES, LOOK_CURVES, summary_lines, write_panel
from pipelines.rl.turn_figures import TurnFigures
from tests.pipelines.rl.test_alarms import START

pytestmark = pytest.mark.whole


def look(step: int, **changes: Any) -> Look:
    figures = TurnFigures(**{**START, "phrase": "<script>alert(1)</script>"})
    fields: dict[str, Any] = {
        "step": step,
        "reward": 0.1 * step,
        "held_out": Interval(0.6, 0.5, 0.7),
        "divergence": Divergence(rows=64, share=Interval(0.2, 0.1, 0.3), start=0.1, p=0.2),
        "length": LengthChange(ratio=1.1, low=1.0, high=1.2),
        "plan_length": LengthChange(ratio=1.0, low=0.9, high=1.1),
        "figures": figures,
        "start": figures,
        "missing": 2,
    }
    return Look(**{**fields, **changes})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HER_HOME", str(tmp_path))
    assert paths.home() == tmp_path
    folder = run_folder("rl-test")
    (folder / FOLDER).mkdir(parents=True)
    (folder / "status.json").write_text(RunStatus(pipeline="reward", state="collapsed", reason="an alarm").model_dump_json())
    looks = [look(5), look(10, alarms=(Alarm(name="length", sentence="turns are <b>2</b> times as long"),), held_out=None)]
    (folder / FOLDER / "looks.jsonl").write_text("".join(each.model_dump_json() + "\n" for each in looks))
    lines = [{"step": step, "reward": 0.1 * step, "kl": 0.01, "shaping/length": 0.2, "loss": 1.0} for step in range(1, 11)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_page_has_every_curve_and_escapes_texts(run: Path) -> None:
    page = write_panel("rl-test").read_text()
    assert page.count("<svg") == len(LOOK_CURVES) + len(FIGURES) + 4
    assert "<script>" not in page and "<b>2</b>" not in page and "step 10, length" in page


def test_her_runs_show_says_it(run: Path) -> None:
    write_panel("rl-test")
    shown = show_run("rl-test")
    assert "collapsed (an alarm)" in shown and "alarms: length at step 10" in shown and "it collapsed" in shown
    (run / "panel.json").write_text("{")
    assert "'panel.json' cannot be read" in show_run("rl-test")


def test_the_summary_names_the_chosen_checkpoint() -> None:
    lines = summary_lines([look(5), look(20)], guard=10)
    assert lines[-1] == "best checkpoint: step 5" and "alarms: none" in lines[-2]
    assert "no checkpoint" in summary_lines([look(5, alarms=(Alarm(name="length", sentence="x"),))])[-1]
    assert summary_lines([]) == ["no look yet"]
