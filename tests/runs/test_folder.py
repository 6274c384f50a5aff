"""Runs: what their folder holds, who may work on it, how they end, and how they are watched and stopped."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from her import paths
from her.config import load
from her.errors import HerError, InputError
from her.files import atomic as files
from her.runs.folder import read_curve, read_metrics, read_status, run_folder
from her.runs.open_run import RunStopped, open_run
from her.runs.pipelines import PIPELINES, pipeline_main, pipeline_options, require_pipeline
from her.runs.processes import stop_run
from her.types import Value


class Settings(Value):
    lines: int = 3
    budget: float = Field(default=1, json_schema_extra={"may_change": True})
    source: Path | None = None


def test_a_run_leaves_its_settings_its_circumstances_and_its_metrics(home: Path) -> None:
    with open_run("synthesize", "first", Settings(), seed=7, hashes={"book": "ab"}) as run:
        run.log_metric(stage="scenes", done=3)
        assert read_status("first").state == "running"
    status = read_status("first")
    assert (status.state, status.seed, status.hashes, status.starts) == ("done", 7, {"book": "ab"}, 1)
    assert status.versions["pydantic"] and status.ended >= status.started > 0
    assert [line["done"] for line in read_metrics("first")] == [3]
    assert load(Settings, [f"@{home / 'runs/first/config.toml'}"])[0] == Settings()
    assert "done" in (home / "runs/first/log.txt").read_text()


def test_a_metric_cut_by_a_kill_is_left_out(home: Path) -> None:
    with open_run("synthesize", "cut", Settings()) as run:
        run.log_metric(done=1)
    with (home / "runs/cut/metrics.jsonl").open("a") as file:
        file.write('{"done": 2')
    assert [line["done"] for line in read_metrics("cut")] == [1]


def test_the_second_process_on_one_folder_is_refused() -> None:
    with open_run("synthesize", "one", Settings()):
        program = "from tests.runs.test_folder import Settings, open_run\nwith open_run('synthesize', 'one', Settings()): pass"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=paths.ROOT)
        assert "another process works on run 'one'" in other.stderr
        with pytest.raises(InputError, match="another process"), open_run("synthesize", "one", Settings()):
            pass
    assert read_status("one").starts == 1


def test_a_run_goes_on_with_the_same_settings_only() -> None:
    with open_run("synthesize", "again", Settings()):
        pass
    with open_run("synthesize", "again", Settings(budget=2)):
        pass
    assert read_status("again").starts == 2
    with (
        pytest.raises(InputError, match=r"other settings \(lines: 3 -> 4\)"),
        open_run("synthesize", "again", Settings(lines=4)),
    ):
        pass


def test_where_the_end_cannot_be_noted_the_error_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise InputError("status.json cannot be written")

    with pytest.raises(HerError, match="no room left, the last good one is"), open_run("synthesize", "full", Settings()):
        monkeypatch.setattr("her.runs.open_run.replacing", full)
        raise HerError("no room left, the last good one is checkpoint-2")


def test_a_run_goes_on_with_the_same_inputs_only() -> None:
    for _ in range(2):
        with open_run("synthesize", "inputs", Settings(), hashes={"book.json": "ab"}):
            pass
    refused = pytest.raises(InputError, match=r"another 'book\.json'")
    with refused, open_run("synthesize", "inputs", Settings(), hashes={"book.json": "cd"}):
        pass


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "stopped", "stopped by hand"),
        (RunStopped("the budget is spent"), "stopped", "the budget is spent"),
        (ValueError("no"), "failed", "ValueError: no"),
    ],
)
def test_the_status_says_how_it_ended(error: BaseException, state: str, reason: str) -> None:
    with pytest.raises(type(error)), open_run("synthesize", "ends", Settings()):
        raise error
    assert (read_status("ends").state, read_status("ends").reason) == (state, reason)


def test_settings_that_were_refused_may_be_mended_under_the_same_name() -> None:
    """As long as nothing was made with them."""
    for made in (False, True):
        with pytest.raises(InputError), open_run("synthesize", "mended", Settings(lines=3)) as run:
            if made:
                run.log_metric(step=1)
            raise InputError("too long")
        if not made:
            with pytest.raises(InputError, match="too short"), open_run("synthesize", "mended", Settings(lines=4)):
                raise InputError("too short")
    with pytest.raises(InputError, match="other settings"), open_run("synthesize", "mended", Settings(lines=5)):
        pass


def test_a_killed_run_is_told_from_a_running_one(home: Path) -> None:
    program = (
        "import os, signal; from tests.runs.test_folder import Settings, open_run\n"
        "with open_run('synthesize', 'killed', Settings()): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT)
    assert json.loads((home / "runs/killed/status.json").read_text())["state"] == "running"
    assert read_status("killed").state == "killed"
    with open_run("synthesize", "killed", Settings()):
        pass
    assert read_status("killed").state == "done"


def test_stop_is_what_ctrl_c_is() -> None:
    program = (
        "import time; from tests.runs.test_folder import Settings, open_run\n"
        "with open_run('synthesize', 'slow', Settings()):\n    print('up', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=paths.ROOT
    ) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        assert stop_run("slow").state == "running"
        child.wait(20)
    assert read_status("slow").state == "stopped"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "..", "a\nb"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be a folder"):
        run_folder(name)


def test_unknown_runs_and_pipelines_are_named() -> None:
    with pytest.raises(InputError, match="no run 'absent'; there is none yet"):
        read_status("absent")
    with pytest.raises(InputError, match="no pipeline 'cook'; there are"):
        require_pipeline("cook")


def test_hashes_go_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "x.txt", tmp_path / "b" / "x.txt"):
        path.write_text("x")
    assert list(files.file_hashes([tmp_path / "x.txt", tmp_path / "b" / "x.txt"])) == ["x.txt", str(tmp_path / "b" / "x.txt")]
    with pytest.raises(InputError, match="cannot be read"):
        files.file_hash(tmp_path / "absent")


def test_the_curve_of_a_resumed_run_has_each_step_once() -> None:
    with open_run("synthesize", "curve", Settings()) as run:
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


def test_a_metric_cut_by_a_kill_is_taken_back_before_the_next(home: Path) -> None:
    with open_run("synthesize", "cut", Settings()) as run:
        run.log_metric(done=1)
    with (home / "runs/cut/metrics.jsonl").open("a") as file:
        file.write('{"done": 2')
    with open_run("synthesize", "cut", Settings()) as run:
        run.log_metric(done=3)
    assert [line["done"] for line in read_metrics("cut")] == [1, 3]


def test_a_package_that_is_missed_while_a_pipeline_runs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(words: Sequence[str]) -> int:
        return len(importlib.import_module(words[0]).__name__)

    monkeypatch.setattr("pipelines.sft.__main__.main", main)
    with pytest.raises(InputError, match=r"pipeline 'sft' needs the package nowhere_found; .*\[train\]"):
        pipeline_main("sft")(["nowhere_found"])
    with pytest.raises(ModuleNotFoundError):  # one of our own is a mistake of ours
        pipeline_main("sft")(["pipelines.nowhere_found"])


def test_every_pipeline_has_settings() -> None:
    for pipeline in PIPELINES:
        assert "name" in pipeline_options(pipeline).model_fields
