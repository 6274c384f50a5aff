"""Run every preset with every seed, one after another, beside the service that judges it."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from her import config, paths
from her.errors import HerError, InputError
from her.files.atomic import replacing
from her.runs.folder import run_folder, stored_status
from her.runs.open_run import RunStopped
from pipelines.rl.ablation.comparison import PresetOutcome, compare, to_markdown
from pipelines.rl.ablation.presets import PRESETS, AblationOptions, PresetName, run_name, run_options
from pipelines.rl.options import RlOptions

log = logging.getLogger(__name__)
STOPPED, COLLAPSED = 3, 4
"""Exit codes of a run, as in `her.runs.command_line`."""
Start = Callable[[Sequence[str], Path], int]
"""Runs the pipeline with the settings of a file and returns its exit code; gets the launcher's words."""


def start_process(launcher: Sequence[str], settings: Path) -> int:
    """Run the pipeline in a process of its own, so that each run begins with empty memory; return its exit code."""
    words = [*(launcher or [sys.executable]), "-m", "pipelines.rl", f"@{settings}"]
    log.info("%s", " ".join(words))
    return subprocess.run(words, check=False).returncode


def run_ablation(options: AblationOptions, start: Start = start_process) -> Path:
    """Run what is not done yet, compare, and return the report, `report.md` in the folder of the kit.

    Runs that are done or collapsed stay as they are, so the same command resumes a kit that was stopped.

    Raises:
        HerError: a run or a service failed. RunStopped: a run was stopped; the same command resumes it.
    """
    folder = paths.home() / "ablations" / options.name
    folder.mkdir(parents=True, exist_ok=True)
    for preset in options.ablation.compared:
        waiting = [seed for seed in options.ablation.seeds if not _ended(options, preset, seed)]
        if waiting:
            with _judging(options, preset, folder) as address:
                for seed in waiting:
                    _run_one(run_options(options, preset, seed, address), options.ablation.launcher, folder, start)
    return _write_report(compare(options), folder)


def _ended(options: AblationOptions, preset: PresetName, seed: int) -> bool:
    status = stored_status(run_folder(run_name(options, preset, seed)))
    return status is not None and status.state in ("done", "collapsed")


def _run_one(settings: RlOptions, launcher: Sequence[str], folder: Path, start: Start) -> None:
    file = folder / f"{settings.name}.toml"
    _write(file, config.dump(settings))
    code = start(launcher, file)
    if code == STOPPED:
        raise RunStopped(f"run '{settings.name}' was stopped")
    if code not in (0, COLLAPSED):
        raise HerError(f"run '{settings.name}' ended with code {code}; its log is '{run_folder(settings.name) / 'log.txt'}'")


def _write_report(outcomes: list[PresetOutcome], folder: Path) -> Path:
    rows = [json.loads(outcome.model_dump_json()) for outcome in outcomes]  # by way of JSON, which has null and no NaN
    _write(folder / "report.json", json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    _write(folder / "report.md", to_markdown(outcomes))
    return folder / "report.md"


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)


@contextmanager
def _judging(options: AblationOptions, preset: PresetName, folder: Path) -> Iterator[str]:
    """Yield the address of the preset's service, which runs already or for the block; empty with a planted reward."""
    settings = options.ablation
    if options.reward is None or options.reward.planted:
        yield ""
    elif preset in settings.services:
        yield settings.services[preset]
    else:
        log_file = folder / f"service-{preset}.log"
        with log_file.open("ab") as output:
            service = subprocess.Popen(service_command(options, preset, folder), stdout=subprocess.PIPE, stderr=output, text=True)
        try:
            yield _address(service, log_file)
        finally:
            service.terminate()
            service.communicate()


def service_command(options: AblationOptions, preset: PresetName, folder: Path) -> list[str]:
    """Return the command of the preset's service. All presets share a ledger: a pair that two of them ask is paid for once."""
    settings, chosen = options.ablation, PRESETS[preset]
    words = [
        sys.executable,
        "-m",
        "her.cli",
        "serve",
        "reward",
        "--port",
        str(settings.port),
        "--folder",
        str(folder / "service"),
    ]
    words += ["--design", chosen.design, "--rounds", str(chosen.rounds), "--soft" if chosen.soft else "--hard"]
    words += [word for spec in settings.judge for word in ("--endpoint", spec)]
    words += ["--principles", settings.principles] if settings.principles else []
    return words + (["--trained"] if settings.trained else [])


def _address(service: "subprocess.Popen[str]", log_file: Path) -> str:
    """Return the address that the service says it listens on.

    Raises:
        InputError: it ended before.
    """
    for line in service.stdout or ():
        if found := re.search(r"(https?://\S+)/score", line):
            return found[1]
    said = log_file.read_text("utf-8", "replace").strip().splitlines()
    raise InputError(f"the judge's service did not start: {said[-1] if said else 'it said nothing'}")
