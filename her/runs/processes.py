"""Start a pipeline in a process of its own, and stop a running one."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from her.errors import InputError
from her.runs.folder import Status, watch
from her.runs.pipelines import check_pipeline


def start(pipeline: str, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a pipeline in a process of its own, as `her run PIPELINE WORDS` does; it outlives this one."""
    root = check_pipeline(pipeline)
    command = [sys.executable, "-m", "her.cli", "run", pipeline, *words]
    silent: Any = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=root, stdin=silent, stdout=silent, stderr=silent, start_new_session=True)


def stop(name: str) -> Status:
    """Ask a running run to stop, as Ctrl-C would; its status says `stopped` soon after. One that does not run stays as it is.

    Raises:
        InputError: there is no such run, or it runs on another machine.
    """
    status = watch(name)
    if status.state == "running" and status.host not in ("", platform.node()):
        raise InputError(f"run '{name}' runs on '{status.host}'; stop it there (process {status.pid}), or cancel its job")
    if status.state == "running" and status.pid:
        os.kill(status.pid, signal.SIGTERM)
    return status
