"""Open the report of an evaluation and the comparison of two: flaws lead to their turns, by mouse and keyboard; phone; dark."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from her.judging.statistics import Uncertainty
from pipelines.evaluate.report import read_run, write_comparison, write_report
from tests.pipelines.evaluate.evaluated import rows, write_run

pytestmark = pytest.mark.browser
QUICK = Uncertainty(resamples=100, permutations=100)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of a run of both languages, and a comparison."""
    folder = tmp_path_factory.mktemp("evaluated")
    chinese = [row.model_copy(update={"language": "zh", "case": f"场景 {row.case}"}) for row in rows(cases=3)]
    chinese = [row.model_copy(update={"flaws": ()}) for row in chinese]
    first = write_run(folder / "first", [*rows(cases=12), *chinese])
    second = write_run(folder / "second", rows(cases=12, shift=5, seed=2, model="m2"))
    write_report(first, "First", settings=QUICK)
    write_comparison(read_run(str(first)), read_run(str(second)), folder, QUICK)
    return folder


def watched(page: Page) -> list[str]:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return errors


def test_a_flaw_leads_to_its_turn(page: Page, pages: Path, outside: list[str]) -> None:
    errors = watched(page)
    page.goto((pages / "first" / "report.html").as_uri())
    flaw = page.locator("#worst ~ ol a.flaw").first
    turn = page.locator(str(flaw.get_attribute("href")))
    expect(turn).to_be_hidden()  # its scene is folded
    flaw.click()
    expect(turn).to_be_in_viewport()
    expect(turn).to_be_focused()
    expect(turn.locator(".marks span").first).to_have_text("3")
    page.evaluate("scrollTo(0, 0)")
    flaw.focus()
    page.keyboard.press("Enter")  # the same flaw again leads there again
    expect(turn).to_be_in_viewport()
    assert not errors and not outside and page.evaluate("window.pwned") is None


def test_thoughts_can_be_hidden_plans_shown_and_scenes_found(page: Page, pages: Path) -> None:
    page.goto((pages / "first" / "report.html").as_uri())
    scene = page.locator("details.play").first
    scene.locator("summary").click()
    thought, plan = scene.locator(".thought").first, scene.locator(".reasoning").first
    expect(thought).to_be_visible()
    expect(plan).to_be_hidden()
    page.get_by_label("hide thoughts").check()
    page.get_by_label("show plans").check()
    expect(thought).to_be_hidden()
    expect(plan).to_have_text("Keep Mara cold.")
    page.locator("#find").fill("场景 case 2")
    expect(page.locator("details.play:visible")).to_have_count(2)
    page.locator("#find").fill("")
    expect(page.locator("details.play:visible")).to_have_count(30)


def test_both_pages_fit_a_phone_in_the_dark(visitors: Callable[..., BrowserContext], pages: Path) -> None:
    page = visitors(viewport={"width": 360, "height": 740}, color_scheme="dark").new_page()
    for path in ("first/report.html", "comparison.html"):
        page.goto((pages / path).as_uri())
        for summary in page.locator("details.play > summary").all()[:3]:
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(27, 25, 22)"


def test_two_scenes_stand_side_by_side(page: Page, pages: Path) -> None:
    errors = watched(page)
    page.goto((pages / "comparison.html").as_uri())
    expect(page.locator(".verdict").first).to_contain_text("second")
    scene = page.locator("details.play").first
    scene.locator("summary").first.click()
    left, right = (scene.locator(".sides > div").nth(side) for side in (0, 1))
    expect(left.locator(".turn").first).to_be_visible()
    boxes = left.bounding_box(), right.bounding_box()
    assert boxes[0] and boxes[1] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    right.locator("a.flaw").first.click()
    expect(right.locator(".turn:target")).to_be_in_viewport()
    assert not errors
