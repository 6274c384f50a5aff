"""Measure the time that the app adds until the first token of a reply. Run: `python -m benchmarks.latency [--minutes 10]`

A local server streams about 100 tokens at 50 tokens/s. A bare client (the openai package, streaming) and the app (the two
requests that the page sends over HTTP) call it in turn. The figure is the app's time minus the bare client's median of the same
run: ALONE messages of one visitor, then VISITORS who send MESSAGES each and pause ten seconds between them.

Then CROWD visitors who pause ten seconds on average (exponential) for `--minutes`, the app pinned to one core, clients and model
server (40 tokens at 20 tokens/s) to the other. As many bare clients with the same pauses say before how late such a client is by
itself: the 95th percentile of theirs is taken off the visitors'. Every message and reply must be in the database, and memory must
not grow.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI

from benchmarks.report import report
from tests.playground import Playground, doors, step
from tests.servers import ModelServer, Script

ALONE, VISITORS, MESSAGES, PAUSE = 30, 50, 4, 10.0
CROWD, BARE_MINUTES = 300, 1.0
BAR = {
    "one_chat_p50_ms": 25,
    "fifty_visitors_p95_ms": 100,
    "crowd_p95_ms": 400,
    "crowd_memory_ratio": 1.1,
    "crowd_lost": 0,
    "errors": 0,
    "minutes": 10,
}
CROWD_ANSWER = "The lamps are lit and the road behind you is gone. " * 4
ANSWER = "So you came. " + "The lamps are lit and the road behind you is already gone from sight. " * 6


class Guest:
    """Visitor over HTTP; `waits` collects the seconds until the first token of each reply."""

    def __init__(self, http: httpx.AsyncClient, entrance: tuple[int, int]) -> None:
        self.http = http
        self.fn_index, self.component = entrance
        self.token = secrets.token_hex(32)
        self.waits: list[float] = []
        self.errors: list[str] = []
        self.chat = ""

    async def begin(self) -> None:
        """Open a chat."""
        request = {"act": "start", "token": self.token, "persona": "scheherazade"}
        body = {"data": request, "component_id": self.component, "fn_name": "act", "session_hash": secrets.token_hex(8)}
        self.chat = (await self.http.post("/gradio_api/component_server", json=body)).json()["chat"]

    async def say(self, text: str) -> None:
        """Send one message and read the complete reply."""
        session = secrets.token_hex(8)
        request = {"act": "send", "token": self.token, "chat": self.chat, "text": text}
        body = {
            "data": [],
            "event_data": request,
            "fn_index": self.fn_index,
            "session_hash": session,
            "trigger_id": self.component,
        }
        began = time.perf_counter()
        first = 0.0
        (await self.http.post("/gradio_api/queue/join", json=body)).raise_for_status()
        async for patch in self._patches(session):
            if not first and "lines" in patch.get("live", {}).get("html", ""):
                first = time.perf_counter() - began
            if patch.get("error"):
                self.errors.append(patch["error"])
        if first:
            self.waits.append(first)
        else:
            self.errors.append("no token came")

    async def _patches(self, session: str) -> AsyncIterator[dict[str, Any]]:
        value: list[Any] | None = None
        async with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    value, patch = step(value, event)
                    if patch is not None:
                        yield patch
                    if event["msg"] == "process_completed":
                        return


async def bare(url: str, model: str, times: int) -> list[float]:
    """Return the seconds until the first token through the bare client, `times` times."""
    client, waits = AsyncOpenAI(base_url=url, api_key="none"), []
    for _ in range(times):
        began = time.perf_counter()
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Who comes?"}], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                waits.append(time.perf_counter() - began)
                await stream.close()
                break
    return waits


async def measure(page: str, server: str, model: str) -> dict[str, Any]:
    """Return both figures, in milliseconds over the bare client."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=page, timeout=120, limits=limits) as http:
        entrance = doors((await http.get("/config")).json())
        alone, direct = Guest(http, entrance), []
        await alone.begin()
        await alone.say("Good evening.")  # warm-up: the first message opens connections
        alone.waits.clear()
        for n in range(ALONE):
            direct += await bare(server, model, 1)
            await alone.say(f"And then, the {n}th time?")
        floor = statistics.median(direct)
        fifty = [Guest(http, entrance) for _ in range(VISITORS)]
        await asyncio.gather(*(guest.begin() for guest in fifty))
        await asyncio.gather(*(visit(guest, n) for n, guest in enumerate(fifty)))
    waits = sorted(wait for guest in fifty for wait in guest.waits)
    over = [1000 * (wait - floor) for wait in waits]
    errors = [error for guest in (alone, *fifty) for error in guest.errors]
    return {
        "bare_p50_ms": round(1000 * floor, 1),
        "one_chat_p50_ms": round(1000 * (statistics.median(alone.waits) - floor), 1),
        "one_chat_p95_ms": round(1000 * (statistics.quantiles(alone.waits, n=20)[-1] - floor), 1),
        "fifty_visitors_p50_ms": round(statistics.median(over), 1),
        "fifty_visitors_p95_ms": round(statistics.quantiles(over, n=20)[-1], 1),
        "messages": len(waits),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
    }


async def visit(guest: Guest, n: int) -> None:
    """Start at the n-th moment of the first pause, then send and pause in turn."""
    await asyncio.sleep(PAUSE * n / VISITORS)
    for turn in range(MESSAGES):
        await guest.say(f"Tell me more of it, part {turn}.")
        await asyncio.sleep(PAUSE)


