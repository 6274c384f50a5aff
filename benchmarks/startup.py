"""Measure the start of the playground: seconds until the page, and memory. Run: `python -m benchmarks.startup`

`python app.py` is timed from the start of the process until the first HTTP 200, the median of RUNS fresh homes. Then the resident
memory of the process is read, and whether torch was imported, from the files that the process has mapped.
"""

import statistics
import tempfile
from pathlib import Path

from benchmarks.report import report
from tests.playground import Playground

RUNS = 5
BAR = {"seconds_to_first_200": 6.0, "resident_mb": 400, "torch_imported": False}


def main() -> None:
    """Measure and report."""
    seconds, memory, torch = [], [], False
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as home, Playground(Path(home)) as page:
            seconds.append(page.ready_after)
            memory.append(_resident_mb(page.process.pid))
            torch = torch or _maps_torch(page.process.pid)
    measured = {
        "seconds_to_first_200": round(statistics.median(seconds), 2),
        "seconds_each": [round(each, 2) for each in seconds],
        "resident_mb": round(statistics.median(memory)),
        "torch_imported": torch,
    }
    ok = measured["seconds_to_first_200"] <= 6.0 and measured["resident_mb"] <= 400 and not torch
    report("startup", BAR, measured, ok)


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmRSS in /proc/{pid}/status")


def _maps_torch(pid: int) -> bool:
    return "/torch/" in Path(f"/proc/{pid}/maps").read_text()


if __name__ == "__main__":
    main()
