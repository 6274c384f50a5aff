"""Serve a model protocol with a fixed latency and a limited number of calls at once, for benchmarks of the caller.
Run: `python -m benchmarks.endpoint --latency 0.2 --room 64`

Calls over the limit wait, as at vLLM, or are refused with HTTP 429 (`--refuse`), as at hosted APIs. An answer repeats the
question, so that outputs can be compared. The port is printed. The server does as little as possible: the client is measured.
"""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from her.types import Message
from pipelines.evaluate.scripted_scene import scripted_answer

MODEL = "test-her"
TEXT = "The lamps are lit, and the road behind you is gone from sight. " * 12


@dataclass
class Places:
    """Slots of the server, and the connections that wait for one."""

    latency: float
    room: int
    refuse: bool
    log: Path | None
    text: str = TEXT
    taken: int = 0
    waiting: deque["Connection"] = field(default_factory=deque)


class Connection(asyncio.Protocol):
    """Connection of one client: one request at a time, as in HTTP/1.1."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.received = b""
        self.body: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, block: bytes) -> None:
        self.received += block
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.received = rest
            self.send(b"200 OK", {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            return
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        if len(rest) >= size:
            self.body, self.received = json.loads(rest[:size]) if size else {}, rest[size:]
            self.receive()

    def receive(self) -> None:
        places = self.places
        if places.log is not None:
            if not places.log.exists():
                places.log.with_suffix(".first").write_text(str(time.time()))
            with places.log.open("a") as log:
                log.write(f"{self.name()}\n")
        if places.taken < places.room:
            self.begin()
        elif places.refuse:
            self.send(b"429 Too Many Requests", {"error": {"message": "all slots are taken"}})
        else:
            places.waiting.append(self)

    def name(self) -> str:
        """Return the name of a call in the log."""
        return str(self.body["messages"][-1]["content"][:40])

    def content(self) -> str:
        """Return the text of the answer."""
        return f"{self.name()}: {self.places.text}"

    def begin(self) -> None:
        self.places.taken += 1
        asyncio.get_running_loop().call_later(self.places.latency, self.answer)

    def answer(self) -> None:
        self.places.taken -= 1
        if self.places.waiting:
            self.places.waiting.popleft().begin()
        message = {"role": "assistant", "content": self.content()}
        usage = {"prompt_tokens": 500, "completion_tokens": 200}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.send(b"200 OK", {"model": self.body["model"], "choices": [choice], "usage": usage})

    def send(self, status: bytes, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        if not self.transport.is_closing():
            self.transport.write(head + body)


class SceneConnection(Connection):
    """Connection that plays and judges scenes by rules (pipelines/evaluate/scripted_scene.py)."""

    def name(self) -> str:
        """Return a hash of all that determines the answer."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:40]

    def content(self) -> str:
        """Return the scripted answer."""
        return scripted_answer([Message(role=each["role"], content=each["content"]) for each in self.body["messages"]])


@contextmanager
def endpoint(
    latency: float, room: int, *, refuse: bool = False, log: Path | None = None, text: str = TEXT, scenes: bool = False
) -> Iterator[str]:
    """Run the server in a separate process; yield its backend spec."""
    command = [sys.executable, "-m", "benchmarks.endpoint", "--latency", str(latency), "--room", str(room)]
    command += ["--text", text]
    command += ["--refuse"] if refuse else []
    command += ["--scenes"] if scenes else []
    command += ["--log", str(log)] if log is not None else []
    with served_by(command) as spec:
        yield spec


@contextmanager
def served_by(command: Sequence[str]) -> Iterator[str]:
    """Run a server in a separate process, which prints its port; yield its backend spec."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"openai:http://127.0.0.1:{int(server.stdout.readline())}/v1#{MODEL}"
        finally:
            server.terminate()


def received_calls(log: Path) -> Counter[str]:
    """Return how often each call was received, by the log of a server."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


async def serve(places: Places, port: int, connection: type[Connection] = Connection) -> None:
    """Listen on `port` (0: any free one), print the port, and serve until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: connection(places), "127.0.0.1", port, backlog=1024)
    os.write(1, f"{server.sockets[0].getsockname()[1]}\n".encode())
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Serve a model protocol with a fixed latency.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--room", type=int, default=64, help="calls at once")
    parser.add_argument("--refuse", action="store_true", help="answer 429 when all slots are taken")
    parser.add_argument("--log", type=Path, help="write each question to this file, a line a call")
    parser.add_argument("--text", default=TEXT, help="text of every answer, after the first words of the question")
    parser.add_argument("--scenes", action="store_true", help="play and judge scenes by rules instead of repeating the question")
    chosen = parser.parse_args()
    places = Places(chosen.latency, chosen.room, chosen.refuse, chosen.log, chosen.text)
    asyncio.run(serve(places, chosen.port, SceneConnection if chosen.scenes else Connection))


if __name__ == "__main__":
    main()
