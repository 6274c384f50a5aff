"""Serve the organiser's page: figures, comments, replays and exports, for who came by a link of `her play --admin`.

Every function asks the door itself, beside the guard in front of it; for everybody else each address is an absent page. Chats and
ratings are only read; nothing changes but sessions.
"""

import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import NamedTuple, get_args

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from her.errors import HerError, NotFound
from her.feedback.export import ExportFormat
from her.feedback.export_files import write_file
from her.feedback.export_filter import read_filter
from her.feedback.playtest import Playtest
from her.judging.people_board import LEAST_GAMES
from her.store import Store
from her.store.overview import judged_chat, mark, moments
from her.types import Language
from her.ui import assets
from her.ui.guard import COOKIE, NOTHING_HERE, ORGANISER, session_cookie
from her.ui.organiser_door import SESSION_SECONDS, OrganiserDoor
from her.ui.organiser_view import OrganiserFigures, comments_of, gather, render, replay, tiles
from her.ui.organiser_words import organiser_words

_HEADERS = {
    "cache-control": "no-store",
    # In addition to that of the guard, which has to allow what Gradio needs; a browser obeys both.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}
Handler = Callable[[Request], Response]


FRESH_SECONDS, LIVE_SECONDS = 2.0, 30.0
"""Age of figures that a page takes as they are; of those at the top of a page that is open."""


class KeptFigures(NamedTuple):
    """Figures with what they were computed from, and when, by a clock that nobody sets."""

    mark: tuple[int, ...]
    at: float
    figures: OrganiserFigures


class OrganiserDesk:
    """The pages and what they are made from.

    Args:
        store: chats, ratings and votes.
        personas: names by id.
        door: who may come in.
        playtest: whose missions are shown; None for none.
    """

    def __init__(self, store: Store, personas: Mapping[str, str], door: OrganiserDoor, playtest: Playtest | None = None) -> None:
        self.store = store
        self.personas = personas
        self.door = door
        self.playtest = playtest
        self._lock = Lock()
        self._figures: KeptFigures | None = None

    def routes(self) -> list[Route]:
        """Return the addresses of the page; all others below it are absent."""
        pages: dict[str, Handler] = {
            "": self.overview,
            "/live": self.live,
            "/chats/{chat}": self.chat,
            "/export": self.export,
        }
        posts: dict[str, Handler] = {"/leave": self.leave, "/revoke": self.revoke}
        found = [Route(f"{ORGANISER}{path}", self._guarded(page), methods=["GET"]) for path, page in pages.items()]
        found += [Route(f"{ORGANISER}{path}", self._guarded(act), methods=["POST"]) for path, act in posts.items()]
        return [*found, Route(f"{ORGANISER}/{{rest:path}}", lambda request: _absent())]

    def _guarded(self, page: Handler) -> Handler:
        """Return a handler that answers only the organiser. It runs in a thread, since it reads the database."""

        def answer(request: Request) -> Response:
            key, session = request.query_params.get("key", ""), self._session(request)
            opened = self.door.enter(key) if key and page == self.overview else None
            if opened is None and not self.door.admits(session=session):
                return _absent()
            try:
                response = page(request)
            except NotFound:
                response = _absent()
            except HerError as error:
                response = PlainTextResponse(str(error), 400)
            response.headers.update(_HEADERS)
            if opened is not None:
                _set_cookie(response, request, opened)
            return response

        return answer

    def overview(self, request: Request) -> Response:
        """Return the page with all figures."""
        figures = self.figures()
        sections = (
            "comments",
            *(["missions"] if self.playtest else []),
            "people",
            "ratings",
            "votes",
            "board",
            "chats",
            "exports",
        )
        return self._page(
            "organiser.html.jinja",
            request,
            figures=figures,
            sections=sections,
            least_games=LEAST_GAMES,
            formats=get_args(ExportFormat),
            has_parquet=find_spec("pyarrow") is not None,
            **self._live(request, figures),
        )

    def live(self, request: Request) -> Response:
        """Return the tiles and comments alone."""
        return self._page("organiser_live.html.jinja", request, **self._live(request, self.figures(LIVE_SECONDS)))

    def chat(self, request: Request) -> Response:
        """Return a chat as it stood at one of its moments, the last one where none is named."""
        chat = judged_chat(self.store, request.path_params["chat"])
        found = moments(self.store, chat.id)
        named = request.query_params.get("moment")
        moment = next((each for each in found if each.id == named), None)
        if named and moment is None:
            raise NotFound("there is no such moment in this chat")
        moment = moment or (found[-1] if found else None)
        turns, pair = replay(self.store, chat, moment, organiser_words(_language(request)))
        return self._page("organiser_chat.html.jinja", request, chat=chat, moments=found, moment=moment, turns=turns, pair=pair)

    def export(self, request: Request) -> Response:
        """Return an export as a file; it is written to a temporary file first, which goes when it was sent."""
        asked = request.query_params
        named: ExportFormat | None = next((name for name in get_args(ExportFormat) if name == asked.get("format")), None)
        format: ExportFormat = named or "jsonl"
        ending = "parquet" if asked.get("file") == "parquet" else "jsonl"
        only = read_filter(
            since=asked.get("since", ""),
            until=asked.get("until", ""),
            personas=[name for name in asked.getlist("persona") if name],
            raters=[name for name in asked.getlist("rater") if name],
            missions=[name for name in asked.getlist("mission") if name],
            dimension=asked.get("dimension", ""),
        )
        path = Path(tempfile.gettempdir()) / f"her-export-{secrets.token_hex(8)}.{ending}"
        write_file(self.store, format, path, only)
        path.chmod(0o600)
        name = f"her-{format}-{datetime.now(UTC):%Y%m%d-%H%M}.{ending}"
        return FileResponse(path, filename=name, background=BackgroundTask(path.unlink, missing_ok=True))

    def leave(self, request: Request) -> Response:
        """End this session."""
        self.door.leave(self._session(request))
        return _without_cookie(request)

    def revoke(self, request: Request) -> Response:
        """End every session and link."""
        self.door.revoke()
        return _without_cookie(request)

    def figures(self, age: float = FRESH_SECONDS) -> OrganiserFigures:
        """Return the figures, computed again when something has changed and they are older than `age`; one at a time.

        They take a second of a processor, which the chats of the same process need as well.
        """
        with self._lock:
            kept = self._figures
            if kept is None or (time.monotonic() - kept.at >= age and mark(self.store) != kept.mark):
                now = mark(self.store)
                kept = self._figures = KeptFigures(now, time.monotonic(), gather(self.store, self.playtest))
            return kept.figures

    def _live(self, request: Request, figures: OrganiserFigures) -> dict[str, object]:
        texts = organiser_words(_language(request))
        personas = sorted(self.personas.items(), key=lambda item: item[1])
        return {"tiles": tiles(figures, texts), "comments": comments_of(self.store), "personas_shown": personas}

    def _page(self, template: str, request: Request, **variables: object) -> Response:
        lang = _language(request)
        root = str(request.scope.get("root_path", ""))
        other = {name: value for name, value in request.query_params.items() if name == "moment"}
        query = "&".join([*(f"{name}={value}" for name, value in other.items()), f"lang={'en' if lang == 'zh' else 'zh'}"])
        text = render(
            template,
            lang,
            self.personas,
            root=root,
            other_query=query,
            theme=_theme(root),
            version=assets.version(),
            now=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            **variables,
        )
        return HTMLResponse(text)

    def _session(self, request: Request) -> str:
        return session_cookie(request.headers.get("cookie", ""))


def _language(request: Request) -> Language:
    """Return the language that the address names, else the first one of the browser."""
    named = request.query_params.get("lang") or request.headers.get("accept-language", "")
    return "zh" if named.lower().startswith("zh") else "en"


def _absent() -> Response:
    return PlainTextResponse(NOTHING_HERE, 404)


def _set_cookie(response: Response, request: Request, session: str) -> None:
    path = str(request.scope.get("root_path", "")) or ORGANISER
    response.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_SECONDS,
        path=path,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _without_cookie(request: Request) -> Response:
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")
    return response


def _path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}{ORGANISER}"


@cache
def _theme(root: str) -> str:
    return (assets.STATIC / "theme.css").read_text("utf-8").replace("./her-static", f"{root}/her-static")
