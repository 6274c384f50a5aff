"""Measure how fast scenes are played and judged. Run: `python -m benchmarks.wallclock [TEST_SET.json]`

200 cases (those of the file again and again under other titles; without a file the scenes of this repository) are played and
judged against a server of 300 ms latency with 64 slots. The ideal is the longest chain of calls of one case times the latency, or
all calls times latency / slots, whichever is larger; CoSER's published script takes 2.4 times that. The client may have WAITING
calls more in flight than the server has slots: they wait there, so that no slot is empty while an answer is read.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.endpoint import endpoint
from benchmarks.report import report
from her import paths
from her.inference.caller import Answer, Call, Ledger
from her.inference.options import CallOptions
from pipelines.evaluate.cases import ActingCase, read_cases
from pipelines.evaluate.evaluation import Bench, in_flight
from pipelines.evaluate.options import EvaluateOptions, Role
from pipelines.evaluate.role_callers import RoleCallers
from pipelines.evaluate.simulation import PlayStage

CASES, LATENCY, ROOM, WAITING = 200, 0.3, 64, 16
BAR = {"to_ideal": 1.1, "missing": 0}
OWN = paths.ROOT / "pipelines/configs/evaluate_cases.json"


class CountingCallers(RoleCallers):
    """Callers that count the calls of every case: those of its scene come one after the other, its judgements side by side."""

    def __init__(self, options: EvaluateOptions, ledger: Ledger) -> None:
        super().__init__(options, ledger)
        self.chains: Counter[str] = Counter()
        self.calls = 0

    async def ask(self, role: Role, call: Call) -> Answer:
        """Ask and count."""
        self.calls += 1
        self.chains[str(call.meta)] += role != "judge"
        return await super().ask(role, call)


def two_hundred(path: Path, folder: Path) -> list[ActingCase]:
    """Return so many cases, in the schema of the file."""
    given = json.loads(path.read_text("utf-8"))
    made = [{**given[number % len(given)], "book": f"{given[number % len(given)]['book']} {number}"} for number in range(CASES)]
    copied = folder / "cases.json"
    copied.write_text(json.dumps(made), "utf-8")
    return list(read_cases([copied]))


async def measure(spec: str, cases: list[ActingCase], folder: Path) -> dict[str, float]:
    """Play and judge all cases."""
    options = EvaluateOptions(
        cases=(folder,), runs=1, actor=(spec,), judge=(spec,), calls=CallOptions(in_flight=ROOM + WAITING), thoughts=("hidden",)
    )
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with CountingCallers(options, ledger) as callers:
            bench = Bench(PlayStage(options, callers, "model", "key"), options.acting, {})
            began, spent = time.perf_counter(), time.process_time()
            judged = await in_flight(bench.judged, [(case, 0) for case in cases], CASES)
            seconds, processor = time.perf_counter() - began, time.process_time() - spent
    longest = (max(callers.chains.values()) + 1) * LATENCY
    ideal = max(longest, callers.calls * LATENCY / ROOM)
    missing = sum(each.flaws is None for case in judged for view in case.judgements.values() for each in view.values())
    return {
        "calls": callers.calls,
        "critical_path_s": round(longest, 2),
        "throughput_limit_s": round(callers.calls * LATENCY / ROOM, 2),
        "seconds": round(seconds, 2),
        "to_ideal": round(seconds / ideal, 3),
        "client_ms_a_call": round(1000 * processor / callers.calls, 2),
        "missing": missing + CASES - len(judged),
    }


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    with tempfile.TemporaryDirectory() as name, endpoint(LATENCY, ROOM, scenes=True) as spec:
        folder = Path(name)
        measured = asyncio.run(measure(spec, two_hundred(Path(words[0]) if words else OWN, folder), folder))
    report("wallclock", BAR, measured, all(measured[each] <= bar for each, bar in BAR.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
