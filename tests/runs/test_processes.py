"""her/runs/processes.py: stop a run in another process."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from her import paths
from her.errors import InputError
from her.runs.folder import read_status
from her.runs.open_run import open_run
from her.runs.processes import stop_run
from tests.runs.settings import RunSettings


def ignore_interrupts() -> None:
    """As a process that a script started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.whole
@pytest.mark.parametrize("prepare", [None, ignore_interrupts])
def test_stop_does_what_ctrl_c_does(prepare: Callable[[], None] | None) -> None:
    program = (
        "import time; from tests.runs.settings import RunSettings; from her.runs.open_run import open_run\n"
        "with open_run('synthesize', 'slow', RunSettings()):\n    print('up', flush=True)\n    time.sleep(3600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=paths.ROOT, preexec_fn=prepare
    ) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        assert stop_run("slow").state == "running"
        child.wait(300)
    assert read_status("slow").state == "stopped"


def test_a_run_that_does_not_run_is_left_alone() -> None:
    with open_run("synthesize", "done", RunSettings()):
        pass
    assert stop_run("done").state == "done"


def test_a_run_on_another_machine_is_refused() -> None:
    with open_run("synthesize", "far", RunSettings()) as run:
        run.update_status(host="elsewhere")
        with pytest.raises(InputError, match="runs on 'elsewhere'; stop it there"):
            stop_run("far")
