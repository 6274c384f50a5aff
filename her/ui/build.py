"""Build the playground and open it. Run: `python app.py`, or `her play`."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import http_server
from starlette.middleware import Middleware

from her import paths
from her.backends.open import open_backend
from her.characters.coser import load_book
from her.characters.persona_shelf import PersonaShelf
from her.characters.scenes import load_scenes
from her.chat.service import ChatService
from her.config import Settings
from her.deploy.stage_record import chosen_spec
from her.errors import InputError
from her.feedback.playtest import load_playtest
from her.runs.signals import sigterm_as_interrupt
from her.store import Store
from her.ui import assets
from her.ui.comparing import comparing
from her.ui.connect_tab import ConnectTab
from her.ui.guard import Guard
from her.ui.organiser import OrganiserDesk
from her.ui.organiser_door import OrganiserDoor
from her.ui.playtest_acts import check_missions
from her.ui.sharing import LOOPBACK, answered_hosts, invitation
from her.ui.stage import Stage

MOST_EVENTS = 1_000
"""Events of Gradio's queue that run at once; the ceilings of `her.chat.jobs.ChatLimits` are below it, so none waits."""
log = logging.getLogger(__name__)


def service(settings: Settings) -> ChatService:
    """Open store, backend, personas, scenes and books; HerError with one sentence when one of them is wrong."""
    personas = PersonaShelf()
    personas.writable = settings.author
    if settings.author and answered_hosts(settings) != LOOPBACK:
        raise InputError("--author lets the page write files, for this machine alone; leave --host and --share-with out")
    books = [load_book(Path(name)) for name in settings.scenes]
    for book in books:
        for reason in book.skipped:
            log.warning("%s: left out: %s", book.title, reason)
    playtest = load_playtest(Path(settings.playtest)) if settings.playtest else None
    backend = open_backend(chosen_spec(settings.backend), personas=personas)
    opened = ChatService(Store(), backend, personas, load_scenes(), books)
    opened.people.playtest = playtest
    check_missions(opened)
    opened.comparing = comparing(playtest, personas, lambda chat: opened.store.mission_of(chat.visitor_id, chat.id))
    return opened


def build(chats: ChatService, settings: Settings) -> gr.Blocks:
    """Build the page: the stage, the scenes of several characters, and the tab that connects a model."""
    with gr.Blocks(title="HER", analytics_enabled=False, fill_width=True) as page, gr.Tabs():
        with gr.Tab("Stage 舞台", id="stage-tab"):
            Stage(chats).build()
        with gr.Tab("Scene 场景", id="scene-tab"):
            Stage(chats, "scene").build()
        with gr.Tab("Connect 连接", id="connect-tab"):
            ConnectTab(chats, settings.allow_visitor_urls).build()
    page.queue(default_concurrency_limit=None)
    return page


def launch(settings: Settings) -> None:
    """Open the playground, log its address, and return when it is closed (control-C, SIGTERM).

    Raises:
        HerError: a file, spec, port or database is wrong, or the kept ratings cannot be read; nothing was opened.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("her").setLevel(logging.INFO)
    if paths.zero_gpu():
        claim_gpu()
    require_port(settings)
    http_server.LOCALHOST_NAME = LOOPBACK[0]  # Gradio takes GRADIO_SERVER_NAME for it, and tries a port as IPv4 on it
    chats = service(settings)
    with sigterm_as_interrupt(), _kept_durably(chats) if paths.durable() else nullcontext():
        # After a rebuild, whose chats may end in a message without a reply as well.
        if count := chats.store.show_unanswered():
            log.info("%d messages had no reply when the playground was closed; they are shown, and can be answered", count)
        page = build(chats, settings)
        desk = organiser_desk(chats) if settings.admin else None
        page.launch(**launch_arguments(settings, desk))
        log.info("HER is open on %s  (control-C closes it)", page.local_url.rstrip("/"))
        if invited := invitation(settings, page.server_port):
            log.info("%s", invited)
        if desk:
            log.info(
                "organiser's page, for one use within 15 minutes: %s  (her admin link makes another)",
                desk.door.link(page.local_url),
            )
        page.block_thread()


@contextmanager
def _kept_durably(chats: ChatService) -> Iterator[None]:
    from her.deploy.hub.durable import kept_durably  # 0.1 s to import, needed only here

    with kept_durably(chats.store, paths.durable()) as ratings:
        chats.safety = ratings.safety
        yield


def require_port(settings: Settings) -> None:
    """Refuse a port that is taken or an address of another machine, before anything is read or written."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise InputError(
            f"port {settings.port} of {settings.host} cannot be opened ({error.strerror or error}); close what uses it, "
            f"or choose another: her play --port {settings.port + 1}"
        ) from error


def claim_gpu() -> None:
    """Register a function that may use the GPU, because ZeroGPU stops a Space that registers none.

    The package `spaces` is installed on Spaces only; without it nothing is registered.
    """
    try:
        import spaces
    except ImportError as error:
        log.warning("SPACES_ZERO_GPU is set but the package 'spaces' is not installed (%s); no GPU is registered", error)
        return
    spaces.GPU(_warm)


def _warm() -> str:
    """Stand for work on the GPU; never called, because the models of a Space run on other servers."""
    return "warm"


def organiser_desk(chats: ChatService) -> OrganiserDesk:
    """Return the organiser's page over the same database."""
    names = {persona.id: persona.name for persona in chats.personas.values()}
    return OrganiserDesk(chats.store, names, OrganiserDoor(paths.home()), chats.people.playtest)


def launch_arguments(settings: Settings, desk: OrganiserDesk | None = None) -> dict[str, Any]:
    """Return the arguments for Gradio: local address by default, no share link, no monitoring, no remote fonts."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "PingFang SC", "Noto Sans CJK SC", "sans-serif"]
    ancestors = "'self' https://huggingface.co https://*.hf.space" if paths.space_id() else "'self'"
    guard: dict[str, Any] = {"hosts": answered_hosts(settings), "ancestors": ancestors, "proxies": paths.proxies()}
    guard["door"] = desk.door if desk else None
    return {
        "server_name": f"[{settings.host}]" if ":" in settings.host else settings.host,
        "server_port": settings.port or None,
        "share": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "max_threads": MOST_EVENTS,
        "show_error": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "mcp_server": False,
        "footer_links": [],
        "theme": gr.themes.Base(font=fonts, font_mono=["ui-monospace", "Consolas", "monospace"]),
        "css_paths": assets.styles(),
        "app_kwargs": {
            "middleware": [Middleware(Guard, **guard), Middleware(assets.Preload)],
            "routes": [*assets.routes(), *(desk.routes() if desk else [])],
        },
    }
