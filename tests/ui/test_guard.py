"""her/ui/guard.py: hosts, methods, paths and sizes of requests that are passed on."""

import asyncio
from typing import Any

import pytest

from her.chat.ceilings import ADDRESS
from her.ui.guard import Guard
from her.ui.readers import READERS


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


JSON = {"content-type": "application/json"}
OWN = {**JSON, "host": "her.example", "origin": "https://her.example"}


async def status_of(method: str, path: str, headers: dict[str, str], **guard: Any) -> int:
    """Return the status of an answer; 200 when the request is passed on."""
    answered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": ("1.1.1.1", 5), "query_string": b""}
    await Guard(app, **guard)(scope, None, send)
    (status,) = answered
    return status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((path, 200) for path in ("/", "/config", "/config/", "/theme.css", "/favicon.ico", "/assets/index-1.js")),
        *((path, 200) for path in ("/static/img/logo.svg", "/her-static/0a1b/main.js", "/gradio_api/heartbeat/0a1b")),
        *((path, 200) for path in ("/gradio_api/queue/data", "/gradio_api/startup-events")),
        *((f"/gradio_api/{door}", 404) for door in ("deep_link", "call/run/0a1b", "dev/reload", "openapi.json", "queue/status")),
        *((f"/gradio_api/{door}", 404) for door in ("info", "file=/etc/passwd", "proxy=http://a", "upload_progress", "app_id")),
        *((path, 404) for path in ("/file=/etc/passwd", "/docs", "/openapi.json", "/runs", "/monitoring", "/config/x", "/token")),
    ],
)
async def test_only_the_addresses_of_the_page_are_read(path: str, status: int) -> None:
    assert await status_of("GET", path, {}) == status
    assert await status_of("HEAD", path, {}) == status


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("POST", "/gradio_api/queue/join", "8000000", 200),
        ("POST", "/gradio_api/component_server/", "2", 200),
        ("POST", "/gradio_api/queue/join", "8000001", 413),
        ("POST", "/gradio_api/queue/join", "", 200),
        ("POST", "/gradio_api/upload", "2", 403),
        ("POST", "/gradio_api/process_recording", "2", 403),
        ("POST", "/gradio_api/call/run", "2", 403),
        ("POST", "/gradio_api/run/queue/join", "2", 403),
        ("PUT", "/", "2", 403),
        ("OPTIONS", "/gradio_api/queue/join", "", 403),
        ("DELETE", "/gradio_api/queue/join", "", 403),
    ],
)
async def test_only_the_endpoints_of_the_page_take_data(method: str, path: str, length: str, status: int) -> None:
    assert await status_of(method, path, {**JSON, **({"content-length": length} if length else {})}) == status


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(kind: str) -> None:
    assert await status_of("POST", "/gradio_api/component_server", {"content-type": kind} if kind else {}) == 415
    assert await status_of("POST", "/gradio_api/component_server", {"content-type": "Application/JSON; charset=utf-8"}) == 200


@pytest.mark.parametrize(
    ("headers", "proxies", "status"),
    [
        (OWN, (), 200),
        ({**OWN, "origin": "https://evil.example"}, (), 403),
        ({**OWN, "origin": "null"}, (), 403),
        ({**OWN, "origin": "https://her.example.evil.example"}, (), 403),
        ({**OWN, "origin": "https://evil.example", "sec-fetch-site": "cross-site"}, (), 403),
        ({**OWN, "origin": "https://api.her.example", "sec-fetch-site": "same-site"}, (), 403),
        ({**OWN, "sec-fetch-site": "cross-site"}, (), 403),
        ({**OWN, "origin": "https://public.example", "sec-fetch-site": "same-origin"}, (), 200),
        ({**OWN, "origin": "https://public.example", "x-forwarded-host": "public.example"}, (), 403),
        ({**OWN, "origin": "https://public.example", "x-forwarded-host": "public.example"}, ("9.9.9.9",), 403),
        ({**OWN, "origin": "https://public.example", "x-forwarded-host": "public.example"}, ("1.1.1.1",), 200),
        ({**OWN, "origin": "https://public.example", "x-forwarded-host": "public.example"}, ("*",), 200),
        ({**JSON, "origin": "https://evil.example"}, (), 403),
    ],
)
async def test_a_request_of_another_site_is_refused(headers: dict[str, str], proxies: tuple[str, ...], status: int) -> None:
    assert await status_of("POST", "/gradio_api/queue/join", headers, proxies=proxies) == status


@pytest.mark.parametrize(
    ("proxies", "address", "left"),
    [((), "1.1.1.1", False), (("1.1.1.1",), "7.7.7.7", True), (("2.2.2.2",), "1.1.1.1", False)],
)
async def test_a_named_proxy_alone_says_who_the_visitor_is(proxies: tuple[str, ...], address: str, left: bool) -> None:
    """Gradio reads X-Forwarded-Host as well, so what nobody vouches for does not reach it."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((ADDRESS.get(), scope["client"][0], b"x-forwarded-host" in dict(scope["headers"])))

    headers = [(b"x-forwarded-for", b"6.6.6.6, 7.7.7.7"), (b"x-forwarded-host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("1.1.1.1", 5)}
    await Guard(app, proxies=proxies)(scope, None, None)
    assert seen == [(address, address, left)]


async def test_what_fails_inside_is_a_sentence_and_a_short_trace(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        def deep(level: int) -> None:
            if level:
                deep(level - 1)
            raise KeyError(9999)

        deep(500)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/component_server", "headers": headers}
    await Guard(app)(scope, None, send)
    assert sent[0]["status"] == 400 and b"cannot be read" in sent[1]["body"]
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]
    assert "KeyError: 9999" in caplog.text and len(caplog.text.splitlines()) < 20


async def test_a_stream_that_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her.ui.guard.UNREAD_SECONDS", 0.01)
    reading: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reading.append(READERS.reads("0a1b"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"data: {}", "more_body": True})

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/gradio_api/queue/data",
        "headers": [],
        "query_string": b"session_hash=0a1b",
    }
    await asyncio.wait_for(Guard(app)(scope, None, stuck), 60)
    assert reading == [True] and not READERS.reads("0a1b")


async def test_no_websocket_is_opened() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Guard(None)({"type": "websocket", "path": "/"}, None, send)
    assert sent == ["websocket.close"]


async def test_a_body_of_unsaid_length_is_not_read_to_its_end() -> None:
    read: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            read.append(message["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 3_000_000, "more_body": True}

    headers = [(b"content-type", b"application/json")]
    await Guard(app)({"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": headers}, receive, None)
    assert len(read) == 2
