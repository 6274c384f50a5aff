"""Drive the expert's page of `her run principles`: edit, merge, drop, download, apply; keyboard, phone, Chinese."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from her.judging.principle_edits import apply_edit_file
from her.judging.principles import LIBRARY, DimensionFile, load_dimension, load_principles, write_dimensions
from tests.pipelines.principles.pages import hostile_page
from tests.pipelines.principles.small import candidate

pytestmark = pytest.mark.browser


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library with the principles of the page."""
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    file = load_dimension(folder / "character_development.yaml")
    added = (candidate("oath").entry, candidate("other", "A definition.").entry)
    write_dimensions(folder, [DimensionFile(id=file.id, en=file.en, zh=file.zh, principles=(*file.principles, *added))])
    return folder


@pytest.fixture
def address(tmp_path: Path, library: Path) -> str:
    return hostile_page(tmp_path, library).as_uri()


def test_edits_are_downloaded_and_applied(page: Page, address: str, library: Path, tmp_path: Path, outside: list[str]) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(address)
    oath, other = page.locator("#p-oath"), page.locator("#p-other")
    oath.locator("[data-act=edit]").click()
    page.locator("[name='en.name']").fill("Swears & keeps <it>")
    page.locator("#editor [value=save]").click()
    expect(oath.locator("h2")).to_have_text("Swears & keeps <it>起誓", use_inner_text=False)
    other.locator("[data-act=merge]").click()
    page.locator("#merger select").select_option("oath")
    page.locator("#merger [value=save]").click()
    expect(other.locator(".state")).to_have_text("merged into “Swears & keeps <it>”")
    expect(page.locator("#status")).to_have_text("1 edited, 1 merged, 0 dropped.")
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "edits.json")
    counts = apply_edit_file(tmp_path / "edits.json", library)
    assert (counts.edited, counts.merged, counts.dropped) == (1, 1, 0)
    names = {each.id: each.name for each in load_principles(folder=library)}
    assert names["oath"] == "Swears & keeps <it>" and "other" not in names
    assert not outside and not errors and page.evaluate("window.pwned") is None


def test_what_the_file_would_refuse_is_said_on_the_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#download")).to_be_hidden()
    page.locator("#p-other [data-act=merge]").click()
    page.locator("#merger select").select_option("oath")
    page.locator("#merger [value=save]").click()
    page.locator("#p-oath [data-act=merge]").click()
    expect(page.locator("#merger option[value=other]")).to_have_count(0)  # no circle is offered
    expect(page.locator("#merger option[value=oath]")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator("#p-oath [data-act=drop]").click()
    expect(page.locator("#status")).to_have_text("“other” is merged into “oath”, which is dropped")
    expect(page.locator("#download")).to_be_disabled()
    page.locator("#p-oath [data-act=undo]").click()
    expect(page.locator("#download")).to_be_enabled()
    page.locator("#reset").click()
    page.locator("#p-oath [data-act=edit]").click()
    page.locator("[name='zh.definition']").fill("   ")
    page.locator("#editor [value=save]").click()
    expect(page.locator("#editor")).to_be_visible()  # spaces are no text
    page.locator("#editor [value=cancel]").click()
    expect(page.locator("#status")).to_have_text("No changes yet.")


def test_edits_survive_a_reload_and_the_keyboard_reaches_everything(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#p-oath [data-act=drop]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#p-oath [data-act=undo]")).to_be_focused()
    page.reload()
    expect(page.locator("#p-oath .state")).to_have_text("dropped")
    page.locator("#p-other summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#p-other .pair").first).to_be_visible()
    page.locator("#p-other [data-act=merge]").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#merger [value=save]").press("Enter") if page.locator("#merger").is_visible() else None
    expect(page.locator("#p-other .state")).to_contain_text("merged into")


def test_it_fits_a_phone_in_both_languages(visitors: Callable[..., BrowserContext], address: str) -> None:
    page = visitors(viewport={"width": 360, "height": 740}, locale="zh-CN", color_scheme="dark").new_page()
    page.goto(address)
    expect(page.locator(".kicker")).to_have_text("请您审定的原则", use_inner_text=True)
    for summary in page.locator("summary:visible").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#language").click()
    expect(page.locator(".kicker")).to_have_text("Principles for your decision", use_inner_text=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_file_can_be_read_where_nothing_can_be_downloaded(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#p-oath [data-act=drop]").click()
    page.locator("#file summary").click()
    assert json.loads(page.locator("#json").input_value())["edits"] == [{"id": "oath", "action": "drop"}]
