"""Measure how much a long transcript slows the writing of a reply. Run: `python -m benchmarks.long_chat`

In Chromium, a reply of 200 tokens at 20 ms each is written into a chat of 20 turns and into one of 5,000, in turn, RUNS times.
The time is from pressing Enter until the page shows the stored turn; the figure is the ratio of the medians. The page draws the
last turns of a chat, and earlier ones on request, so a third chat has all of its 1,000 turns on the page.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.report import report
from her.chat.service import ChatService
from her.store import Store
from her.types import Turn
from tests.conftest import FLAGS, chromium_path
from tests.playground import Playground
from tests.servers import ModelServer, Script

RUNS, SHORT, LONG, DRAWN, TOKENS = 5, 20, 5000, 1000, 200
BAR = {"ratio": 1.2, "ratio_all_drawn": 1.2}
WORD = "lamp "
"""One token of the test server: five characters."""


def fill(home: Path, token: str, turns: int) -> str:
    """Write a chat of `turns` turns through the store; return its id."""
    import asyncio

    from her.backends.open import open_backend
    from her.characters.personas import load_personas
    from her.format import parse, plain_turn
    from her.ui.requests import visitor_id

    store, personas = Store(f"sqlite:///{home / 'her.sqlite3'}"), load_personas()
    service = ChatService(store, open_backend("scripted:?rate=0", personas=personas), personas, {})
    visitor = visitor_id(token)
    view = asyncio.run(service.start(visitor, persona="scheherazade", name="Reader"))
    parent = view.turns[-1].turn.id
    for n in range(turns - len(view.turns)):
        mine = n % 2 == 0
        turn: Turn = (
            plain_turn("Reader", f"Turn {n}: and what came after that, when the lamps were out?")
            if mine
            else parse(
                "[He asks again.] (trims the wick) Patience. There was a door, and behind it another.",
                view.speaker,
                notation="coser",
            )
        )
        store.add_turn(visitor, view.id, parent, turn, "visitor" if mine else "model")
        parent = turn.id
    store.close()
    return view.id


def reply_seconds(page: Page) -> float:
    """Send a message; return the seconds from Enter until the stored reply is shown."""
    before = page.locator(".turn.persona:not(.live)").last.get_attribute("data-id")
    box = page.locator(".her-composer textarea")
    box.fill("Go on.")
    began = time.perf_counter()
    box.press("Enter")
    page.wait_for_function(
        "before => { const all = document.querySelectorAll('.turn.persona'); const last = all[all.length - 1];"
        " return !document.querySelector('.her.running') && last && last.dataset.id !== before; }",
        arg=before,
        timeout=120_000,
        polling="raf",
    )
    return time.perf_counter() - began


def draw_all(page: Page, turns: int) -> None:
    """Click for earlier turns until all are on the page."""
    while page.locator(".older").count():
        drawn = page.locator(".turn").count()
        page.locator(".older").click()
        page.wait_for_function("drawn => document.querySelectorAll('.turn').length > drawn", arg=drawn)
    if page.locator(".turn").count() < turns:
        raise RuntimeError(f"{page.locator('.turn').count()} turns are drawn; {turns} were expected")


def main() -> None:
    """Measure and report."""
    token = "ab" * 32
    script = Script(text=lambda body: WORD * TOKENS, rate=50)
    folder = tempfile.TemporaryDirectory()
    home = Path(folder.name)
    chats = {turns: fill(home, token, turns) for turns in (SHORT, LONG, DRAWN)}
    with folder, ModelServer(script) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        kinds = {"20": (SHORT, False), "5000": (LONG, False), "1000_all_drawn": (DRAWN, True)}
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        with Playground(home, backend=f"openai:{server.url}#{script.model}") as app:
            for _ in range(RUNS):
                for kind, (turns, whole) in kinds.items():
                    chat, page = chats[turns], browser.new_page()
                    page.add_init_script(
                        f"localStorage.setItem('her.visitor', '{token}'); localStorage.setItem('her.chat', '{chat}')"
                    )
                    page.goto(app.url)
                    page.wait_for_selector(".turn.persona")
                    if whole:
                        draw_all(page, turns)
                    seconds[kind].append(reply_seconds(page))
                    page.close()
        browser.close()
    short, long, drawn = (statistics.median(seconds[kind]) for kind in kinds)
    measured: dict[str, Any] = {
        "ratio": round(long / short, 3),
        "ratio_all_drawn": round(drawn / short, 3),
        "seconds": {kind: [round(each, 2) for each in times] for kind, times in seconds.items()},
    }
    ok = measured["ratio"] <= BAR["ratio"] and measured["ratio_all_drawn"] <= BAR["ratio_all_drawn"]
    report("long_chat", BAR, measured, ok)


if __name__ == "__main__":
    main()
