"""Measure how soon a run with 340,000 recorded calls resumes. Run: `python -m benchmarks.ledger`

A ledger is filled with answers of about 1,300 characters of prose. Then a new process opens it, makes the same 340,000 calls
(prompts of 2 kB) and one more: it takes every recorded answer and sends the last call to a server. The figures are the time from
the start of that process until the server receives the call, and the peak memory of the process. A second process also reads
every recorded text, as a stage does that writes its file again (`read_all_s`).
"""

import asyncio
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import report
from her.characters.personas import load_personas
from her.inference.batch import ask_all
from her.inference.caller import Call, Caller, Ledger
from her.store.ledger import Entry, StoredText
from her.types import Message
from tests.servers import ModelServer, Script

CALLS = 340_000
BAR = {"start_s": 10, "memory_mb": 500, "file_mb": 500}
MODEL = "test-her"


def sentences() -> list[str]:
    """Return the sentences of the bundled personas."""
    text = " ".join(f"{each.profile} {each.background} {each.voice} {each.motivation}" for each in load_personas().values())
    return [f"{sentence.strip()}." for sentence in text.split(".") if sentence.strip()]


def calls(count: int) -> Iterator[Call]:
    """Yield the calls of the run, as a stage makes them."""
    rules = Message(role="system", content=" ".join(sentences())[:1_000])
    for number in range(count):
        question = Message(role="user", content=f"Turn {number}. {rules.content}")
        yield Call(f"turn {number}", "role_thinking", (rules, question), version="1")


def prose(chance: random.Random, known: list[str], size: int) -> str:
    """Return at least `size` characters of random sentences."""
    chosen: list[str] = []
    while sum(map(len, chosen)) < size:
        chosen.append(chance.choice(known))
    return " ".join(chosen)


def fill(path: Path) -> float:
    """Record an answer for every call but the last; return the size of the file in megabytes."""
    chance, known = random.Random(0), sentences()
    keys = Caller([f"openai:http://127.0.0.1:9/v1#{MODEL}"])
    keys.model = MODEL
    with Ledger(path) as ledger:
        group: list[Entry] = []
        for call in calls(CALLS):
            text = prose(chance, known, 1_200)
            group.append(Entry(keys.key(call), call.stage, MODEL, StoredText(text), prompt_tokens=560, completion_tokens=300))
            if len(group) == 2_000:
                ledger.write(group)
                group.clear()
        ledger.write(group)
    return path.stat().st_size / 1e6


async def resume_run(path: Path, url: str, reading: bool) -> int:
    """Resume the run; return how many answers came from the ledger."""
    recorded = size = 0
    with Ledger(path) as ledger:
        async with Caller([f"openai:{url}#{MODEL}"], ledger) as caller:
            async for answer in ask_all(caller, calls(CALLS + (2 if reading else 1)), ordered=True):
                recorded += answer.recorded
                size += len(answer.text) if reading else 0
    return recorded


def resume(path: Path, reading: bool) -> tuple[float, int, int, int]:
    """Start the process and wait for its call; return seconds until then, kilobytes, recorded answers and calls received."""
    with ModelServer(Script(text="Here.")) as server:
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.ledger", "--read" if reading else "--resume", str(path), server.url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return server.requests[-1].at - started, int(output[0]), int(output[1]), len(server.chats)


def measure(folder: Path) -> dict[str, float]:
    """Fill a ledger, resume, and resume with reading of every text."""
    path = folder / "calls.sqlite3"
    megabytes = fill(path)
    seconds, kilobytes, recorded, received = resume(path, reading=False)
    reread = resume(path, reading=True)
    return {
        "start_s": round(seconds, 2),
        "memory_mb": round(max(kilobytes, reread[1]) / 1024, 1),
        "file_mb": round(megabytes, 1),
        "read_all_s": round(reread[0], 2),
        "recorded": recorded,
        "received": received,
    }


def main() -> None:
    """Measure and report."""
    if sys.argv[1:2] in (["--resume"], ["--read"]):
        recorded = asyncio.run(resume_run(Path(sys.argv[2]), sys.argv[3], sys.argv[1] == "--read"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, recorded)
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    ok = all(measured[name] <= bar for name, bar in BAR.items()) and measured["recorded"] == CALLS and measured["received"] == 1
    report("ledger", BAR, measured, ok)


if __name__ == "__main__":
    main()
