"""Count the calls that a killed evaluation repeats. Run: `python -m benchmarks.evaluation_resume [TEST_SET.json]`

An evaluation is killed with SIGKILL ten times, each time after a random number of further calls, and then runs to its end. By
the log of the server, no call that the ledger held at a kill may be sent again; calls in flight may. Transcripts, scores and
report must equal those of an undisturbed run byte for byte.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.determinism import FILES
from benchmarks.endpoint import endpoint, received_calls
from benchmarks.report import report
from benchmarks.wallclock import OWN
from her import paths

KILLS, LATENCY, ROOM = 10, 0.03, 16
BAR = {"kills": KILLS, "asked_again": 0, "different_files": 0}


def start(home: Path, spec: str, cases: Path) -> subprocess.Popen[bytes]:
    """Start the evaluation in a process of its own."""
    words = [
        f'cases=["{cases.resolve()}"]',
        f'actor=["{spec}"]',
        f'judge=["{spec}"]',
        "runs=4",
        "pilot=2",
        f"calls.in_flight={ROOM}",
    ]
    environment = {**os.environ, "HER_HOME": str(home)}
    command = [sys.executable, "-m", "pipelines.evaluate", *words]
    return subprocess.Popen(command, cwd=paths.ROOT, env=environment, stderr=subprocess.DEVNULL)


def recorded(home: Path) -> int:
    """Return how many answers the ledger holds, read with sqlite3 and not with our reader."""
    path = home / "runs/coser/calls.sqlite3"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise RuntimeError("the ledger is damaged")
        return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])
    except sqlite3.OperationalError:  # killed before the tables were made
        return 0
    finally:
        connection.close()


def kill(home: Path, spec: str, cases: Path, log: Path, after: int) -> bool:
    """Start the run and kill it after so many further calls; return whether it was still running."""
    before = sum(received_calls(log).values())
    with start(home, spec, cases) as run:
        while sum(received_calls(log).values()) - before < after and run.poll() is None:
            time.sleep(0.005)
        alive = run.poll() is None
        run.kill()
    return alive


def measure(folder: Path, cases: Path) -> dict[str, int]:
    """Run undisturbed, then with kills, and compare."""
    chance = random.Random(time.time_ns())
    calm, rough, log = folder / "calm", folder / "rough", folder / "log"
    with endpoint(LATENCY, ROOM, log=folder / "calm.log", scenes=True) as spec:
        if start(calm, spec, cases).wait():
            raise RuntimeError("the undisturbed run failed")
    calls = sum(received_calls(folder / "calm.log").values())
    kills = lost = 0
    with endpoint(LATENCY, ROOM, log=log, scenes=True) as spec:
        for _ in range(KILLS):
            before = sum(received_calls(log).values()) - recorded(rough)
            kills += kill(rough, spec, cases, log, chance.randrange(1, max(2, 3 * calls // (2 * KILLS))))
            time.sleep(2 * LATENCY)  # calls that were in flight at the kill reach the server's log
            lost += max(0, sum(received_calls(log).values()) - recorded(rough) - before)
        if start(rough, spec, cases).wait():
            raise RuntimeError("the last run failed")
    received = received_calls(log)
    # Every call that was in flight at a kill may be received once more, and none that the ledger held.
    again = sum(received.values()) - len(received)
    return {
        "kills": kills,
        "calls": calls,
        "in_flight_at_kills": lost,
        "asked_again": max(0, again - lost),
        "different_files": sum(
            (calm / "runs/coser" / each).read_bytes() != (rough / "runs/coser" / each).read_bytes() for each in FILES
        ),
    }


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    with tempfile.TemporaryDirectory() as name:
        measured = measure(Path(name), Path(words[0]) if words else OWN)
    report("evaluation_resume", BAR, measured, all(measured[each] == bar for each, bar in BAR.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
