"""Runs of pipelines: the folder a run keeps, and how a pipeline process is started, watched and stopped.

    HER_HOME/runs/NAME/  config.toml   every setting, as given and by default
                         status.json   state, pid, seed, commit, package versions, hashes of inputs and prompts
                         metrics.jsonl one JSON object a line: what was measured, and when
                         log.txt       what was logged
                         ...           the outputs of the pipeline

A run that ended, however it did, is gone on with by starting it again with the same settings.
"""

import json
import logging
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from her import config as configuration
from her import paths
from her.errors import HerError, InputError
from her.files.atomic import replacing
from her.types import Value

log = logging.getLogger(__name__)
State = Literal["running", "done", "stopped", "failed", "killed"]
"""`stopped`: by a person or a budget, to be gone on with; `killed`: the process vanished without a word."""
PACKAGES = (
    *("her", "accelerate", "datasets", "openai", "peft", "pyarrow", "pydantic", "ray", "sqlalchemy"),
    *("torch", "transformers", "trl", "vllm"),
)


class Status(Value):
    """The state of a run, as `status.json` holds it.

    Args:
        reason: why it is not done; one sentence.
        commit: of the repository, with `+` when files differed from it; empty outside a checkout.
        versions: of Python and of the packages that matter and are installed.
        hashes: name -> sha256 of every input and prompt.
        outputs: name -> sha256 of every file the run made, once it is done.
        started: seconds since 1970, of this start; `ended` of its end, 0 before.
        starts: how often the run was started.
        host: the machine of the process `pid`.
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


class Stopped(HerError):
    """The run ends before it is done and can be gone on with, such as at a budget."""


class Run:
    """An open run: its folder, and what is noted there. Made by `running`."""

    def __init__(self, folder: Path, status: Status) -> None:
        self.folder = folder
        self.status = status

    def metric(self, **values: Any) -> None:
        """Add one line to `metrics.jsonl`; `at` is the time, in seconds since 1970."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": round(time.time(), 3), **values}, ensure_ascii=False) + "\n")

    def note(self, **changes: Any) -> None:
        """Change fields of the status, on disk before this returns."""
        self.status = self.status.model_copy(update=changes)
        with replacing(self.folder / "status.json") as file:
            file.write(self.status.model_dump_json(indent=2) + "\n")


