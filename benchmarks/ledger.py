"""How soon does a run go on that has 340,000 calls behind it? Run: `python -m benchmarks.ledger`

A ledger is filled with answers of about 1,300 characters of prose. Then a new process opens it, makes the same 340,000
calls (2 kB of prompt each) and one more, takes every recorded answer, and asks a server for the last. The figure is
the time from the start of that process to the server's receipt of the call, and the process's largest memory. The same
is done once more with every recorded text looked at, as a stage does that writes its file again (`read_all_s`).
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
    """Prose of the house's personas, sentence by sentence."""
    text = " ".join(f"{one.profile} {one.background} {one.voice} {one.motivation}" for one in load_personas().values())
    return [f"{sentence.strip()}." for sentence in text.split(".") if sentence.strip()]


def calls(count: int) -> Iterator[Call]:
    """The calls of the run, as a stage makes them."""
    rules = Message(role="system", content=" ".join(sentences())[:1_000])
    for number in range(count):
        asked = Message(role="user", content=f"Turn {number}. {rules.content}")
        yield Call(f"turn {number}", "role_thinking", (rules, asked), version="1")


def prose(chance: random.Random, known: list[str], size: int) -> str:
    """Sentences in any order."""
    said: list[str] = []
    while sum(map(len, said)) < size:
        said.append(chance.choice(known))
    return " ".join(said)


def fill(path: Path) -> float:
    """Record all calls but the last as answered; the file's megabytes."""
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


async def go_on(path: Path, url: str, looking: bool) -> int:
    """The resumed run: answers taken from the ledger."""
    recorded = size = 0
    with Ledger(path) as ledger:
        async with Caller([f"openai:{url}#{MODEL}"], ledger) as caller:
            async for answer in ask_all(caller, calls(CALLS + (2 if looking else 1)), ordered=True):
                recorded += answer.recorded
                size += len(answer.text) if looking else 0
    return recorded


def resume(path: Path, looking: bool) -> tuple[float, int, int, int]:
    """Start the process and wait for its call: seconds until then, kilobytes, answers from the ledger, calls asked."""
    with ModelServer(Script(text="Here.")) as server:
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.ledger", "--look" if looking else "--go-on", str(path), server.url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return server.requests[-1].at - started, int(said[0]), int(said[1]), len(server.chats)


def measure(folder: Path) -> dict[str, float]:
    """Fill, go on, and go on with looking."""
    path = folder / "calls.sqlite3"
    megabytes = fill(path)
    seconds, kilobytes, recorded, asked = resume(path, looking=False)
    looked = resume(path, looking=True)
    return {
        "start_s": round(seconds, 2),
        "memory_mb": round(max(kilobytes, looked[1]) / 1024, 1),
        "file_mb": round(megabytes, 1),
        "read_all_s": round(looked[0], 2),
        "recorded": recorded,
        "asked": asked,
    }


def main() -> None:
    """Measure and report."""
    if sys.argv[1:2] in (["--go-on"], ["--look"]):
        recorded = asyncio.run(go_on(Path(sys.argv[2]), sys.argv[3], sys.argv[1] == "--look"))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, recorded)
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    ok = all(measured[name] <= bar for name, bar in BAR.items()) and measured["recorded"] == CALLS and measured["asked"] == 1
    report("ledger", BAR, measured, ok)


if __name__ == "__main__":
    main()
