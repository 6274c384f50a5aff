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
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
STYLES = (
    "theme.css",
    "shell.css",
    "base.css",
    "bar.css",
    "turns.css",
    "rating.css",
    "composer.css",
    "first_page.css",
    "popups.css",
)
"""Style sheets in the order of the cascade."""
_IMMUTABLE = "public, max-age=31536000, immutable"
# Gradio runs this text as the body of a function with these names; it drops `type="module"` from a script in `head`.
# It also looks here for the name of the event, 'run'. An import in such a function has no address to be relative to.
_LOADER = """
import(new URL("./her-static/%s/main.js", document.baseURI).href)
  .then((main) => main.start(element, { server, watch, props, run: (request) => trigger('run', request) }))
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


def loader() -> str:
    """Return the script that Gradio runs when it has drawn stage.html (`js_on_load` of gr.HTML)."""
    return _LOADER % version()


def head() -> str:
    """Return links that fetch all modules at once: without them each level of imports costs a round trip."""
    return "".join(f'<link rel="modulepreload" href="./her-static/{version()}/{name}">' for name in modules())


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
