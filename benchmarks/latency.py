"""Measure the time that the app adds until the first token of a reply. Run: `python -m benchmarks.latency`

A local server streams about 100 tokens at 50 tokens/s. A bare client (the openai package, streaming) and the app (the two
requests that the page sends over HTTP) call it in turn. The figure is the app's time minus the bare client's median of the same
run: ALONE messages of one visitor, then VISITORS who send MESSAGES each and pause ten seconds between them.
"""

import asyncio
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI

from benchmarks.report import report
from tests.playground import Playground, doors, step
from tests.servers import ModelServer, Script

ALONE, VISITORS, MESSAGES, PAUSE = 30, 50, 4, 10.0
BAR = {"one_chat_p50_ms": 60, "fifty_visitors_p95_ms": 250, "errors": 0}
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
        crowd = [Guest(http, entrance) for _ in range(VISITORS)]
        await asyncio.gather(*(guest.begin() for guest in crowd))
        await asyncio.gather(*(visit(guest, n) for n, guest in enumerate(crowd)))
    waits = sorted(wait for guest in crowd for wait in guest.waits)
    over = [1000 * (wait - floor) for wait in waits]
    errors = [error for guest in (alone, *crowd) for error in guest.errors]
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


def main() -> None:
    """Measure and report."""
    with ModelServer(Script(text=lambda body: ANSWER, rate=50)) as server, tempfile.TemporaryDirectory() as home:
        spec = f"openai:{server.url}#{server.script.model}"
        with Playground(Path(home), backend=spec) as page:
            measured = asyncio.run(measure(page.url, server.url, server.script.model))
    ok = measured["one_chat_p50_ms"] <= 60 and measured["fifty_visitors_p95_ms"] <= 250 and not measured["errors"]
    report("latency", BAR, measured, ok)


if __name__ == "__main__":
    main()
