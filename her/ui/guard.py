"""Middleware that refuses foreign requests and adds security headers to every answer.

Of Gradio's addresses only those that the page uses are open, for reading as for sending: others store whatever a stranger sends,
write chats into files, or tell about the server. Bodies are JSON, sent by the page itself: a foreign page can make a browser post
a form or plain text without asking, but neither JSON nor a request that the browser calls its own. Plain ASGI, so that streams
pass unchanged. The content security policy allows inline and evaluated script, because Gradio's page needs both; it allows no
other host.
"""

import asyncio
import logging
import traceback
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from her.chat.ceilings import ADDRESS
from her.ui.organiser_door import OrganiserDoor
from her.ui.readers import READERS

Scope = dict[str, Any]
log = logging.getLogger(__name__)
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)
API = "/gradio_api"
STREAM = f"{API}/queue/data"
_READ = ("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json", STREAM, f"{API}/startup-events")
_READ_BELOW = ("/assets/", "/static/", "/svelte/", "/her-static/", f"{API}/heartbeat/")
ORGANISER = "/organiser"
COOKIE = "her_organiser"
_ORGANISER_POSTED = (f"{ORGANISER}/leave", f"{ORGANISER}/revoke")
_POSTED = tuple(f"{API}/{name}" for name in ("component_server", "queue/join", "cancel", "reset"))
MAX_BODY = 8_000_000
"""Largest body of a request in bytes; the longest text that is read has a million characters, up to 6 bytes each in JSON."""
UNREAD_SECONDS = 30
"""Seconds that a client may leave a piece of a stream unread before its stream is ended."""
_OTHER_HOST = "This playground answers only at the address it was opened on; use http://127.0.0.1 and its port."
NOTHING_HERE = "There is nothing at this address; open the playground at /."
_CLOSED = "This address takes no data; the page of the playground uses others."
_NOT_JSON = "This address takes JSON; send it with the content type application/json."
_FOREIGN = "This request comes from another site; use the page of the playground itself."
_TOO_LONG = f"This request is longer than {MAX_BODY:,} bytes; send less."
_UNREADABLE = "This request cannot be read; send what the page of the playground sends."


