"""Measure what a hostile or broken server costs this process. Run: `python -m benchmarks.hostile_server`

Four servers, one after the other: one line of 400 MB, a list of models of 300 MB, a gzip bomb, a flood of empty chunks.
During each of them another visitor asks a good server again and again. Figures: growth of the process's peak memory, bytes
that the server could send (the kernel's buffers hold some of them), seconds from the limit to the closed connection, and the
95th percentile of the other visitor's first token. The servers run in a process of their own. Prints one JSON object.
"""

import asyncio
import gzip
import multiprocessing
import resource
import socket
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.report import report
from her.backends.openai_http import OpenAIBackend
from her.errors import BackendError
from her.types import Message, Sampling

BAR = {"memory_mb_at_most": 150, "close_s_at_most": 1.0, "past_limit_mb_at_most": 1.0, "first_token_p95_ms_at_most": 250}
HELLO = [Message(role="user", content="Hello.")]
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
BLOCK = b"a" * 65_536
LIMITS_MB = {"line": 3.4, "models": 4.0, "bomb": 3.4, "flood": 4.4}
"""Most MB that each server may send before it is disconnected, as docs/servers.md has the limits, rounded up."""


def _pieces(kind: str) -> Any:
    """Yield what a server sends after its head."""
    if kind == "line":
        yield b"data: "
        for _ in range(6_100):
            yield BLOCK
    elif kind == "models":
        yield b'{"data": ['
        for _ in range(4_600):
            yield (b'{"id": "model"},' * 4_096)[:65_536]
    elif kind == "bomb":
        yield gzip.compress(b"data: " + bytes(400_000_000), 9)
    else:
        for _ in range(20_000):
            yield b'data: {"choices": []}\n\n' * 200


def _serve(pipe: Connection) -> None:
    """Serve each kind on a port of its own; report port numbers, then for each connection what was sent and when it broke."""
    ports = {}
    for kind in ("good", *LIMITS_MB):
        listening = socket.create_server(("127.0.0.1", 0))
        ports[kind] = listening.getsockname()[1]
        threading.Thread(target=_accept, args=(listening, kind, pipe), daemon=True).start()
    pipe.send(ports)
    threading.Event().wait()


def _accept(listening: socket.socket, kind: str, pipe: Connection) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_answer, args=(connection, kind, pipe), daemon=True).start()


def _answer(connection: socket.socket, kind: str, pipe: Connection) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    connection.recv(65_536)
    encoding = "content-encoding: gzip\r\n" if kind == "bomb" else ""
    content = "application/json" if kind == "models" else "text/event-stream"
    connection.sendall(f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {content}\r\n{encoding}\r\n".encode())
    if kind == "good":
        connection.sendall(CHUNK)
        connection.close()
        return
    sent, past = 0, 0.0
    try:
        for piece in _pieces(kind):
            connection.sendall(piece)
            sent += len(piece)
            if sent > LIMITS_MB[kind] * 1e6 and not past:
                past = time.monotonic()
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    except OSError:
        pass
    pipe.send({"kind": kind, "sent_mb": sent / 1e6, "close_s": time.monotonic() - past if past else 0.0})
    connection.close()


async def _first_tokens(url: str, stop: asyncio.Event) -> list[float]:
    backend, waits = OpenAIBackend(url, "m"), []
    while not stop.is_set():
        began = time.monotonic()
        async for _ in backend.stream(HELLO, Sampling()):
            waits.append(1_000 * (time.monotonic() - began))
            break
        await asyncio.sleep(0.01)
    await backend.close()
    return waits


async def _attack(kind: str, ports: dict[str, int]) -> tuple[str, list[float]]:
    """Ask a hostile server once, while another visitor talks to a good one; return how it ended and the waits."""
    stop = asyncio.Event()
    other = asyncio.create_task(_first_tokens(f"http://127.0.0.1:{ports['good']}/v1", stop))
    await asyncio.sleep(0.5)
    backend = OpenAIBackend(f"http://127.0.0.1:{ports[kind]}/v1", "" if kind == "models" else "m")
    try:
        await backend.complete(HELLO, Sampling())
        ended = "an answer"
    except BackendError as error:
        ended = error.reason
    await backend.close()
    await asyncio.sleep(0.5)
    stop.set()
    return ended, await other


def main() -> None:
    """Measure and report."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    ports = here.recv()
    asyncio.run(_attack("line", ports))  # imports and caches are no cost of an attack
    here.recv()
    measured: dict[str, Any] = {}
    ok = True
    for kind in LIMITS_MB:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended, waits = asyncio.run(_attack(kind, ports))
        seen = here.recv() if here.poll(30) else {"sent_mb": 1e9, "close_s": 1e9}
        figures: dict[str, Any] = {
            "ended": ended,
            "memory_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1_000, 1),
            "sent_mb": round(seen["sent_mb"], 2),
            "past_limit_mb": round(max(0.0, seen["sent_mb"] - LIMITS_MB[kind]), 2),
            "close_s": round(seen["close_s"], 3),
            "first_token_p95_ms": round(sorted(waits)[int(0.95 * (len(waits) - 1))], 1),
        }
        measured[kind] = figures
        ok = ok and ended != "an answer" and all(figures[name.removesuffix("_at_most")] <= most for name, most in BAR.items())
    server.kill()
    report("hostile_server", BAR, measured, ok)


if __name__ == "__main__":
    main()
