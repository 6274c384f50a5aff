"""Count the calls that a killed run repeats, loses or doubles. Run: `python -m benchmarks.resume`

A run of two stages (one call a turn, then one call with each answer) is killed with SIGKILL ten times, each time after a random
number of further calls, and then runs to its end. After each kill the ledger is read with sqlite3, not with our reader. By the
log of the server, no call that the ledger holds may be sent again; calls in flight may. The output file must equal that of an
undisturbed run byte for byte.
"""

import asyncio
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks.endpoint import endpoint, received_calls
from benchmarks.report import report
from her.files.atomic import replacing
from her.inference.batch import ask_all
from her.inference.caller import Answer, Call, Caller, CallLimits, Ledger
from her.types import Message

TURNS, KILLS, LATENCY, ROOM = 1_500, 10, 0.02, 32
BAR = {"kills": KILLS, "asked_again": 0, "lost_or_doubled": 0, "differs": 0}
LIMITS = CallLimits(max_in_flight=ROOM, start=ROOM)


def first() -> Iterator[Call]:
    """Yield one call for each turn."""
    for number in range(TURNS):
        yield Call(f"first {number}", "first", (Message(role="user", content=f"first {number} of the evening"),))


def second(answers: list[Answer]) -> Iterator[Call]:
    """Yield one call for each answer."""
    for number, answer in enumerate(answers):
        messages = (Message(role="system", content=answer.text), Message(role="user", content=f"second {number} of the evening"))
        yield Call(f"second {number}", "second", messages)


async def work(folder: Path, spec: str) -> None:
    """Run both stages and write the file."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller([spec], ledger, LIMITS) as caller:
            firsts = [answer async for answer in ask_all(caller, first(), ordered=True)]
            with replacing(folder / "out.txt") as out:
                async for answer in ask_all(caller, second(firsts), ordered=True):
                    out.write(f"{answer.call.id}\t{answer.call.messages[0].content}\t{answer.text}\n")


def start(folder: Path, spec: str) -> subprocess.Popen[bytes]:
    """Start the run in a separate process."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.resume", "--work", str(folder), spec])


def recorded(folder: Path, names: dict[bytes, str]) -> set[str]:
    """Return the calls that the ledger holds, named as in the log of the server."""
    connection = sqlite3.connect(folder / "calls.sqlite3")
    try:
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise RuntimeError("the ledger is damaged")
        keys = {row[0] for row in connection.execute("SELECT key FROM calls")}
    finally:
        connection.close()
    return {names[key] for key in keys}


async def names_of(folder: Path, spec: str) -> dict[bytes, str]:
    """Return, for a finished run, the key of each call and its name in the log of the server."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller([spec], ledger, LIMITS) as caller:
            firsts = [answer async for answer in ask_all(caller, first(), ordered=True)]
            return {caller.key(call): call.messages[-1].content[:40] for call in [*first(), *second(firsts)]}


def kill(folder: Path, spec: str, log: Path, after: int) -> bool:
    """Start the run and kill it after so many further calls; return whether it was still running."""
    before = sum(received_calls(log).values())
    with start(folder, spec) as run:
        while sum(received_calls(log).values()) - before < after and run.poll() is None:
            time.sleep(0.005)
        alive = run.poll() is None
        run.kill()
    return alive


def measure(folder: Path) -> dict[str, int]:
    """Run undisturbed, then with kills, and compare."""
    chance = random.Random(time.time_ns())
    calm, rough, log = folder / "calm", folder / "rough", folder / "log"
    calm.mkdir()
    rough.mkdir()
    with endpoint(LATENCY, ROOM) as spec:
        if start(calm, spec).wait():
            raise RuntimeError("the undisturbed run failed")
        names = asyncio.run(names_of(calm, spec))
    kills = 0
    ends: list[tuple[set[str], Counter[str]]] = []  # after each end: recorded calls, and how often each was received
    with endpoint(LATENCY, ROOM, log=log) as spec:
        for _ in range(KILLS):
            kills += kill(rough, spec, log, chance.randrange(1, 2 * TURNS // KILLS))
            ends.append((recorded(rough, names), received_calls(log)))
        if start(rough, spec).wait():
            raise RuntimeError("the last run failed")
        ends.append((recorded(rough, names), received_calls(log)))
    again = sum(later[name] - received[name] for (held, received), (_, later) in pairwise(ends) for name in held)
    lines = (rough / "out.txt").read_text().splitlines()
    ids = Counter(line.split("\t")[0] for line in lines)
    return {
        "kills": kills,
        "calls": 2 * TURNS,
        "in_flight_at_kills": sum(len(received.keys() - held) for held, received in ends),
        "asked_again": again,
        "lost_or_doubled": abs(TURNS - len(ids)) + sum(count - 1 for count in ids.values()),
        "differs": int((calm / "out.txt").read_bytes() != (rough / "out.txt").read_bytes()),
    }


def main() -> None:
    """Measure and report."""
    if sys.argv[1:2] == ["--work"]:
        asyncio.run(work(Path(sys.argv[2]), sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    report("resume", BAR, measured, all(measured[name] == bar for name, bar in BAR.items()))


if __name__ == "__main__":
    main()