class Guard:
    """ASGI middleware that checks host, method, path, origin, type and size of a request, and adds the security headers.

    On a loopback address it answers only requests whose Host is a loopback name. Without this check a foreign page could
    reach the playground by DNS rebinding: a name of its own that resolves to 127.0.0.1.

    Args:
        app: the ASGI application behind it.
        hosts: host names that are answered, without port; empty answers all.
        ancestors: pages that may frame the playground, as CSP sources.
        proxies: addresses of proxies whose X-Forwarded-For and X-Forwarded-Host are believed; `*` for any, as on a Space.
        door: who may open the organiser's page; None where there is none. For everybody else it is an absent page.
    """

    def __init__(
        self,
        app: Any,
        hosts: Sequence[str] = (),
        ancestors: str = "'self'",
        proxies: Sequence[str] = (),
        door: OrganiserDoor | None = None,
    ) -> None:
        self.app = app
        self.door = door
        self.hosts = frozenset(hosts)
        self.proxies = frozenset(proxies)
        policy = _POLICY.format(ancestors=ancestors)
        self.headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
        ]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection by the rules of this class."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the page opens none
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}  # the first of two counts
        proxied = self._proxied(scope)
        scope = _seen_from_outside(scope, headers, proxied)
        if refusal := self._refusal(scope, headers, proxied):
            await _refuse(send, *refusal, self.headers)
            return
        await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on; what fails inside is one sentence for the client and a short trace in the log."""
        began = False

        async def guarded(message: Scope) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message.get("headers", []), *self.headers]
            await send(message)

        ADDRESS.set(_address(scope))
        if scope["method"] == "POST":
            receive = _limited(receive)
        try:
            if scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/") == STREAM:
                await self._stream(scope, receive, guarded)
            else:
                await self.app(scope, receive, guarded)
        except Exception as error:
            if began:
                raise
            # The end of the trace alone: a deeply nested request would fill the log.
            log.error("a request for %s failed: %s", scope["path"][:200], "".join(traceback.format_exception(error, limit=-4)))
            await _refuse(guarded, 400 if scope["method"] == "POST" else 500, _UNREADABLE)

    async def _stream(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve a stream of events; one that is not read ends, so that its place can be taken by somebody who reads."""

        async def timed(message: Scope) -> None:
            async with asyncio.timeout(UNREAD_SECONDS):
                await send(message)

        with READERS.reading(_session(scope)):
            try:
                await self.app(scope, receive, timed)
            except TimeoutError:
                log.info("a stream that was not read for %d s was ended", UNREAD_SECONDS)

    def _refusal(self, scope: Scope, headers: dict[bytes, str], proxied: bool) -> tuple[int, str] | None:
        """Return status and sentence for a request that is refused; None for one that is passed on."""
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        if self.hosts and _host_name(headers.get(b"host", "")) not in self.hosts:
            return 421, _OTHER_HOST
        organiser = self.door is not None and _below(path) and self._admits(scope, headers)
        if method in ("GET", "HEAD"):
            known = (path.rstrip("/") or "/") in _READ or path.startswith(_READ_BELOW) or organiser
            return None if known else (404, NOTHING_HERE)
        if method != "POST" or path.rstrip("/") not in (*_POSTED, *(_ORGANISER_POSTED if organiser else ())):
            return 403, _CLOSED
        if headers.get(b"content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, _NOT_JSON
        if not _is_own(headers, proxied):
            return 403, _FOREIGN
        length = headers.get(b"content-length", "")
        return (413, _TOO_LONG) if length.isdigit() and int(length) > MAX_BODY else None

    def _admits(self, scope: Scope, headers: dict[bytes, str]) -> bool:
        """Tell whether a request is the organiser's; the page's own functions ask again."""
        query: bytes = scope.get("query_string", b"")
        key = parse_qs(query.decode("latin-1")).get("key", [""])[0]
        return self.door is not None and self.door.admits(key=key, session=session_cookie(headers.get(b"cookie", "")))

    def _proxied(self, scope: Scope) -> bool:
        client = scope.get("client") or ("", 0)
        return "*" in self.proxies or client[0] in self.proxies


def session_cookie(cookies: str) -> str:
    """Return the organiser's session from a Cookie header; empty for none."""
    for pair in cookies.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value[:100]
    return ""


def _below(path: str) -> bool:
    return path == ORGANISER or path.startswith(f"{ORGANISER}/")


def _is_own(headers: dict[bytes, str], proxied: bool) -> bool:
    """Tell whether a request was sent by the page itself, or by a program that is no browser.

    Browsers say where a request comes from in Sec-Fetch-Site, which no page can set; over plain http to another machine they
    leave it out, and Origin is compared with Host.
    """
    if site := headers.get(b"sec-fetch-site"):
        return site in ("same-origin", "none")
    if (origin := headers.get(b"origin")) is None:
        return True
    names = {headers.get(b"host", "").lower()}
    if proxied and (forwarded := headers.get(b"x-forwarded-host")):
        names.add(forwarded.split(",")[0].strip().lower())
    return origin.lower().partition("://")[2] in names - {""}


def _seen_from_outside(scope: Scope, headers: dict[bytes, str], proxied: bool) -> Scope:
    """Return the scope with the visitor's own address behind a proxy; without a proxy, claims about hosts are dropped.

    Proxies append the address that they see, so the last entry is the one that the named proxy vouches for.
    """
    if not proxied:
        kept = [(name, value) for name, value in scope["headers"] if not name.startswith(b"x-forwarded-")]
        return {**scope, "headers": kept}
    forwarded = headers.get(b"x-forwarded-for", "").split(",")[-1].strip()
    return {**scope, "client": (forwarded, 0)} if forwarded else scope


def _address(scope: Scope) -> str:
    client = scope.get("client") or ("", 0)
    return str(client[0])


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port."""
    host = host.lower()
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host


def _session(scope: Scope) -> str:
    """Return the session of a stream's address."""
    query: bytes = scope.get("query_string", b"")
    for field in query.decode("latin-1").split("&"):
        name, _, value = field.partition("=")
        if name == "session_hash":
            return value[:100]
    return ""


def _limited(receive: Any) -> Any:
    """Wrap `receive` so that a body without a Content-Length is cut off after MAX_BODY bytes."""
    total = 0

    async def limited() -> Scope:
        nonlocal total
        message: Scope = await receive()
        total += len(message.get("body", b""))
        return message if total <= MAX_BODY else {"type": "http.disconnect"}

    return limited


async def _refuse(send: Any, status: int, sentence: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    text = sentence.encode()
    # In the order of Starlette, so that an answer of a page is not told from one of the guard.
    headers = [(b"content-length", str(len(text)).encode()), (b"content-type", b"text/plain; charset=utf-8"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
