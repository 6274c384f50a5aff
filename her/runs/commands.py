"""What a person sees of runs and does with them: `her runs list|show|resume|stop|rm`, and the command line of a pipeline.

Run folders belong to her/runs/folder.py.
"""

import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from her import config
from her.config import ConfigT
from her.errors import HerError, InputError
from her.runs.folder import Status, Stopped, curve, folder_of, metrics, runs_folder, watch
from her.runs.pipelines import PIPELINES, main_of, options_of
from her.runs.processes import start


def command(words: Sequence[str], model: type[ConfigT], run: Callable[[ConfigT], Path], pipeline: str) -> int:
    """The command line of a pipeline: settings in, then `run`, which gives the path that is shown.

    Returns:
        0 when the run is done, 2 after an error of the house, 3 when it was stopped and can be gone on with.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger(pipeline)
    try:
        options, dry_run = config.load(model, words)
        if dry_run:
            sys.stdout.write(config.dump(options))
            return 0
        shown = run(options)
    except (Stopped, KeyboardInterrupt) as stopped:
        log.error("stopped: %s; start it again to go on", str(stopped) or "by hand")
        return 3
    except HerError as error:
        log.error("%s", " ".join(str(error).split()))
        return 2
    log.info("%s", shown)
    return 0


def overview() -> Iterator[str]:
    """One line a run: name, pipeline, state, and why it is not done; one line that says so when there is none."""
    names = [status.parent.name for status in sorted(runs_folder().glob("*/status.json"))]
    width = max((len(name) for name in names), default=0)
    for name in names:
        try:
            seen = watch(name)
        except InputError as error:  # a broken folder hides none of the others
            yield f"{name:<{width}}  {error}"
            continue
        yield f"{name:<{width}}  {seen.pipeline:<10}  {seen.state:<7}  {seen.reason}".rstrip()
    if not names:
        yield f"no runs in '{runs_folder()}' yet; her run makes one: her run {next(iter(PIPELINES))} @FILE.toml"


def show(name: str) -> str:
    """Everything worth knowing of a run, as lines of text. InputError when there is none of this name."""
    status, folder = watch(name), folder_of(name)
    lines = [f"{name}: {status.pipeline}, {status.state}" + (f" ({status.reason})" if status.reason else "")]
    lines += _rows(
        "started", [f"{_clock(status.started)}, start {status.starts}, by process {status.pid} on {status.host or '?'}"]
    )
    lines += _rows("ended", [_clock(status.ended)] if status.ended else [])
    lines += _rows("seed", [f"{status.seed}, commit {status.commit or 'unknown'}"])
    lines += _rows("versions", [", ".join(f"{package} {version}" for package, version in status.versions.items()) or "unknown"])
    lines += _rows("settings", _settings(status.pipeline, folder / "config.toml"))
    lines += _rows("loss", _loss(curve(name)))
    lines += _rows("last", [json.dumps(line, ensure_ascii=False) for line in metrics(name)[-1:]])
    lines += _rows("checkpoints", checkpoints(folder))
    lines += _rows("outputs", [_sized(folder / output, output) for output in status.outputs])
    lines += _rows("go on", [onward(name, status)])
    return "\n".join(lines)


def onward(name: str, status: Status) -> str:
    """The command that goes on with a run."""
    if status.state == "running":
        return f"it runs; her runs stop {name}"
    return "it is done" if status.state == "done" else f"her runs resume {name}"


def checkpoints(folder: Path) -> list[str]:
    """Folders below `folder` that hold weights: `checkpoint-STEP` in the order of the steps, then the others."""
    steps = [path for path in folder.rglob("checkpoint-*") if path.is_dir()]
    steps.sort(key=lambda path: int(number) if (number := path.name.partition("-")[2]).isdecimal() else 0)
    others = sorted({path.parent for path in folder.rglob("*.safetensors")} - set(steps))
    return [path.relative_to(folder).as_posix() for path in (*steps, *others)]


def resume(name: str, background: bool = False) -> int:
    """Start a run again with its own settings; the exit code of its pipeline, or 0 at once in the background.

    Raises:
        InputError: it is done, it runs, or its settings cannot be read (before anything is started).
    """
    status = watch(name)
    if status.state in ("done", "running"):
        mend = "to do it once more give another name" if status.state == "done" else f"stop it first: her runs stop {name}"
        raise InputError(f"run '{name}' is {status.state}; {mend}")
    words = [f"@{(folder_of(name) / 'config.toml').absolute()}"]
    config.load(options_of(status.pipeline), words)
    if background:
        start(status.pipeline, words)
        return 0
    return main_of(status.pipeline)(words)


def removable(name: str) -> Path:
    """The folder of a run, when it may be deleted.

    Raises:
        InputError: there is no run of this name, it runs, or its folder is a link.
    """
    folder = folder_of(name)
    if folder.is_symlink():
        raise InputError(f"the folder of run '{name}' is a link to '{folder.readlink()}'; delete the link yourself")
    if not any((folder / file).is_file() for file in ("status.json", "config.toml")):
        watch(name)
        raise InputError(f"'{folder}' holds no run; delete it yourself")
    with _held(folder, name):
        return folder


def remove(name: str) -> Path:
    """Delete a run's folder, links in it but nothing that they point to. InputError as for `removable`."""
    folder = removable(name)
    with _held(folder, name):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise InputError(f"'{folder}' cannot be deleted whole ({error.strerror or error}); mend that and repeat") from error
    return folder


def size(folder: Path) -> int:
    """Bytes of all files below a folder, those behind links not counted."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _held(folder: Path, name: str) -> Any:
    """The lock of a run, so that nobody starts it meanwhile; InputError when somebody works on it."""
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"run '{name}' is running; stop it first: her runs stop {name}") from None


def _rows(title: str, lines: Iterable[str]) -> list[str]:
    """Lines under one title, which stands on the first."""
    return [f"  {title if number == 0 else '':<12} {line}" for number, line in enumerate(lines)]


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _sized(path: Path, name: str) -> str:
    return f"{name} ({path.stat().st_size:,} bytes)" if path.is_file() else f"{name} (no longer there)"


def _settings(pipeline: str, path: Path) -> list[str]:
    """The settings that differ from the defaults; all of them when the pipeline of today does not know them."""
    if not path.is_file():
        return []
    try:
        return list(_changed(config.load(options_of(pipeline), [f"@{path.absolute()}"])[0]))
    except InputError as error:
        return [f"those of another version: {error}", *path.read_text("utf-8").splitlines()]


def _changed(settings: BaseModel, prefix: str = "") -> Iterator[str]:
    for key, field in type(settings).model_fields.items():
        value = getattr(settings, key)
        if isinstance(value, BaseModel):
            yield from _changed(value, f"{prefix}{key}.")
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            yield f"{prefix}{key} = {_toml(settings, key)}"


def _toml(settings: BaseModel, key: str) -> str:
    """A value as it stands in a command line."""
    return json.dumps(settings.model_dump(mode="json", include={key})[key], ensure_ascii=False)


def _loss(curve: list[dict[str, Any]]) -> list[str]:
    measured = [line for line in curve if isinstance(line.get("loss"), (int, float))]
    if not measured:
        return []
    lowest = min(measured, key=lambda line: float(line["loss"]))
    places = {"first": measured[0], "last": measured[-1], "lowest": lowest}
    told = ", ".join(f"{place} {line['loss']:.4f} at step {line['step']}" for place, line in places.items())
    return [f"{told} ({len(measured)} points)"]
