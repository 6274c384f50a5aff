"""Is anything asked twice, lost or doubled when a run is killed? Run: `python -m benchmarks.resume`

A run of two stages (each turn is asked about, then asked about again with the first answer) is killed with SIGKILL ten
times, after a random number of further calls, and then left to end. After each kill the ledger is read with sqlite3, not
with our reader; whatever it holds may not be asked again, by the server's own log. Calls that were in flight may. The
output file must be that of an undisturbed run, byte for byte.
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

from benchmarks.endpoint import asked_of, endpoint
from benchmarks.report import report
from her.files.atomic import replacing
from her.inference.batch import ask_all
from her.inference.caller import Answer, Call, Caller, CallLimits, Ledger
from her.types import Message

TURNS, KILLS, LATENCY, ROOM = 1_500, 10, 0.02, 32
BAR = {"kills": KILLS, "asked_again": 0, "lost_or_doubled": 0, "differs": 0}
LIMITS = CallLimits(max_in_flight=ROOM, start=ROOM)


def first() -> Iterator[Call]:
    """A call for each turn."""
    for number in range(TURNS):
        yield Call(f"first {number}", "first", (Message(role="user", content=f"first {number} of the evening"),))


def second(answers: list[Answer]) -> Iterator[Call]:
    """A call for each answer."""
    for number, answer in enumerate(answers):
        messages = (Message(role="system", content=answer.text), Message(role="user", content=f"second {number} of the evening"))
        yield Call(f"second {number}", "second", messages)


async def work(folder: Path, spec: str) -> None:
    """The run: both stages, then the file."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller([spec], ledger, LIMITS) as caller:
            firsts = [answer async for answer in ask_all(caller, first(), ordered=True)]
            with replacing(folder / "out.txt") as out:
                async for answer in ask_all(caller, second(firsts), ordered=True):
                    out.write(f"{answer.call.id}\t{answer.call.messages[0].content}\t{answer.text}\n")


def start(folder: Path, spec: str) -> subprocess.Popen[bytes]:
    """The run in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.resume", "--work", str(folder), spec])


def recorded(folder: Path, names: dict[bytes, str]) -> set[str]:
    """What the ledger says was answered, by the text that the server's log shows."""
    connection = sqlite3.connect(folder / "calls.sqlite3")
    try:
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise RuntimeError("the ledger is damaged")
        keys = {row[0] for row in connection.execute("SELECT key FROM calls")}
    finally:
        connection.close()
    return {names[key] for key in keys}


async def names_of(folder: Path, spec: str) -> dict[bytes, str]:
    """From a finished run, the key of each call and how the server's log shows it."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller([spec], ledger, LIMITS) as caller:
            firsts = [answer async for answer in ask_all(caller, first(), ordered=True)]
            return {caller.key(call): call.messages[-1].content[:40] for call in [*first(), *second(firsts)]}


def kill(folder: Path, spec: str, log: Path, after: int) -> bool:
    """Start, kill after so many further calls; whether it was killed before it ended."""
    before = sum(asked_of(log).values())
    with start(folder, spec) as run:
        while sum(asked_of(log).values()) - before < after and run.poll() is None:
            time.sleep(0.005)
        alive = run.poll() is None
        run.kill()
    return alive


def measure(folder: Path) -> dict[str, int]:
    """Undisturbed, then disturbed."""
    chance = random.Random(time.time_ns())
    calm, rough, log = folder / "calm", folder / "rough", folder / "log"
    calm.mkdir()
    rough.mkdir()
    with endpoint(LATENCY, ROOM) as spec:
        if start(calm, spec).wait():
            raise RuntimeError("the undisturbed run failed")
        names = asyncio.run(names_of(calm, spec))
    kills = 0
    seen: list[tuple[set[str], Counter[str]]] = []  # after each end: what was recorded, how often each call had been asked
    with endpoint(LATENCY, ROOM, log=log) as spec:
        for _ in range(KILLS):
            kills += kill(rough, spec, log, chance.randrange(1, 2 * TURNS // KILLS))
            seen.append((recorded(rough, names), asked_of(log)))
        if start(rough, spec).wait():
            raise RuntimeError("the last run failed")
        seen.append((recorded(rough, names), asked_of(log)))
    again = sum(later[name] - asked[name] for (there, asked), (_, later) in pairwise(seen) for name in there)
    lines = (rough / "out.txt").read_text().splitlines()
    ids = Counter(line.split("\t")[0] for line in lines)
    return {
        "kills": kills,
        "calls": 2 * TURNS,
        "in_flight_at_kills": sum(len(asked.keys() - there) for there, asked in seen),
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
