"""List, show, resume and delete runs: `her runs list|show|resume|rm`. Stopping is in her/runs/processes.py."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import Timeout
from pydantic import BaseModel

from her import config
from her.errors import InputError
from her.runs.folder import RunStatus, lock_run, read_curve, read_metrics, read_status, run_folder, run_names, runs_folder
from her.runs.pipelines import PIPELINES, pipeline_main, pipeline_options
from her.runs.processes import start_pipeline


def list_runs() -> Iterator[str]:
    """Yield one line a run: name, pipeline, state and the reason why it is not done; one line when there are no runs."""
    names = run_names()
    width = max((len(name) for name in names), default=0)
    kind = max(len(name) for name in PIPELINES)
    for name in names:
        try:
            status = read_status(name)
        except InputError as error:  # a damaged folder must not hide the other runs
            yield f"{name:<{width}}  {error}"
            continue
        yield f"{name:<{width}}  {status.pipeline:<{kind}}  {status.state:<7}  {status.reason}".rstrip()
    if not names:
        yield f"no runs in '{runs_folder()}' yet; start one with: her run {next(iter(PIPELINES))} @FILE.toml"


def show_run(name: str) -> str:
    """Describe a run: state, settings, versions, losses, checkpoints, outputs and how to resume it.

    Raises:
        InputError: no such run.
    """
    status, folder = read_status(name), run_folder(name)
    lines = [f"{name}: {status.pipeline}, {status.state}" + (f" ({status.reason})" if status.reason else "")]
    start = f"{_format_time(status.started)}, start {status.starts}, by process {status.pid} on {status.host or '?'}"
    lines += _titled("started", [start])
    lines += _titled("ended", [_format_time(status.ended)] if status.ended else [])
    lines += _titled("seed", [f"{status.seed}, commit {status.commit or 'unknown'}"])
    versions = ", ".join(f"{package} {version}" for package, version in status.versions.items())
    lines += _titled("versions", [versions or "unknown"])
    lines += _titled("settings", _settings(status.pipeline, folder / "config.toml"))
    lines += _titled("loss", _loss_summary(read_curve(name)))
    lines += _titled("panel", _panel(folder / "panel.json"))
    lines += _titled("last", [json.dumps(line, ensure_ascii=False) for line in read_metrics(name)[-1:]])
    lines += _titled("checkpoints", list_checkpoints(folder))
    lines += _titled("outputs", [_with_size(folder / output, output) for output in status.outputs])
    lines += _titled("resume", [resume_command(name, status)])
    return "\n".join(lines)


def resume_command(name: str, status: RunStatus) -> str:
    """Return the command that resumes a run, or why it cannot be resumed."""
    if status.state == "running":
        return f"it is running; her runs stop {name}"
    if status.state == "collapsed":
        return "it collapsed; start another with other settings, from the checkpoint that it chose"
    return "it is done" if status.state == "done" else f"her runs resume {name}"


def list_checkpoints(folder: Path) -> list[str]:
    """List folders below `folder` that hold weights: `checkpoint-STEP` sorted by step, then the others."""
    steps = [path for path in folder.rglob("checkpoint-*") if path.is_dir()]
    steps.sort(key=lambda path: int(number) if (number := path.name.partition("-")[2]).isdecimal() else 0)
    others = sorted({path.parent for path in folder.rglob("*.safetensors")} - set(steps))
    return [path.relative_to(folder).as_posix() for path in (*steps, *others)]


def resume_run(name: str, background: bool = False) -> int:
    """Start a run again with the settings in its folder; return the exit code, or 0 at once when in the background.

    Raises:
        InputError: the run is done or running, or its settings cannot be read; nothing is started then.
    """
    status = read_status(name)
    if status.state in ("done", "running", "collapsed"):
        advice = "to repeat it give another name" if status.state != "running" else f"stop it first: her runs stop {name}"
        raise InputError(f"run '{name}' is {status.state}; {advice}")
    words = [f"@{(run_folder(name) / 'config.toml').absolute()}"]
    config.load(pipeline_options(status.pipeline), words)  # here, since a process in the background could not report an error
    if background:
        start_pipeline(status.pipeline, words)
        return 0
    return pipeline_main(status.pipeline)(words)


def deletable_folder(name: str) -> Path:
    """Return the folder of a run that may be deleted.

    Raises:
        InputError: no such run, it is running, or its folder is a link.
    """
    folder = run_folder(name)
    if folder.is_symlink():  # rmtree refuses links, and its target may be elsewhere for a reason
        raise InputError(f"the folder of run '{name}' is a link to '{folder.readlink()}'; delete the link yourself")
    if not any((folder / file).is_file() for file in ("status.json", "config.toml")):
        read_status(name)
        raise InputError(f"'{folder}' holds no run; delete it yourself")
    with _locked(folder, name):
        return folder


def delete_run(name: str) -> Path:
    """Delete the folder of a run; links in it are deleted, their targets are not. Raises as `deletable_folder`."""
    folder = deletable_folder(name)
    with _locked(folder, name):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"'{folder}' could not be deleted completely ({reason}); fix that and repeat") from error
    return folder


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; targets of links do not count."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _locked(folder: Path, name: str) -> AbstractContextManager[object]:
    """Hold the lock of a run, so that nobody starts it meanwhile."""
    try:
        return lock_run(folder)
    except Timeout:
        raise InputError(f"run '{name}' is running; stop it first: her runs stop {name}") from None


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    """Indent lines below a title, which stands on the first of them."""
    return [f"  {title if number == 0 else '':<12} {line}" for number, line in enumerate(lines)]


def _panel(path: Path) -> list[str]:
    """List what `panel.json` says of a run of reinforcement learning: the chosen checkpoint, the last look, the alarms."""
    if not path.is_file():
        return []
    try:
        lines = json.loads(path.read_text("utf-8"))["summary"]
    except (ValueError, KeyError, TypeError):
        return [f"'{path.name}' cannot be read"]
    return [str(line) for line in lines]


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _with_size(path: Path, name: str) -> str:
    return f"{name} ({path.stat().st_size:,} bytes)" if path.is_file() else f"{name} (deleted)"


def _settings(pipeline: str, path: Path) -> list[str]:
    """List the settings that differ from their defaults, or the file as it is when this version cannot read it."""
    if not path.is_file():
        return []
    try:
        return list(_changed_settings(config.load(pipeline_options(pipeline), [f"@{path.absolute()}"])[0]))
    except InputError as error:
        return [f"written by another version: {error}", *path.read_text("utf-8").splitlines()]


def _changed_settings(settings: BaseModel, prefix: str = "") -> Iterator[str]:
    for key, field in type(settings).model_fields.items():
        value = getattr(settings, key)
        if isinstance(value, BaseModel):
            yield from _changed_settings(value, f"{prefix}{key}.")
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            shown = settings.model_dump(mode="json", include={key})[key]
            yield f"{prefix}{key} = {json.dumps(shown, ensure_ascii=False)}"


def _loss_summary(curve: list[dict[str, Any]]) -> list[str]:
    """Return one line with the first, last and lowest loss; no line without losses."""
    points = [line for line in curve if isinstance(line.get("loss"), (int, float))]
    if not points:
        return []
    lowest = min(points, key=lambda line: float(line["loss"]))
    named = {"first": points[0], "last": points[-1], "lowest": lowest}
    text = ", ".join(f"{title} {line['loss']:.4f} at step {line['step']}" for title, line in named.items())
    return [f"{text} ({len(points)} points)"]
