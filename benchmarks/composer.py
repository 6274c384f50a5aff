"""Measure the time of a key in the composer with a long text. Run: `python -m benchmarks.composer`

In Chromium, with LETTERS letters in the field: without a space, in Chinese, and in words. A key's time runs from its event
until the frame with the letter is painted. The text is put in by the page's own API, as a draft is, and KEYS keys follow.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.report import report
from tests.browser.steps import KEY_TIMER, begin
from tests.conftest import FLAGS, chromium_path
from tests.playground import Playground

LETTERS, KEYS = 30_000, 20
BAR = {"milliseconds_a_key": 50.0}
TEXTS = {"letters": "x" * LETTERS, "chinese": "雨" * LETTERS, "words": "a word " * (LETTERS // 7)}
FILL = """text => {
  const box = document.querySelector(".her-composer textarea");
  box.focus();
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.setSelectionRange(text.length, text.length);
  box.getBoundingClientRect();
}"""


def key_milliseconds(page: Page, text: str) -> list[float]:
    """Return the time of each of KEYS keys at the end of a text."""
    page.evaluate(FILL, text)
    page.evaluate("window.keyTimes = []")
    for count in range(1, KEYS + 1):
        page.keyboard.press("y")
        page.wait_for_function("count => window.keyTimes.length === count", arg=count, timeout=120_000)
    times: list[float] = page.evaluate("window.keyTimes")
    return times


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as home, Playground(Path(home)) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        page = browser.new_page()
        begin(page, app)
        page.evaluate(KEY_TIMER)
        times = {name: key_milliseconds(page, text) for name, text in TEXTS.items()}
        browser.close()
    measured = {
        "milliseconds_a_key": round(max(statistics.median(each) for each in times.values()), 1),
        "median": {name: round(statistics.median(each), 1) for name, each in times.items()},
        "longest": {name: round(max(each), 1) for name, each in times.items()},
    }
    report("composer", BAR, measured, measured["milliseconds_a_key"] <= BAR["milliseconds_a_key"])


if __name__ == "__main__":
    main()
