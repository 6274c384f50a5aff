"""Start a pipeline in a separate process, and stop a running one."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from her.errors import InputError
from her.runs.folder import RunStatus, read_status
from her.runs.pipelines import require_pipeline


def start_pipeline(pipeline: str, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start `her run PIPELINE WORDS` in a new session, so that it outlives this process."""
    root = require_pipeline(pipeline)
    command = [sys.executable, "-m", "her.cli", "run", pipeline, *words]
    # The run writes log.txt itself; open pipes to this process would end it when the terminal closes.
    silent: Any = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=root, stdin=silent, stdout=silent, stderr=silent, start_new_session=True)


def stop_run(name: str) -> RunStatus:
    """Send SIGTERM to a running run and return the status from before; a run that does not run stays as it is.

    Raises:
        InputError: no such run, or it runs on another machine.
    """
    status = read_status(name)
    if status.state == "running" and status.host not in ("", platform.node()):
        raise InputError(f"run '{name}' runs on '{status.host}'; stop it there (process {status.pid}), or cancel its job")
    if status.state == "running" and status.pid:
        os.kill(status.pid, signal.SIGTERM)
    return status
