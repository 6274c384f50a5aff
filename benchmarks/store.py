"""Count lost ratings under many writers and after kills. Run: `python -m benchmarks.store`

Eight processes write 500 ratings each through `Store.rate` at full speed, each call timed from outside. Then, 20 times, four
writers are killed with SIGKILL at work; every rating that was acknowledged must be in the file. Rows are counted with sqlite3,
not with the store. Prints one JSON object.
"""

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.report import report
from her.feedback.rubric import RUBRIC
from her.store import Draft, Rating, Store
from her.types import CastMember, Part, Scenario, Turn

PROCESSES, EACH, BAR_MS = 8, 500, 50.0
KILLS, WRITERS = 20, 4


def open_chat(store: Store, visitor_id: str) -> tuple[str, str]:
    """Create a chat of this visitor with one turn to rate; return the ids of both."""
    turn = Turn(speaker="Iago", parts=(Part(kind="speech", text="I am not what I am."),))
    draft = Draft(speaker="Iago", scenario=Scenario(), cast=(CastMember(name="Iago"),))
    return store.create_conversation(visitor_id, draft, [(turn, "greeting")]).id, turn.id


def write(database: str, name: str, count: int) -> None:
    """Rate `count` times; print `name-number milliseconds` when the store has acknowledged the rating."""
    store = Store(database)
    visitor_id = name.ljust(64, "0")
    chat, turn = open_chat(store, visitor_id)
    os.write(1, b"ready\n")
    sys.stdin.readline()
    for number in range(count):
        stars = {"in_character": 1 + number % 5, "voice": 4}
        rating = Rating(rubric=RUBRIC.version, thumb=1, stars=stars, comment=f"{name}-{number}")
        started = time.perf_counter()
        store.rate(visitor_id, chat, turn, rating)
        took = (time.perf_counter() - started) * 1000
        os.write(1, f"{name}-{number} {took:.3f}\n".encode())


def start(database: str, names: list[str], count: int) -> list[subprocess.Popen[str]]:
    """Start writers that begin together when all have opened the database."""
    command = [sys.executable, "-m", "benchmarks.store", "--writer", database]
    pipe = subprocess.PIPE
    writers = [subprocess.Popen([*command, name, str(count)], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for name in names]
    for writer in writers:
        if read_line(writer) != "ready\n":
            raise RuntimeError(f"a writer did not start: {writer.communicate()[1]}")
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


def read_line(writer: subprocess.Popen[str]) -> str:
    """Return the next line of a writer's output."""
    assert writer.stdout
    return writer.stdout.readline()


def stored(file: Path) -> set[str]:
    """Return the comments of all rating rows."""
    with closing(sqlite3.connect(file)) as connection:
        return {row[0] for row in connection.execute("SELECT comment FROM ratings")}


def crowd(folder: Path) -> dict[str, float | int]:
    """Run all writers to their end; return lost ratings, errors and latencies."""
    file = folder / "crowd.sqlite3"
    database = f"sqlite:///{file}"
    Store(database).close()
    began = time.perf_counter()
    writers = start(database, [f"w{number}" for number in range(PROCESSES)], EACH)
    outputs = [writer.communicate() for writer in writers]
    seconds = time.perf_counter() - began
    acknowledged = dict(line.split() for output, _ in outputs for line in output.splitlines())
    latencies = sorted(float(milliseconds) for milliseconds in acknowledged.values())
    return {
        "ratings": len(acknowledged),
        "lost": len(set(acknowledged) - stored(file)) + PROCESSES * EACH - len(acknowledged),
        "errors": sum(1 for writer in writers if writer.returncode),
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[len(latencies) * 99 // 100],
        "max_ms": latencies[-1],
        "per_second": round(len(latencies) / seconds),
    }


def kills(folder: Path) -> dict[str, int]:
    """Kill the writers at work, KILLS times over one file; return lost ratings and damage."""
    file = folder / "kills.sqlite3"
    database = f"sqlite:///{file}"
    chance = random.Random(0)
    acknowledged: set[str] = set()
    for number in range(KILLS):
        writers = start(database, [f"k{number}x{writer}" for writer in range(WRITERS)], 1_000_000)
        first = [read_line(writers[0]) for _ in range(chance.randint(5, 80))]
        for writer in writers:
            writer.kill()
        lines = [*first, *(line for writer in writers for line in writer.communicate()[0].splitlines(keepends=True))]
        acknowledged |= {line.split()[0] for line in lines if line.endswith("\n")}
    Store(database).close()
    with closing(sqlite3.connect(file)) as connection:
        damage = connection.execute("PRAGMA integrity_check").fetchone()[0]
    lost = len(acknowledged - stored(file))
    return {"rounds": KILLS, "acknowledged": len(acknowledged), "lost": lost, "damaged": int(damage != "ok")}


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--writer"]:
        write(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    with tempfile.TemporaryDirectory() as folder:
        together, killed = crowd(Path(folder)), kills(Path(folder))
    measured = {**together, **{f"kill_{name}": count for name, count in killed.items()}}
    bar = {"lost": 0, "errors": 0, "p99_ms": BAR_MS, "kill_lost": 0, "kill_damaged": 0}
    report("store", bar, measured, all(measured[name] <= limit for name, limit in bar.items()))


if __name__ == "__main__":
    main()