@contextmanager
def running(
    pipeline: str, name: str, config: BaseModel, *, seed: int = 0, hashes: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Open the run `name`, made or gone on with; its status says how the block ended.

    Raises:
        InputError: another process works on it, or it was started with other settings. Fields of `config` that are declared
            with `json_schema_extra={"may_change": True}` may differ.
    """
    folder = folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0.3, poll_interval=0.05)
    except Timeout:
        raise InputError(f"another process works on run '{name}'; wait for it, stop it or give another name") from None
    with held, _logged(folder / "log.txt"), _terminable():
        earlier = _earlier(folder)
        _mend(folder / "metrics.jsonl")
        if earlier and earlier.state == "failed" and not _made(folder):
            (folder / "config.toml").unlink(missing_ok=True)  # refused before its first work: mended settings are a new beginning
        else:
            _same_inputs(earlier, hashes or {}, name)
        _keep_config(folder / "config.toml", config, name)
        run = Run(folder, Status(pipeline=pipeline, state="running"))
        run.note(**_circumstances(seed), hashes=dict(hashes or {}), starts=earlier.starts + 1 if earlier else 1)
        yield from _watched(run)


def _watched(run: Run) -> Iterator[Run]:
    """Yield the run and write down how it ended."""
    try:
        yield run
    except (KeyboardInterrupt, Stopped) as error:
        _note_end(run, state="stopped", reason=str(error) or "stopped by hand")
        log.info("stopped: %s", run.status.reason)
        raise
    except BaseException as error:
        _note_end(run, state="failed", reason=f"{type(error).__name__}: {error}")
        if not isinstance(error, HerError):  # that is a sentence, and whoever started the run says it
            log.exception("failed")
        raise
    run.note(state="done", ended=time.time())
    log.info("done")


def _note_end(run: Run, **changes: Any) -> None:
    """Note how a run ended by an error; where that cannot be written, such as on a full disk, the error itself goes on."""
    try:
        run.note(**changes, ended=time.time())
    except (OSError, InputError) as error:
        log.error("status.json could not be written: %s", error)


def runs_folder() -> Path:
    """Where the runs are: `HER_HOME/runs`."""
    return paths.home() / "runs"


def folder_of(name: str) -> Path:
    """The folder of the run `name`; InputError when this is no name for one."""
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "._-" for letter in name):
        raise InputError(f"run name {name!r} cannot be a folder; use letters, digits, '.', '_' and '-'")
    return runs_folder() / name


def watch(name: str) -> Status:
    """The status of a run; one that says `running` while nobody holds it was killed.

    Raises:
        InputError: there is no such run.
    """
    folder = folder_of(name)
    status = _earlier(folder)
    if status is None:
        known = ", ".join(path.parent.name for path in sorted(runs_folder().glob("*/status.json")))
        raise InputError(f"there is no run '{name}'; " + (f"there are: {known}" if known else "there is none yet"))
    if status.state == "running" and not _held(folder):
        return status.model_copy(update={"state": "killed", "reason": "its process ended without a word; start it again"})
    return status


def metrics(name: str) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; a last line cut short by a kill is left out."""
    path = folder_of(name) / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def curve(name: str) -> list[dict[str, Any]]:
    """The metrics that have a `step`, in its order. What a run measured beyond the checkpoint that it later went on from
    (a line `{"resumed_at": STEP}`) is left out: it was measured again."""
    kept: list[dict[str, Any]] = []
    for line in metrics(name):
        if "resumed_at" in line:
            kept = [each for each in kept if each["step"] <= line["resumed_at"]]
        elif "step" in line:
            kept.append(line)
    return sorted(kept, key=lambda line: float(line["step"]))


def _made(folder: Path) -> bool:
    """Whether a run has left anything beside the record of itself."""
    return any(path.name not in ("config.toml", "status.json", "log.txt", ".lock") for path in folder.iterdir())


def _earlier(folder: Path) -> Status | None:
    """The status as it stands in the folder, None before the first start."""
    path = folder / "status.json"
    if not path.is_file():
        return None
    try:
        return Status.model_validate_json(path.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is no status of a run; restore it, or delete the folder to begin anew") from error


def _held(folder: Path) -> bool:
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def _mend(path: Path) -> None:
    """Take back a last line that a kill cut short, so that the next one does not run into it."""
    if path.is_file() and not (lines := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, lines.rfind(b"\n") + 1)


def _keep_config(path: Path, config: BaseModel, name: str) -> None:
    """Write the settings down, once; later starts must have the same, but for those that may change."""
    fixed = _fixed(config)
    if path.is_file():
        earlier, _ = configuration.load(type(config), [f"@{path.resolve()}"])
        before = _fixed(earlier)
        if changed := [key for key, value in fixed.items() if before[key] != value]:
            told = ", ".join(f"{key}: {before[key]!r} -> {fixed[key]!r}" for key in changed[:3])
            raise InputError(f"run '{name}' was started with other settings ({told}); give another name, or delete its folder")
    with replacing(path) as file:
        file.write(configuration.dump(config))


def _same_inputs(earlier: Status | None, hashes: Mapping[str, str], name: str) -> None:
    """Refuse to go on with other inputs: half of the outputs would be made of the old ones."""
    before = earlier.hashes if earlier else {}
    if earlier and (changed := sorted(key for key in before.keys() | hashes.keys() if before.get(key) != hashes.get(key))):
        raise InputError(f"run '{name}' was started with another '{changed[0]}'; give another name, or delete its folder")


def _fixed(config: BaseModel) -> dict[str, Any]:
    fields = type(config).model_fields
    loose = {key for key, field in fields.items() if (field.json_schema_extra or {}).get("may_change")}  # type: ignore[union-attr]
    return {key: value for key, value in json.loads(config.model_dump_json()).items() if key not in loose}


def _circumstances(seed: int) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    here = {"pid": os.getpid(), "host": platform.node()}
    return {**here, "seed": seed, "commit": _commit(), "versions": versions, "started": time.time()}


def _commit() -> str:
    """The commit of this checkout, `+` after it when tracked files differ; empty outside one."""
    try:
        told = [
            subprocess.run(["git", "-C", str(paths.ROOT), *words], capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0].strip() + ("+" if told[1].strip() else "")


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write what is logged into a file as well."""
    root = logging.getLogger()
    writer = logging.FileHandler(path, encoding="utf-8")
    writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = root.level
    root.addHandler(writer)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    noisy = {name: logging.getLogger(name) for name in ("httpx", "httpcore", "openai")}
    levels = {name: logger.level for name, logger in noisy.items()}
    for logger in noisy.values():
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(writer)
        root.setLevel(level)
        for name, logger in noisy.items():
            logger.setLevel(levels[name])
        writer.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """While the block runs, SIGTERM means what Ctrl-C means. Outside the main thread signals cannot be set; none is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
