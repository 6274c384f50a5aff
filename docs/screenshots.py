"""Draw the pictures of the README from the running playground.

Run: `python -m docs.screenshots`   (needs Chromium and the extra `dev`; writes docs/*.png)
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import FLAGS, chromium_path
from tests.playground import Playground

HERE = Path(__file__).parent


def open_page(browser: Browser, url: str, **context: object) -> Page:
    """Open the first page as a new visitor."""
    page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(".card")
    return page


def talk(page: Page, persona: str, name: str, lines: list[str]) -> None:
    """Begin a chat with a persona, show the model reasoning, send the lines, like the last reply."""
    page.click(f'[data-persona="{persona}"]')
    page.fill(".her-dialog input[autocomplete=nickname]", name)
    page.click(".her-dialog .primary")
    page.wait_for_selector(".turn.persona")
    page.click('[data-act="toggle-system_thinking"]')
    for line in lines:
        page.fill(".her-composer textarea", line)
        page.press(".her-composer textarea", "Enter")
        page.wait_for_function("line => [...document.querySelectorAll('.turn.mine')].at(-1)?.innerText.includes(line)", arg=line)
        page.wait_for_function("!document.querySelector('.her.running') && !document.querySelector('.turn.sending')")
    page.locator(".turn.persona").last.locator('[data-act="like"]').click()
    page.wait_for_selector(".stamp.saved")
    page.evaluate("document.activeElement.blur()")


def main() -> None:
    """Write the three pictures."""
    with tempfile.TemporaryDirectory() as home, Playground(Path(home)) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        desk = open_page(browser, app.url, viewport={"width": 1180, "height": 900}, device_scale_factor=1.5)
        desk.screenshot(path=HERE / "personas.png")
        talk(desk, "sherlock-holmes", "Mara", ["Good evening, Mr. Holmes. What are you thinking?", "Do you love anyone?"])
        desk.screenshot(path=HERE / "conversation.png")
        phone = open_page(
            browser,
            app.url,
            viewport={"width": 390, "height": 844},
            device_scale_factor=2,
            locale="zh-CN",
            color_scheme="dark",
        )
        talk(phone, "lin-daiyu", "阿远", ["林姑娘，你在想什么？"])
        phone.screenshot(path=HERE / "phone.png")
        browser.close()


if __name__ == "__main__":
    main()