async def until(end: float, n: int, act: Callable[[], Awaitable[None]]) -> None:
    """Act again and again until `end` (of time.monotonic), with exponential pauses of PAUSE seconds on average before each."""
    dice = random.Random(n)
    while time.monotonic() + (pause := dice.expovariate(1 / PAUSE)) < end:
        await asyncio.sleep(pause)
        await act()


async def bare_crowd(server: str, model: str) -> list[float]:
    """Return the seconds until the first token of CROWD bare clients, each of which reads its reply to the end."""
    waits: list[float] = []
    body = {"model": model, "messages": [{"role": "user", "content": "Who comes?"}], "stream": True}

    async def ask() -> None:
        began, first = time.perf_counter(), 0.0
        async with http.stream("POST", f"{server}/chat/completions", json=body) as stream:
            async for line in stream.aiter_lines():
                if not first and '"content"' in line:
                    first = time.perf_counter() - began
        waits.append(first)

    async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as http:
        end = time.monotonic() + 60 * BARE_MINUTES
        await asyncio.gather(*(until(end, n, ask) for n in range(CROWD)))
    return waits


async def memory_by_minute(pid: int, minutes: float) -> list[int]:
    """Return the largest resident memory of a process in each minute, in bytes."""
    peaks: list[int] = []
    end = time.monotonic() + 60 * minutes
    while (left := end - time.monotonic()) > 0:
        minute = int((60 * minutes - left) // 60)
        peaks += [0] * (minute + 1 - len(peaks))
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        peaks[minute] = max(peaks[minute], pages * os.sysconf("SC_PAGE_SIZE"))
        await asyncio.sleep(min(1.0, left))
    return peaks


async def crowd(page: Playground, server: str, model: str, minutes: float, database: Path) -> dict[str, Any]:
    """Return the figures of CROWD visitors."""
    floor = statistics.quantiles(await bare_crowd(server, model), n=20)[-1]
    async with httpx.AsyncClient(base_url=page.url, timeout=120, limits=httpx.Limits(max_connections=None)) as http:
        entrance = doors((await http.get("/config")).json())
        guests = [Guest(http, entrance) for _ in range(CROWD)]
        for guest in guests:
            await guest.begin()
        sent = [0]

        async def say(guest: Guest) -> None:
            sent[0] += 1
            await guest.say(f"Tell me more of it, part {sent[0]}.")

        end = time.monotonic() + 60 * minutes
        watching = asyncio.create_task(memory_by_minute(page.process.pid, minutes))
        await asyncio.gather(*(until(end, n, partial(say, guest)) for n, guest in enumerate(guests)))
        memory = await watching
    waits = sorted(wait for guest in guests for wait in guest.waits)
    errors = [error for guest in guests for error in guest.errors]
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = dict(connection.execute("SELECT origin, count(*) FROM nodes WHERE parent_id IS NOT NULL GROUP BY origin"))
    return {
        "crowd_bare_p95_ms": round(1000 * floor, 1),
        "crowd_p50_ms": round(1000 * (statistics.median(waits) - floor), 1),
        "crowd_p95_ms": round(1000 * (statistics.quantiles(waits, n=20)[-1] - floor), 1),
        "crowd_messages": sent[0],
        "crowd_lost": sent[0] - rows.get("model", 0) + sent[0] - rows.get("visitor", 0),
        "crowd_errors": len(errors),
        "crowd_first_error": errors[0] if errors else "",
        "crowd_memory_mb": [round(peak / 1e6) for peak in memory],
        "crowd_memory_ratio": round(memory[-1] / memory[1], 3) if len(memory) > 2 else None,
        "minutes": minutes,
    }


@contextlib.contextmanager
def pinned() -> Iterator[int | None]:
    """Keep this process on the last core while the block runs; yield the core for the app, None where there is one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield cores[0]
    finally:
        os.sched_setaffinity(0, cores)


def pin_all(pid: int, core: int) -> None:
    """Move all threads of a process to a core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), [core])


def app(home: str, server: ModelServer) -> Playground:
    """Start the app before the model server."""
    return Playground(Path(home), backend=f"openai:{server.url}#{server.script.model}")


def holds(measured: dict[str, Any]) -> bool:
    """Return whether every bar holds as measured."""
    if measured["minutes"] < BAR["minutes"] or measured["crowd_memory_ratio"] is None:
        return False
    return all(measured[name] <= most for name, most in BAR.items() if name != "minutes")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=BAR["minutes"], help="of the crowd; the bar asks for 10")
    minutes = parser.parse_args().minutes
    script = Script(text=lambda body: ANSWER, rate=50)
    with ModelServer(script) as server, tempfile.TemporaryDirectory() as home, app(home, server) as page:
        measured = asyncio.run(measure(page.url, server.url, script.model))
    script = Script(text=lambda body: CROWD_ANSWER, rate=20)
    with pinned() as core, ModelServer(script) as server, tempfile.TemporaryDirectory() as home, app(home, server) as page:
        if core is not None:
            pin_all(page.process.pid, core)
        found = asyncio.run(crowd(page, server.url, script.model, minutes, Path(home) / "her.sqlite3"))
    measured |= found | {"errors": measured["errors"] + found["crowd_errors"]}
    report("latency", BAR, measured, holds(measured))


if __name__ == "__main__":
    main()
