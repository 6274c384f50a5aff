"""Compare a local Ray cluster with asyncio: the same answers, as fast. Run: `python -m benchmarks.ray` (extra `ray`)

2,000 calls go to a server of 200 ms latency with room for 64 at once: by asyncio in this process, and by Ray Data on a local Ray
with two workers. The answers are compared, and the time from the first call to the last answer. Ray and its workers take
seconds to start, which does not count.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.endpoint import endpoint
from benchmarks.report import report
from benchmarks.throughput import LATENCY, ROOM, calls
from her.inference.batch import Executor, run_calls
from her.inference.caller import CallLimits, Ledger

CALLS, WORKERS = 2_000, 2
BAR = {"ray_to_asyncio": 1.3, "different": 0}


async def ask(spec: str, folder: Path, executor: Executor) -> tuple[float, list[tuple[str, str]]]:
    """Return the seconds from the start of the run until the last answer, and all answers."""
    answers = []
    began = time.perf_counter()
    with Ledger(folder / f"{executor}.sqlite3") as ledger:
        async for answer in run_calls(calls(CALLS), [spec], ledger, CallLimits(workers=WORKERS), executor=executor):
            answers.append((answer.call.id, answer.text))
    return time.perf_counter() - began, answers


def measure(folder: Path) -> dict[str, float]:
    """Measure both executors, each against a fresh server that records the time of its first call."""
    runs = {}
    for executor in ("asyncio", "ray"):
        log = folder / f"{executor}.log"
        with endpoint(LATENCY, ROOM, log=log) as spec:
            began = time.time()
            seconds, answers = asyncio.run(ask(spec, folder, executor))  # type: ignore[arg-type]
            runs[executor] = (seconds - (first_call(log) - began), seconds, answers)
    import ray

    ray.shutdown()
    here, there = runs["asyncio"], runs["ray"]
    return {
        "asyncio_s": round(here[0], 2),
        "ray_s": round(there[0], 2),
        "ray_start_s": round(there[1] - there[0], 2),
        "ray_to_asyncio": round(there[0] / here[0], 3),
        "different": sum(local != remote for local, remote in zip(here[2], there[2], strict=True)),
    }


def first_call(log: Path) -> float:
    """Return the clock time of the first call that the server received."""
    return float(log.with_suffix(".first").read_text())


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    report("ray", BAR, measured, all(measured[name] <= bar for name, bar in BAR.items()))


if __name__ == "__main__":
    main()
