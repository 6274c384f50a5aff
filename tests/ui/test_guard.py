"""her/ui/guard.py: hosts, methods, paths and sizes of requests that are passed on."""

from typing import Any

import pytest

from her.ui.guard import Guard


async def test_the_guard_reads_hosts_with_and_without_a_port() -> None:
    answered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    guard = Guard(app, hosts=("127.0.0.1", "localhost", "[::1]"))
    for host in (b"127.0.0.1:7860", b"LOCALHOST", b"[::1]:7860", b"[::1]", b"127.0.0.1.evil.org", b""):
        await guard({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host)]}, None, send)
    assert answered == [200, 200, 200, 200, 421, 421]


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("GET", "/gradio_api/upload", b"", 200),
        ("POST", "/gradio_api/queue/join", b"8000000", 200),
        ("POST", "/gradio_api/component_server/", b"2", 200),
        ("POST", "/gradio_api/queue/join", b"8000001", 413),
        ("POST", "/gradio_api/queue/join", b"", 200),
        ("POST", "/gradio_api/upload", b"2", 403),
        ("POST", "/gradio_api/process_recording", b"2", 403),
        ("PUT", "/", b"2", 403),
    ],
)
async def test_only_the_endpoints_of_the_page_take_data(method: str, path: str, length: bytes, status: int) -> None:
    answered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    headers = [(b"content-length", length)] if length else []
    await Guard(app)({"type": "http", "method": method, "path": path, "headers": headers}, None, send)
    assert answered == [status]


async def test_a_body_of_unsaid_length_is_not_read_to_its_end() -> None:
    read: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            read.append(message["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 3_000_000, "more_body": True}

    await Guard(app)({"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}, receive, None)
    assert len(read) == 2
