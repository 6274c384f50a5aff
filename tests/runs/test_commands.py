"""her/runs/commands.py and `her runs`: list, show, resume, stop, rm."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from her import config, paths
from her.cli import app
from her.runs import commands as runs
from her.runs.folder import read_status, run_folder, runs_folder
from her.runs.open_run import RunStopped, open_run
from her.runs.pipelines import PIPELINES
from pipelines.synthesize.options import SynthesisOptions

SMOKE = Path(__file__).resolve().parents[2] / "pipelines" / "configs" / "synthesize_smoke.toml"
SYNTHESIZE = "synthesize".ljust(max(map(len, PIPELINES)))
"""The name as a list of runs shows it."""


def her(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["runs", *words], input=typed)


def options(name: str) -> SynthesisOptions:
    return config.load(SynthesisOptions, [f"@{SMOKE}", f"name={name}", "temperature=0.25"])[0]


def stopped(name: str) -> Path:
    """A run that was stopped after three steps, the last two of which were taken twice."""
    with pytest.raises(RunStopped), open_run("synthesize", name, options(name), seed=7) as run:
        for step, loss in ((1, 3.0), (2, 2.5), (3, 9.0)):
            run.log_metric(step=step, loss=loss)
        run.log_metric(resumed_at=1)
        for step, loss in ((2, 1.5), (3, 2.25)):
            run.log_metric(step=step, loss=loss)
        for made in ("checkpoint-20", "checkpoint-3", "checkpoint"):
            (run.folder / made).mkdir()
            (run.folder / made / "model.safetensors").write_bytes(b"")
        (run.folder / "report.json").write_text("{}")
        run.update_status(outputs={"report.json": "ab", "gone.json": "cd"})
        raise RunStopped("the budget is spent")
    return run_folder(name)


def test_runs_alone_lists_them() -> None:
    stopped("first")
    line = f"first  {SYNTHESIZE}  stopped  the budget is spent\n"
    assert her().stdout == her("list").stdout == line


def test_a_list_without_runs_says_so(home: Path) -> None:
    assert her().stdout == f"no runs in '{home / 'runs'}' yet; start one with: her run synthesize @FILE.toml\n"


def test_a_broken_run_hides_no_other() -> None:
    stopped("first")
    broken = run_folder("a-longer-name")
    broken.mkdir()
    (broken / "status.json").write_text("{")
    answer = her("list")
    assert answer.exit_code == 0, answer.output
    assert [line.split()[0] for line in answer.stdout.splitlines()] == ["a-longer-name", "first"]
    assert "is not a valid run status" in answer.stdout.splitlines()[0]
    assert answer.stdout.splitlines()[1].endswith(f"  {SYNTHESIZE}  stopped  the budget is spent")


def test_a_run_is_shown_whole() -> None:
    stopped("first")
    answer = her("show", "first")
    assert answer.exit_code == 0, answer.output
    first, *rest = answer.stdout.splitlines()
    assert first == "first: synthesize, stopped (the budget is spent)"
    shown = {line[2:14].strip(): line[15:] for line in rest if line[2:14].strip()}
    assert shown["loss"] == "first 3.0000 at step 1, last 2.2500 at step 3, lowest 1.5000 at step 2 (3 points)"
    assert json.loads(shown["last"])["loss"] == 2.25
    assert [line.strip().split()[-1] for line in rest if "checkpoint" in line] == ["checkpoint-3", "checkpoint-20", "checkpoint"]
    assert shown["outputs"] == "report.json (2 bytes)"
    assert "gone.json (deleted)" in answer.stdout
    assert "seed" in shown and "python 3" in shown["versions"]
    assert shown["resume"] == "her runs resume first"
    assert "temperature = 0.25" in answer.stdout
    assert "scenes_at_once" not in answer.stdout


def test_settings_of_another_version_are_shown_as_they_are() -> None:
    (stopped("old") / "config.toml").write_text('name = "old"\nwas = 1\n')
    output = her("show", "old").stdout
    assert "written by another version: there is no setting 'was'" in output
    assert "was = 1" in output


def test_a_run_without_metrics_has_no_losses() -> None:
    with open_run("synthesize", "bare", options("bare")):
        pass
    output = her("show", "bare").stdout
    assert "loss" not in output
    assert output.splitlines()[-1].split(None, 1)[1] == "it is done"


def test_resume_goes_on_with_the_settings_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stopped("first")
    begun: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        "her.runs.commands.pipeline_main", lambda pipeline: lambda words: begun.append((pipeline, list(words))) or 3
    )
    monkeypatch.setattr("her.runs.commands.start_pipeline", lambda pipeline, words: begun.append((pipeline, list(words))))
    assert her("resume", "first").exit_code == 3
    answer = her("resume", "first", "--background")
    assert (answer.exit_code, answer.stdout) == (0, "started; watch it with: her runs show first\n")
    assert begun == [("synthesize", [f"@{folder / 'config.toml'}"])] * 2


def test_a_run_that_is_done_or_of_another_version_is_not_resumed() -> None:
    with open_run("synthesize", "whole", options("whole")):
        assert "is running; stop it first: her runs stop whole" in her("resume", "whole").stderr
    assert "is done; to repeat it give another name" in her("resume", "whole").stderr
    (stopped("old") / "config.toml").write_text('name = "old"\nwas = 1\n')
    assert "no setting 'was'" in her("resume", "old", "--background").stderr
    assert "there is no run 'none'" in her("resume", "none").stderr


@pytest.mark.whole
def test_resume_really_goes_on(home: Path) -> None:
    with pytest.raises(RunStopped), open_run("synthesize", "real", options("real"), seed=42, hashes=_hashes()):
        raise RunStopped("early")
    answer = subprocess.run([sys.executable, "-m", "her.cli", "runs", "resume", "real"], cwd=paths.ROOT, capture_output=True)
    assert answer.returncode == 0, answer.stderr.decode()
    assert (read_status("real").state, read_status("real").starts) == ("done", 2)


def _hashes() -> dict[str, str]:
    from pipelines.synthesize.__main__ import input_hashes as of

    return of(options("real"))


def test_a_run_is_removed_after_asking() -> None:
    folder = stopped("first")
    assert her("rm", "first", typed="n\n").exit_code == 1
    assert folder.is_dir()
    assert her("rm", "first", typed="y\n").exit_code == 0
    assert not folder.exists()
    stopped("second")
    assert her("rm", "second", "--yes").exit_code == 0
    assert not list(runs_folder().iterdir())


def test_a_run_whose_status_is_broken_can_be_removed() -> None:
    (stopped("broken") / "status.json").write_text("{")
    assert her("rm", "broken", "--yes").exit_code == 0


def test_nothing_outside_is_removed(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "status.json").write_text("{}")
    (stopped("inner") / "link").symlink_to(kept)
    assert her("rm", "inner", "--yes").exit_code == 0
    (home / "runs" / "outer").symlink_to(kept)
    assert "is a link" in her("rm", "outer", "--yes").stderr
    for name in ("..", "../kept", str(kept), ""):
        assert "cannot be a folder" in her("rm", "--yes", "--", name).stderr
    (home / "runs" / "other").mkdir()
    assert "there is no run 'other'" in her("rm", "other", "--yes").stderr
    assert (kept / "status.json").is_file()


def test_a_run_that_runs_is_not_removed() -> None:
    with open_run("synthesize", "busy", options("busy")) as run:
        answer = her("rm", "busy", "--yes")
        assert (answer.exit_code, answer.stderr) == (2, "her: run 'busy' is running; stop it first: her runs stop busy\n")
        assert run.folder.is_dir()


def test_stop_says_what_it_did() -> None:
    stopped("first")
    assert her("stop", "first").stdout == "first is not running: it is stopped\n"


def test_the_size_of_a_run_counts_no_links(tmp_path: Path) -> None:
    folder = stopped("first")
    before = runs.folder_size(folder)
    (tmp_path / "big").write_bytes(b"x" * 10_000)
    (folder / "link").symlink_to(tmp_path / "big")
    assert runs.folder_size(folder) - before < 1_000
    shutil.rmtree(folder)
