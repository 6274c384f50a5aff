"""her/ui/static: menus, stars and panels by keyboard, and what assistive technology is told of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import begin, say
from tests.playground import Playground

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("keyboard")) as playground:
        yield playground


@pytest.mark.parametrize("place", [".her-bar [data-act=menu]", ".turn.persona:last-child [data-act=tools]"])
def test_a_menu_says_that_it_is_open_and_obeys_the_keys(page: Page, app: Playground, place: str) -> None:
    begin(page, app)
    button, menu = page.locator(place), page.locator(".her-menu")
    expect(button).to_have_attribute("aria-haspopup", "menu")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(menu).to_have_id(button.get_attribute("aria-controls") or "")
    items = menu.locator("button")
    expect(items.first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(items.last).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(items.first).to_be_focused()
    page.keyboard.press("End")
    expect(items.last).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_a_menu_closes_by_a_click_on_its_button_and_elsewhere(page: Page, app: Playground) -> None:
    begin(page, app)
    button, menu = page.locator(".her-bar [data-act=menu]"), page.locator(".her-menu")
    button.click()
    expect(menu).to_be_visible()
    button.click()
    expect(menu).to_have_count(0)
    button.click()
    page.locator(".her-turns").click(position={"x": 5, "y": 5})
    expect(menu).to_have_count(0)
    expect(button).to_have_attribute("aria-expanded", "false")


def test_the_stars_of_a_dimension_are_one_tab_stop_and_arrows_move_them(page: Page, app: Playground) -> None:
    begin(page, app)
    say(page, "Who are you?")
    page.locator(".turn.persona").last.locator('[data-act="regenerate"]').click()
    reply = page.locator(".turn.persona").last
    expect(reply.locator(".count")).to_have_text("2/2")
    page.locator('[data-act="rate"]').last.click()
    panel = reply.locator(".her-rating")
    voice = panel.get_by_role("group", name="Voice")
    voice.get_by_role("radio", name="2 of 5").check()
    page.keyboard.press("ArrowLeft")
    expect(voice.get_by_role("radio", name="1 of 5")).to_be_checked()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(voice.get_by_role("radio", name="3 of 5")).to_be_checked()
    expect(voice.locator(".star.on")).to_have_count(3)
    expect(reply.locator(".count")).to_have_text("2/2")  # the arrows did not swipe
    expect(panel.locator(".stamp.saved")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.dimension')?.dataset.dimension") == "coherence"
    assert tab_stops(page, panel_selector=".her-rating") == panel.locator(".dimension").count() + 2  # the tags, the comment
    panel.locator(".tag").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(panel.locator(".tag").last).to_be_focused()
    page.keyboard.press("Space")
    expect(panel.locator(".tag").last).to_have_attribute("aria-pressed", "true")
    expect(reply.locator(".count")).to_have_text("2/2")


def test_a_star_that_is_chosen_again_is_taken_back(page: Page, app: Playground) -> None:
    begin(page, app)
    page.locator('[data-act="rate"]').last.click()
    stars = page.locator('.her-rating [data-dimension="voice"]')
    stars.locator('[data-star="4"]').click()
    expect(stars.locator(".on")).to_have_count(4)
    stars.locator('[data-star="4"]').click()
    expect(stars.locator(".on")).to_have_count(0)
    expect(stars.locator("input:checked")).to_have_count(0)
    stars.locator("input").nth(1).focus()
    page.keyboard.press("Space")
    expect(stars.locator(".on")).to_have_count(2)
    page.keyboard.press("Space")
    expect(stars.locator(".on")).to_have_count(0)


def test_keys_of_the_page_work_within_the_stars(page: Page, app: Playground) -> None:
    begin(page, app)
    reply = page.locator(".turn.persona").last
    reply.locator('[data-act="rate"]').click()
    reply.locator('[data-dimension="voice"] [data-star="4"]').click()
    page.keyboard.press("5")  # the first dimension
    expect(reply.locator('[data-dimension="in_character"] .on')).to_have_count(5)
    page.keyboard.press("Escape")
    expect(reply.locator(".her-rating")).to_have_count(0)
    expect(reply.locator('[data-act="rate"]')).to_be_focused()


def test_an_open_rating_and_a_started_edit_outlive_a_new_drawing(page: Page, app: Playground) -> None:
    begin(page, app)
    say(page, "Who are you?")
    page.locator(".turn.persona").last.locator('[data-act="regenerate"]').click()
    reply = page.locator(".turn.persona").last
    expect(reply.locator(".count")).to_have_text("2/2")
    expect(page.locator(".her.running")).to_have_count(0)
    reply.locator('[data-act="rate"]').click()
    reply.locator('[data-act="tools"]').click()
    page.get_by_role("menuitem", name="Edit").click()
    reply.locator("textarea.edit").fill("half a thou")
    reply.locator('[data-act="keep"]').click()  # the answer draws every turn again
    expect(reply.locator(".mark.kept")).to_be_visible()
    expect(reply.locator("textarea.edit")).to_have_value("half a thou")
    reply.locator('[data-dimension="voice"] [data-star="2"]').click()
    expect(reply.locator('[data-dimension="voice"] .on')).to_have_count(2)
    reply.get_by_role("button", name="Cancel").click()
    expect(reply.locator(".body")).to_be_visible()
    expect(reply.locator("textarea.edit")).to_have_count(0)


def tab_stops(page: Page, panel_selector: str) -> int:
    """Count the elements of a panel that the Tab key visits."""
    page.locator(f"{panel_selector} input[type=radio]").first.focus()
    inside = f"document.activeElement.closest('{panel_selector}') !== null"
    stops = 0
    while page.evaluate(inside):
        stops += 1
        page.keyboard.press("Tab")
    return stops
