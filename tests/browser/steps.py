"""Steps that several browser tests take, as a person would."""

import re
import sqlite3

from playwright.sync_api import Page, expect

from tests.playground import Playground

KEY_TIMER = """() => {
  window.keyTimes = [];
  document.querySelector(".her-composer textarea").addEventListener("keydown", () => {
    const start = performance.now();
    requestAnimationFrame(() => {
      const painted = new MessageChannel();  // its message comes after the frame is painted
      painted.port1.onmessage = () => window.keyTimes.push(performance.now() - start);
      painted.port2.postMessage(0);
    });
  }, true);
}"""
"""Collect the milliseconds from each key in the composer to its painted frame, in `window.keyTimes`."""


def begin(page: Page, app: Playground, persona: str = "scheherazade", name: str = "Mara") -> None:
    """Open the page, choose a persona, give a name, begin."""
    page.goto(app.url)
    page.locator(f'[data-persona="{persona}"]').click()
    page.locator(".her-dialog input[autocomplete=nickname]").fill(name)
    page.locator(".her-dialog .primary").click()
    expect(page.locator(".turn.persona").last).to_be_visible()


def say(page: Page, text: str) -> None:
    """Send a message and wait for the stored reply."""
    replies = page.locator(".turn.persona:not(.live)").count()
    page.locator(".her-composer textarea").fill(text)
    page.locator(".her-composer textarea").press("Enter")
    expect(page.locator(".turn.persona:not(.live)")).to_have_count(replies + 1)
    expect(page.locator(".her")).not_to_have_class(re.compile("running"))


def database(app: Playground) -> sqlite3.Connection:
    """Open the store's file, read only."""
    return sqlite3.connect(f"file:{app.log.parent / 'her.sqlite3'}?mode=ro", uri=True)
