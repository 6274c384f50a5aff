"""her/runs/open_run.py: what a run writes, who may open it, and how its end is recorded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from her import paths
from her.config import load
from her.errors import HerError, InputError
from her.runs.folder import read_metrics, read_status
from her.runs.open_run import RunStopped, open_run
from tests.runs.settings import RunSettings


def test_a_run_writes_settings_status_metrics_and_log(home: Path) -> None:
    with open_run("synthesize", "first", RunSettings(), seed=7, hashes={"book": "ab"}) as run:
        run.log_metric(stage="scenes", done=3)
        assert read_status("first").state == "running"
    status = read_status("first")
    assert (status.state, status.seed, status.hashes, status.starts) == ("done", 7, {"book": "ab"}, 1)
    assert status.versions["pydantic"] and status.ended >= status.started > 0
    assert [line["done"] for line in read_metrics("first")] == [3]
    assert load(RunSettings, [f"@{home / 'runs/first/config.toml'}"])[0] == RunSettings()
    assert "done" in (home / "runs/first/log.txt").read_text()


@pytest.mark.whole
def test_a_second_start_of_an_open_run_is_refused() -> None:
    with (
        open_run("synthesize", "busy", RunSettings()),
        pytest.raises(InputError, match="another process works on run 'busy'"),
        open_run("synthesize", "busy", RunSettings()),
    ):
        pass
    assert read_status("busy").starts == 1


@pytest.mark.whole
def test_a_second_process_on_an_open_run_is_refused() -> None:
    with open_run("synthesize", "busy", RunSettings()):
        program = (
            "from tests.runs.settings import RunSettings; from her.runs.open_run import open_run\n"
            "with open_run('synthesize', 'busy', RunSettings()): pass"
        )
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=paths.ROOT)
        assert "another process works on run 'busy'" in other.stderr
    assert read_status("busy").starts == 1


def test_a_run_resumes_with_the_same_settings_only() -> None:
    with open_run("synthesize", "again", RunSettings()):
        pass
    with open_run("synthesize", "again", RunSettings(budget=2)):
        pass
    assert read_status("again").starts == 2
    with (
        pytest.raises(InputError, match=r"other settings \(lines: 3 -> 4\)"),
        open_run("synthesize", "again", RunSettings(lines=4)),
    ):
        pass


def test_a_run_resumes_with_the_same_inputs_only() -> None:
    for _ in range(2):
        with open_run("synthesize", "inputs", RunSettings(), hashes={"book.json": "ab"}):
            pass
    refused = pytest.raises(InputError, match=r"another 'book\.json'")
    with refused, open_run("synthesize", "inputs", RunSettings(), hashes={"book.json": "cd"}):
        pass


def test_an_end_that_cannot_be_written_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise InputError("status.json cannot be written")

    with pytest.raises(HerError, match="no room left, the last good one is"), open_run("synthesize", "full", RunSettings()):
        monkeypatch.setattr("her.runs.open_run.replacing", full)
        raise HerError("no room left, the last good one is checkpoint-2")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "stopped", "stopped by hand"),
        (RunStopped("the budget is spent"), "stopped", "the budget is spent"),
        (ValueError("no"), "failed", "ValueError: no"),
    ],
)
def test_the_status_says_how_it_ended(error: BaseException, state: str, reason: str) -> None:
    with pytest.raises(type(error)), open_run("synthesize", "ends", RunSettings()):
        raise error
    assert (read_status("ends").state, read_status("ends").reason) == (state, reason)


def test_refused_settings_may_be_corrected_under_the_same_name() -> None:
    """Only while nothing was written with them."""
    for made in (False, True):
        with pytest.raises(InputError), open_run("synthesize", "mended", RunSettings(lines=3)) as run:
            if made:
                run.log_metric(step=1)
            raise InputError("too long")
        if not made:
            with pytest.raises(InputError, match="too short"), open_run("synthesize", "mended", RunSettings(lines=4)):
                raise InputError("too short")
    with pytest.raises(InputError, match="other settings"), open_run("synthesize", "mended", RunSettings(lines=5)):
        pass


def test_a_truncated_metric_is_removed_before_the_next(home: Path) -> None:
    with open_run("synthesize", "cut", RunSettings()) as run:
        run.log_metric(done=1)
    with (home / "runs/cut/metrics.jsonl").open("a") as file:
        file.write('{"done": 2')
    with open_run("synthesize", "cut", RunSettings()) as run:
        run.log_metric(done=3)
    assert [line["done"] for line in read_metrics("cut")] == [1, 3]


def test_the_parts_of_a_run_have_folders_metrics_and_outputs_of_their_own(home: Path) -> None:
    with open_run("reward", "parts", RunSettings()) as run:
        assert run.part("") is run
        for number, name in enumerate(("camp-1", "camp-2")):
            part = run.part(name)
            part.log_metric(step=number)
            part.update_status(outputs={"model/x": f"hash {number}"})
            assert part.folder == home / "runs/parts" / name and part.folder.is_dir()
    assert [line.get("camp-1") or line.get("camp-2") for line in read_metrics("parts")] == [{"step": 0}, {"step": 1}]
    assert read_status("parts").outputs == {"camp-1/model/x": "hash 0", "camp-2/model/x": "hash 1"}
    assert read_status("parts").state == "done"
