"""Read the folder of a pipeline run: its name, status, metrics and lock. Nothing here changes a run; `open_run.py` does.

    HER_HOME/runs/NAME/  config.toml   every setting, defaults included
                         status.json   `RunStatus`
                         metrics.jsonl one JSON object a line; `at` is seconds since 1970
                         log.txt       the log of all starts
                         .lock         held by the process that works on the run
                         ...           the outputs of the pipeline

A run that ended for whatever reason is resumed by starting it again with the same settings.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import ValidationError

from her import paths
from her.errors import InputError
from her.types import Value

State = Literal["running", "done", "stopped", "failed", "killed", "collapsed"]
"""`stopped`: by a person or a budget, can be resumed; `killed`: the process ended without writing its end to status.json;
`collapsed`: an alarm ended reinforcement learning, since the policy pleases its reward alone; resuming it would repeat that."""


class RunStatus(Value):
    """State of a run, as `status.json` holds it.

    Args:
        reason: one sentence that says why the run is not done.
        pid: process of the latest start; `host` its machine.
        commit: commit of the repository, followed by `+` when tracked files differed from it; empty outside a checkout.
        versions: package -> version, of Python and of the installed packages in `her.runs.provenance.PACKAGES`.
        hashes: name -> sha256 of every input and prompt.
        outputs: name -> sha256 of every output file, once the run is done.
        started: seconds since 1970, of the latest start; `ended` likewise, 0 while the run is open.
        starts: number of starts so far.
    """

    pipeline: str
    state: State
    reason: str = ""
    pid: int = 0
    seed: int = 0
    commit: str = ""
    versions: dict[str, str] = {}
    hashes: dict[str, str] = {}
    outputs: dict[str, str] = {}
    started: float = 0
    ended: float = 0
    starts: int = 1
    host: str = ""


def runs_folder() -> Path:
    """Return the folder that holds all runs: `HER_HOME/runs`."""
    return paths.home() / "runs"


def run_folder(name: str) -> Path:
    """Return the folder of the run `name`, which need not exist.

    Raises:
        InputError: the name cannot be that of a folder.
    """
    # The name becomes a folder and a word of command lines: no separators, no hidden folders, no spaces.
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "._-" for letter in name):
        raise InputError(f"run name {name!r} cannot be a folder; use letters, digits, '.', '_' and '-'")
    return runs_folder() / name


def run_names() -> list[str]:
    """List the names of all runs, sorted."""
    return [path.parent.name for path in sorted(runs_folder().glob("*/status.json"))]


def read_status(name: str) -> RunStatus:
    """Read the status of a run; a run that says `running` while no process holds its lock is `killed`.

    Raises:
        InputError: no such run, or its status.json is damaged.
    """
    folder = run_folder(name)
    status = stored_status(folder)
    if status is None:
        known = ", ".join(run_names())
        raise InputError(f"there is no run '{name}'; " + (f"there are: {known}" if known else "there is none yet"))
    # The operating system releases the lock when its process ends, however it ends; the status stays what it was.
    if status.state == "running" and not is_locked(folder):
        reason = "its process ended without writing a status; start it again to resume"
        return status.model_copy(update={"state": "killed", "reason": reason})
    return status


def stored_status(folder: Path) -> RunStatus | None:
    """Read status.json as it stands; None before the first start."""
    path = folder / "status.json"
    if not path.is_file():
        return None
    try:
        return RunStatus.model_validate_json(path.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not a valid run status; restore it, or delete the folder to start over") from error


def read_metrics(name: str) -> list[dict[str, Any]]:
    """Read all lines of `metrics.jsonl`, without a last line that a kill truncated."""
    path = run_folder(name) / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []
    # A line is written with its line end in one call, so a line without one is incomplete.
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_curve(name: str) -> list[dict[str, Any]]:
    """Read the metrics that have a `step`, sorted by it, each step once.

    A line `{"resumed_at": STEP}` says that the run resumed from the checkpoint of STEP. Lines of later steps before it were
    measured again after the resume, so they are left out.
    """
    kept: list[dict[str, Any]] = []
    for line in read_metrics(name):
        if "resumed_at" in line:
            kept = [earlier for earlier in kept if earlier["step"] <= line["resumed_at"]]
        elif "step" in line:
            kept.append(line)
    return sorted(kept, key=lambda line: float(line["step"]))


def lock_run(folder: Path, timeout: float = 0) -> AbstractContextManager[object]:
    """Acquire the lock of a run; the `with` statement on the return value releases it.

    Args:
        timeout: seconds to wait for the lock.

    Raises:
        filelock.Timeout: another process holds it.
    """
    return FileLock(folder / ".lock").acquire(timeout=timeout, poll_interval=0.05)


def is_locked(folder: Path) -> bool:
    """Return whether a process works on the run in `folder`."""
    try:
        with lock_run(folder):
            return False
    except Timeout:
        return True
