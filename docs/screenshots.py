"""Draw the pictures of the README from the running playground.

Run: `python -m docs.screenshots`   (needs Chromium and the extra `dev`; writes docs/*.png)
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from docs.organiser_sample import fill
from her.ui.organiser_door import OrganiserDoor
from tests.conftest import FLAGS, chromium_path
from tests.playground import Playground

HERE = Path(__file__).parent
PLAYTEST = """
name: Which is better
comparisons:
  every: 1
  catch: 0
  arms:
    - {name: one, sampling: {seed: 0}}
    - {name: two, sampling: {seed: 1}}
"""


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


def meet(page: Page, personas: list[str], name: str, line: str) -> None:
    """Set a scene with personas, say a line, let two of them answer, switch the director's view on."""
    page.click('[role="tab"][data-tab-id="scene-tab"]')
    form = page.locator("#scene form.setup").first
    for persona in personas:
        form.locator(f'input[value="{persona}"]').check()
    form.locator("input[autocomplete=nickname]").fill(name)
    form.locator(".primary").click()
    stage = page.locator("#scene .her")
    stage.locator(".steps .mode").select_option("round_robin")
    stage.locator(".her-composer textarea").fill(line)
    stage.locator(".her-composer textarea").press("Enter")
    for count in (2, 3):
        page.wait_for_function(
            "count => document.querySelectorAll('#scene .turn:not(.live, .sending)').length === count "
            "&& !document.querySelector('#scene .her.running')",
            arg=count,
        )
        if count == 2:
            stage.locator('[data-act="next-turn"]').click()
    stage.locator('[data-act="director"]').click()
    stage.locator('[data-act="toggle-system_thinking"]').click()
    stage.locator(".her-scroll").evaluate("node => { node.scrollTop = 0; }")
    page.evaluate("document.activeElement.blur()")


def vote(browser: Browser, home: Path) -> None:
    """Draw two replies side by side in a playtest, with one of them chosen."""
    file = home / "playtest.yaml"
    file.write_text(PLAYTEST, "utf-8")
    with Playground(home, arguments=["--playtest", str(file)]) as app:
        page = open_page(browser, app.url, viewport={"width": 1180, "height": 960}, device_scale_factor=1.5)
        page.click('[data-persona="sherlock-holmes"]')
        page.fill(".her-dialog input[autocomplete=nickname]", "Mara")
        page.click(".her-dialog .primary")
        page.wait_for_selector(".turn.persona")
        page.fill(".her-composer textarea", "Good evening, Mr. Holmes. What are you thinking?")
        page.press(".her-composer textarea", "Enter")
        page.wait_for_selector('.her-ballot[data-state="vote"]')
        page.click('.her-ballot [data-winner="second"]')
        page.locator(".her-ballot .dimensions .tag").nth(1).click()
        page.evaluate("document.activeElement.blur()")
        page.locator(".her-ballot").evaluate("node => node.scrollIntoView()")
        page.screenshot(path=HERE / "vote.png")


def organiser(browser: Browser) -> None:
    """Write the picture of the organiser's page over an invented playtest."""
    with tempfile.TemporaryDirectory() as home:
        fill(Path(home))
        with Playground(Path(home), arguments=["--admin"]) as app:
            page = browser.new_page(viewport={"width": 1180, "height": 1000}, device_scale_factor=1.5)
            door = OrganiserDoor(Path(home))
            page.goto(door.link(app.url), timeout=240_000)
            page.wait_for_selector("#ratings .plots")
            page.screenshot(path=HERE / "organiser.png", clip={"x": 0, "y": 0, "width": 1180, "height": 2300}, full_page=True)
            page.close()


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as home, Playground(Path(home)) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        desk = open_page(browser, app.url, viewport={"width": 1180, "height": 900}, device_scale_factor=1.5)
        desk.screenshot(path=HERE / "personas.png")
        talk(desk, "sherlock-holmes", "Mara", ["Good evening, Mr. Holmes. What are you thinking?", "Do you love anyone?"])
        desk.screenshot(path=HERE / "conversation.png")
        scene = open_page(browser, app.url, viewport={"width": 1180, "height": 820}, device_scale_factor=1.5)
        meet(scene, ["sherlock-holmes", "falstaff"], "Mara", "Gentlemen, the sugar bowl is gone. Which of you saw it last?")
        scene.screenshot(path=HERE / "scene.png")
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
        vote(browser, Path(home))
        organiser(browser)
        browser.close()


if __name__ == "__main__":
    main()
