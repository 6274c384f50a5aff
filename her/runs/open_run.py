"""Open a run for work: lock its folder, write its settings, status, metrics and log, and record how it ended."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout
from pydantic import BaseModel

from her import config as configuration
from her.errors import HerError, InputError
from her.files.atomic import replacing
from her.runs.folder import RunStatus, lock_run, run_folder, stored_status
from her.runs.provenance import start_record
from her.runs.signals import sigterm_as_interrupt

log = logging.getLogger(__name__)
NOISY_LOGGERS = ("httpx", "httpcore", "openai")
"""They log every request at INFO; a synthesis makes hundreds of thousands."""
RECORD_FILES = ("config.toml", "status.json", "log.txt", ".lock")


class RunStopped(HerError):
    """The run ends before it is done and can be resumed, for example when its budget is spent."""


class RunCollapsed(HerError):
    """Training went wrong in a way that more of it does not mend; what it saved before is kept."""


class Run:
    """An open run: its folder and status. `open_run` creates it."""

    def __init__(self, folder: Path, status: RunStatus) -> None:
        self.folder = folder
        self.status = status

    def part(self, name: str) -> "Run":
        """Return the part of this name, for a run that trains several models: see `RunPart`. An empty name is the whole run."""
        return RunPart(self, name) if name else self

    def log_metric(self, **values: Any) -> None:
        """Append one line to `metrics.jsonl`, with `at` in seconds since 1970."""
        # Opened for each line: a kill loses at most the line that is being written.
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": round(time.time(), 3), **values}, ensure_ascii=False) + "\n")

    def update_status(self, **changes: Any) -> None:
        """Change fields of the status; `status.json` is written before this returns."""
        self.status = self.status.model_copy(update=changes)
        with replacing(self.folder / "status.json") as file:
            file.write(self.status.model_dump_json(indent=2) + "\n")


class RunPart(Run):
    """A part of a run: a folder inside the run's, metrics under the part's name, outputs beside those of other parts."""

    def __init__(self, whole: Run, name: str) -> None:
        super().__init__(whole.folder / name, whole.status)
        self.folder.mkdir(exist_ok=True)
        self._whole, self._name = whole, name

    def log_metric(self, **values: Any) -> None:
        """Append one line to the run's `metrics.jsonl`."""
        self._whole.log_metric(**{self._name: values})

    def update_status(self, **changes: Any) -> None:
        """Change fields of the run's status; outputs of the part are added under its folder."""
        if outputs := changes.pop("outputs", None):
            own = {f"{self._name}/{path}": digest for path, digest in outputs.items()}
            changes["outputs"] = {**self._whole.status.outputs, **own}
        self._whole.update_status(**changes)
        self.status = self._whole.status


