"""Measure how well the caller keeps servers busy. Run: `python -m benchmarks.throughput`

5,000 calls go to servers of 200 ms latency with room for 64 calls at once, through Caller and ledger as a pipeline uses them (up
to 128 calls in flight per server): one server that queues the rest, as vLLM does; two of them; and one that refuses calls over
its limit, where the caller must find the 64. The ideal is calls x latency / room.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.endpoint import endpoint
from benchmarks.report import report
from her.inference.batch import ask_all
from her.inference.caller import Call, Caller, CallLimits, Ledger
from her.types import Message

CALLS, LATENCY, ROOM = 5_000, 0.2, 64
IDEAL = CALLS * LATENCY / ROOM
BAR = {"one_to_ideal": 1.1, "two_to_one": 0.6, "refusing_to_ideal": 1.1, "lost": 0}
RULES = Message(role="system", content="You enhance one turn of a scene. Keep what is said. " * 30)


def calls(count: int) -> Iterator[Call]:
    """Yield calls with prompts of about 2 kB."""
    for number in range(count):
        question = Message(role="user", content=f"turn {number} " + "of a long evening at the inn, told in full. " * 12)
        yield Call(f"turn {number}", "plans", (RULES, question), version="1")


async def ask(specs: Sequence[str], folder: Path, limits: CallLimits) -> tuple[float, int]:
    """Make all calls; return seconds, and the number of right answers."""
    began = time.perf_counter()
    right = 0
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller(specs, ledger, limits) as caller:
            async for answer in ask_all(caller, calls(CALLS), ordered=True):
                right += answer.text.startswith(f"{answer.call.id} ")
    return time.perf_counter() - began, right


def measure(servers: int, *, refuse: bool = False) -> tuple[float, int]:
    """Return seconds and right answers with fresh servers and a fresh ledger."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        specs = [stack.enter_context(endpoint(LATENCY, ROOM, refuse=refuse)) for _ in range(servers)]
        return asyncio.run(ask(specs, folder, CallLimits()))


def main() -> None:
    """Measure and report."""
    (one, first), (two, second) = measure(1), measure(2)
    refusing, third = measure(1, refuse=True)
    measured = {
        "ideal_s": round(IDEAL, 2),
        "one_s": round(one, 2),
        "two_s": round(two, 2),
        "refusing_s": round(refusing, 2),
        "one_to_ideal": round(one / IDEAL, 3),
        "two_to_one": round(two / one, 3),
        "refusing_to_ideal": round(refusing / IDEAL, 3),
        "lost": 3 * CALLS - first - second - third,
    }
    report("throughput", BAR, measured, all(measured[name] <= bar for name, bar in BAR.items()))


if __name__ == "__main__":
    main()
