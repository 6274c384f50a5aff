"""Middleware that refuses foreign requests and adds security headers to every answer.

Of Gradio's endpoints that take data, only those that the page uses are open: some of the others store whatever a stranger
sends. Plain ASGI, so that streams pass unchanged. The content security policy allows inline and evaluated script, because
Gradio's page needs both; it allows no other host.
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
"""Largest body of a request in bytes; the longest text that is read has a million characters, up to 6 bytes each in JSON."""
_OTHER_HOST = "This playground answers only at the address it was opened on; use http://127.0.0.1 and its port."
_CLOSED = "This address takes no data; the page of the playground uses others."
_TOO_LONG = f"This request is longer than {MAX_BODY:,} bytes; send less."


class Guard:
    """ASGI middleware that checks host, method, path and size of a request, and adds the security headers.

    On a loopback address it answers only requests whose Host is a loopback name. Without this check a foreign page could
    reach the playground by DNS rebinding: a name of its own that resolves to 127.0.0.1.

    Args:
        app: the ASGI application behind it.
        hosts: host names that are answered, without port; empty answers all.
        ancestors: pages that may frame the playground, as CSP sources.
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
        """Serve one connection by the rules of this class."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.hosts and _host(scope) not in self.hosts:
            await _refuse(send, 421, _OTHER_HOST)
            return
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            if not scope["path"].rstrip("/").endswith(_POSTED):
                await _refuse(send, 403, _CLOSED)
                return
            if _length(scope) > MAX_BODY:
                await _refuse(send, 413, _TOO_LONG)
                return
            receive = _limited(receive)

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
    """Return the Content-Length of the request, 0 without one. The server reads no more than that."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _limited(receive: Any) -> Any:
    """Wrap `receive` so that a body without a Content-Length is cut off after MAX_BODY bytes."""
    total = 0

    async def limited() -> Scope:
        nonlocal total
        message: Scope = await receive()
        total += len(message.get("body", b""))
        return message if total <= MAX_BODY else {"type": "http.disconnect"}

    return limited


async def _refuse(send: Any, status: int, sentence: str) -> None:
    text = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
