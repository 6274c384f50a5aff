"""What every answer of the server carries, and whom it answers: headers that keep foreign code and requests out.

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


class Guard:
    """Adds the security headers; on a loopback address it answers only requests that name one (no DNS rebinding).

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
            await _refuse(send)
            return

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


async def _refuse(send: Any) -> None:
    text = b"This playground answers only to the address it was opened on; use http://127.0.0.1 and its port."
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": text})
