"""Serve the browser modules and styles of `her/ui/static`.

The modules lie in a folder of `her-static` that is named by their version: a browser caches them without asking again,
and never mixes modules of two versions. The version is the start of a SHA-256 over their text.
"""

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
STYLES = (
    "theme.css",
    "shell.css",
    "base.css",
    "bar.css",
    "turns.css",
    "ballot.css",
    "rating.css",
    "composer.css",
    "scene.css",
    "first_page.css",
    "popups.css",
    "narrow.css",
    "print.css",
    "playtest.css",
    "author.css",
)
"""Style sheets in the order of the cascade."""
LATER = ("ballot.js", "organiser.js")
"""Modules that the page loads when it needs them, and that of the organiser's page."""
_IMMUTABLE = "public, max-age=31536000, immutable"
# Gradio runs this text as the body of a function with these names; it drops `type="module"` from a script in `head`.
# It also looks here for the name of the event, 'run'. An import in such a function has no address to be relative to.
_LOADER = """
import(new URL("./her-static/%s/main.js", document.baseURI).href)
  .then((main) => main.start(element, { server, watch, props, run: (request) => trigger('run', request) }, "%s"))
  .catch((error) => {
    console.error("her: the modules could not be loaded", error);
    element.querySelector(".her-home").textContent = "HER: the page could not be loaded; reload it.";
  });
"""


@cache
def version() -> str:
    """Return the version of the modules: 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in modules():
        digest.update(name.encode() + b"\0" + (STATIC / name).read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def modules() -> list[str]:
    """Return the file names of the modules, sorted."""
    return sorted(path.name for path in STATIC.glob("*.js"))


def loader(kind: str = "stage") -> str:
    """Return the script that Gradio runs when it has drawn stage.html (`js_on_load` of gr.HTML), for one kind of stage."""
    return _LOADER % (version(), kind)


def links() -> str:
    """Return the links to the modules of the first page as a value of the HTTP header `Link` (RFC 8288)."""
    first = (name for name in modules() if name not in LATER)
    return ", ".join(f"<./her-static/{version()}/{name}>; rel=modulepreload" for name in first)


def styles() -> list[Path]:
    """Return the style sheets."""
    return [STATIC / name for name in STYLES]


def routes() -> list[Mount]:
    """Return the routes of the modules and fonts."""
    return [
        Mount(f"/her-static/{version()}", _Versioned(directory=STATIC)),
        Mount("/her-static", StaticFiles(directory=STATIC)),
    ]


class _Versioned(StaticFiles):
    """Files whose address changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _IMMUTABLE
        return response


class Preload:
    """ASGI middleware that sends `links` with the page, so that the browser fetches the modules while Gradio starts.

    Measured from the drawn component to the ready page on a busy machine: 0.2 s; with links in the `head` of the component,
    which Gradio inserts when it draws it, 1.0 s; with one script there, 0.8 s.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add the header to the answer when it is the page."""
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) not in ("", "/"):
            await self.app(scope, receive, send)
            return

        async def linked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"link", links().encode())]
            await send(message)

        await self.app(scope, receive, linked)
