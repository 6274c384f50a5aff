"""What every answer of the server carries, and what it answers: headers that keep foreign code and requests out, and
of Gradio's many doors only those the page knocks at, since some of them store whatever a stranger sends.

Pure ASGI, so that streams pass untouched. The policy allows inline and evaluated script because Gradio's own page needs
both; it allows nothing from, and nothing to, another host.
"""

from collections.abc import Sequence
from typing import Any

Scope = dict[str, Any]
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)
_POSTED = ("/component_server", "/queue/join", "/cancel", "/reset")
MAX_BODY = 8_000_000
"""Bytes of a request; the longest text that is looked at has a million characters."""
_ELSEWHERE = "This playground answers only to the address it was opened on; use http://127.0.0.1 and its port."
_NO_DOOR = "Nothing is taken here; the page sends what it has to say elsewhere."
_TOO_LONG = f"This request is longer than {MAX_BODY:,} bytes; send less."


class Guard:
    """Adds the security headers; on a loopback address it answers only requests that name one (no DNS rebinding).

    A request that sends something is passed on only at the doors of the page, and at most MAX_BODY bytes of it.

    Args:
        app: the ASGI application behind.
        hosts: host names answered, without port; empty answers all.
        ancestors: who may frame the page, as CSP sources.
    """

    def __init__(self, app: Any, hosts: Sequence[str] = (), ancestors: str = "'self'") -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        policy = _POLICY.format(ancestors=ancestors)
        self.headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
        ]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.hosts and _host(scope) not in self.hosts:
            await _refuse(send, 421, _ELSEWHERE)
            return
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not scope["path"].rstrip("/").endswith(_POSTED):
                await _refuse(send, 403, _NO_DOOR)
                return
            if _length(scope) > MAX_BODY:
                await _refuse(send, 413, _TOO_LONG)
                return
            receive = _measured(receive)

        async def guarded(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self.headers]
            await send(message)

        await self.app(scope, receive, guarded)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            host = str(value.decode("latin-1")).lower()
            return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return ""


def _length(scope: Scope) -> int:
    """Bytes of the body as the request says, 0 where it does not; a server reads no more than what was said."""
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() else 0


def _measured(receive: Any) -> Any:
    """The same door, which closes once a body that did not say its length is longer than MAX_BODY."""
    total = 0

    async def measured() -> Scope:
        nonlocal total
        message: Scope = await receive()
        total += len(message.get("body", b""))
        return message if total <= MAX_BODY else {"type": "http.disconnect"}

    return measured


async def _refuse(send: Any, status: int, sentence: str) -> None:
    text = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
