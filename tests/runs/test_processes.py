"""her/runs/processes.py: stop a run in another process."""

import subprocess
import sys

import pytest

from her import paths
from her.errors import InputError
from her.runs.folder import read_status
from her.runs.open_run import open_run
from her.runs.processes import stop_run
from tests.runs.settings import RunSettings


@pytest.mark.whole
def test_stop_does_what_ctrl_c_does() -> None:
    program = (
        "import time; from tests.runs.settings import RunSettings; from her.runs.open_run import open_run\n"
        "with open_run('synthesize', 'slow', RunSettings()):\n    print('up', flush=True)\n    time.sleep(3600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=paths.ROOT
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