@contextmanager
def open_run(
    pipeline: str, name: str, config: BaseModel, *, seed: int = 0, hashes: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Create or resume the run `name` and hold its lock; when the block ends, the status says how.

    Args:
        config: settings of the pipeline. Fields declared with `json_schema_extra={"may_change": True}` may differ on resume.
        hashes: name -> sha256 of the inputs, which must be the same on resume.

    Raises:
        InputError: another process works on the run, or it was started with other settings or inputs.
    """
    folder = run_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Not at once: `is_locked`, as `her runs` calls it, holds the lock for a moment.
        lock = lock_run(folder, timeout=0.3)
    except Timeout:
        raise InputError(f"another process works on run '{name}'; wait for it, stop it or give another name") from None
    with lock, _log_to_file(folder / "log.txt"), sigterm_as_interrupt():
        earlier = stored_status(folder)
        _drop_truncated_line(folder / "metrics.jsonl")
        if earlier and earlier.state == "failed" and not _has_outputs(folder):
            # Refused before its first work, for example for a bad setting: corrected settings may take the same name.
            (folder / "config.toml").unlink(missing_ok=True)
        else:
            _require_same_inputs(earlier, hashes or {}, name)
        _write_config(folder / "config.toml", config, name)
        run = Run(folder, RunStatus(pipeline=pipeline, state="running"))
        run.update_status(**start_record(seed), hashes=dict(hashes or {}), starts=earlier.starts + 1 if earlier else 1)
        yield from _record_end(run)


def _record_end(run: Run) -> Iterator[Run]:
    """Yield the run and write to its status how the block ended."""
    try:
        yield run
    except (KeyboardInterrupt, RunStopped) as error:
        _write_end(run, state="stopped", reason=str(error) or "stopped by hand")
        log.info("stopped: %s", run.status.reason)
        raise
    except RunCollapsed as error:
        _write_end(run, state="collapsed", reason=str(error))
        log.error("collapsed: %s", error)
        raise
    except BaseException as error:  # SystemExit included: the status must not stay at running
        _write_end(run, state="failed", reason=f"{type(error).__name__}: {error}")
        if not isinstance(error, HerError):  # the caller prints a HerError as one sentence; anything else needs its traceback
            log.exception("failed")
        raise
    run.update_status(state="done", ended=time.time())
    log.info("done")


def _write_end(run: Run, **changes: Any) -> None:
    """Record an end by an error. If that fails too, for example on a full disk, the first error stays the one that is raised."""
    try:
        run.update_status(**changes, ended=time.time())
    except (OSError, InputError) as error:
        log.error("status.json could not be written: %s", error)


def _has_outputs(folder: Path) -> bool:
    return any(path.name not in RECORD_FILES for path in folder.iterdir())


def _drop_truncated_line(path: Path) -> None:
    """Remove a last line without line end, left by a kill, so that the next line does not continue it."""
    if path.is_file() and not (lines := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, lines.rfind(b"\n") + 1)


def _write_config(path: Path, config: BaseModel, name: str) -> None:
    """Write the settings; refuse settings that differ from those of an earlier start, except those that may change."""
    fixed = _fixed_settings(config)
    if path.is_file():
        earlier, _ = configuration.load(type(config), [f"@{path.resolve()}"])
        before = _fixed_settings(earlier)
        if changed := [key for key, value in fixed.items() if before[key] != value]:
            changes = ", ".join(f"{key}: {before[key]!r} -> {fixed[key]!r}" for key in changed[:3])
            raise InputError(f"run '{name}' was started with other settings ({changes}); give another name, or delete its folder")
    # Written on a resume too: settings that may change are stored as they are now.
    with replacing(path) as file:
        file.write(configuration.dump(config))


def _require_same_inputs(earlier: RunStatus | None, hashes: Mapping[str, str], name: str) -> None:
    """Refuse changed inputs: the outputs would be made partly of the old ones and partly of the new ones."""
    before = earlier.hashes if earlier else {}
    if earlier and (changed := sorted(key for key in before.keys() | hashes.keys() if before.get(key) != hashes.get(key))):
        raise InputError(f"run '{name}' was started with another '{changed[0]}'; give another name, or delete its folder")


def _fixed_settings(config: BaseModel) -> dict[str, Any]:
    """Return the settings that must be the same at every start."""
    fields = type(config).model_fields
    free = {key for key, field in fields.items() if (field.json_schema_extra or {}).get("may_change")}  # type: ignore[union-attr]
    return {key: value for key, value in json.loads(config.model_dump_json()).items() if key not in free}


@contextmanager
def _log_to_file(path: Path) -> Iterator[None]:
    """Append the log to a file as well while the block runs; loggers of HTTP clients are set to WARNING."""
    root = logging.getLogger()
    writer = logging.FileHandler(path, encoding="utf-8")
    writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = root.level
    root.addHandler(writer)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    noisy = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(writer)
        root.setLevel(level)
        for logger, before in zip(noisy, levels, strict=True):
            logger.setLevel(before)
        writer.close()
