"""her/runs/folder.py: names, status and metrics of a run, as they are read."""

import subprocess
import sys
from pathlib import Path

import pytest

from her import paths
from her.errors import InputError
from her.runs.folder import read_curve, read_metrics, read_status, run_folder
from her.runs.open_run import open_run
from tests.runs.settings import RunSettings


def test_a_truncated_metric_is_left_out(home: Path) -> None:
    with open_run("synthesize", "cut", RunSettings()) as run:
        run.log_metric(done=1)
    with (home / "runs/cut/metrics.jsonl").open("a") as file:
        file.write('{"done": 2')
    assert [line["done"] for line in read_metrics("cut")] == [1]


def test_a_running_run_that_nobody_locks_was_killed() -> None:
    with open_run("synthesize", "killed", RunSettings()) as run:
        status = run.status
    run.update_status(**status.model_dump())  # what a kill leaves behind
    assert read_status("killed").state == "killed"
    with open_run("synthesize", "killed", RunSettings()):
        assert read_status("killed").state == "running"
    assert read_status("killed").state == "done"


@pytest.mark.whole
def test_a_process_that_is_killed_leaves_no_lock(home: Path) -> None:
    program = (
        "import os, signal; from tests.runs.settings import RunSettings; from her.runs.open_run import open_run\n"
        "with open_run('synthesize', 'killed', RunSettings()): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT)
    assert '"running"' in (home / "runs/killed/status.json").read_text()
    assert read_status("killed").state == "killed"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "..", "a\nb"])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be a folder"):
        run_folder(name)


def test_an_unknown_run_is_named() -> None:
    with pytest.raises(InputError, match="no run 'absent'; there is none yet"):
        read_status("absent")


def test_the_curve_of_a_resumed_run_has_each_step_once() -> None:
    with open_run("synthesize", "curve", RunSettings()) as run:
        run.log_metric(stage="before")
        for step in (1, 2, 3, 4):
            run.log_metric(step=step, loss=step)
        run.log_metric(resumed_at=2)
        for step in (3, 4, 5):
            run.log_metric(step=step, loss=-step)
        run.log_metric(resumed_at=4)
        run.log_metric(step=5, loss=50)
    assert [(line["step"], line["loss"]) for line in read_curve("curve")] == [(1, 1), (2, 2), (3, -3), (4, -4), (5, 50)]
    assert read_curve("absent") == []
