"""Run a pipeline in this process, or a program in its own and wait while it makes progress, however slow the machine is."""

import io
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

IDLE_SECONDS = 300.0
"""A program that writes nothing and uses no CPU for so long is stuck."""
LONGEST_SECONDS = 3600.0
"""Limit for a program that spins without end."""


def run_to_end(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program until it ends; a limit on its time would fail on a busy machine, so only an idle program is killed.

    Raises:
        TimeoutError: with the end of its stderr.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=cwd, env=env, **pipes) as child:  # type: ignore[call-overload]
        output: list[str] = []
        errors: list[str] = []
        readers = [
            threading.Thread(target=_collect, args=(child.stdout, output), daemon=True),
            threading.Thread(target=_collect, args=(child.stderr, errors), daemon=True),
        ]
        for reader in readers:
            reader.start()
        begun = last = time.monotonic()
        progress: tuple[float, int] = (0.0, 0)
        while child.poll() is None:
            time.sleep(0.1)
            current = (cpu_seconds(child.pid), len(output) + len(errors))
            now = time.monotonic()
            if current != progress:
                progress, last = current, now
            if now - last > IDLE_SECONDS or now - begun > LONGEST_SECONDS:
                os.killpg(child.pid, signal.SIGKILL)
                raise TimeoutError(f"no progress after {now - begun:.0f} s: {''.join(errors)[-2000:]}")
        for reader in readers:
            reader.join()
    return subprocess.CompletedProcess(list(command), child.returncode, "".join(output), "".join(errors))


def run_here(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Call a pipeline's `main` in this process and return what `run_to_end` would; its stderr is the log.

    A process of its own would import torch, transformers and TRL again, which is most of the time of a small run.
    """
    said = io.StringIO()
    writer = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(writer)
    root.setLevel(logging.INFO)
    try:
        code = main(words)
    finally:
        root.setLevel(level)
        root.removeHandler(writer)
    return subprocess.CompletedProcess(list(words), code, "", said.getvalue())


def cpu_seconds(session: int) -> float:
    """Return the CPU time of all processes of a session; 0 where there is no /proc, so that only output counts."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name in parentheses: state, ppid, pgrp, session at index 3, utime and stime at 11 and 12 (man 5 proc).
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # the process ended meanwhile
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _collect(lines: Iterable[str], into: list[str]) -> None:
    into.extend(lines)
