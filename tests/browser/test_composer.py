"""her/ui/static/composer.js: the text field grows with its text, and a key costs the same in a long text."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.steps import KEY_TIMER, begin, say
from tests.playground import Playground

pytestmark = pytest.mark.browser

LETTERS = 30_000
KEYS = 5
MILLISECONDS_A_KEY = 200
"""Of the fastest of KEYS keys. 12 to 25 were measured; 300 to 1,100 where the field measures itself or kerns a long word."""
MILLISECONDS_TO_PASTE = 2_000
"""30 were measured; 3,000 to 5,000 where a word of LETTERS letters is kerned."""
COPY = """text => {
  const source = document.body.appendChild(document.createElement("textarea"));
  source.style.cssText = "position: fixed; font: 16px monospace";
  source.value = text;
  source.select();
  document.execCommand("copy");
  source.remove();
}"""
PASTE_TIMER = """() => {
  const box = document.querySelector(".her-composer textarea");
  box.focus();
  box.addEventListener("beforeinput", () => { window.pasteStart = performance.now(); }, true);
  box.addEventListener("input", () => requestAnimationFrame(() => setTimeout(() => {
    window.pasteTime = performance.now() - window.pasteStart;
  })));
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("composer")) as playground:
        yield playground


@pytest.mark.parametrize("text", ["x" * LETTERS, "雨" * LETTERS, "a word " * (LETTERS // 7)], ids=["letters", "chinese", "words"])
def test_a_key_in_a_long_text_is_quick(page: Page, app: Playground, text: str) -> None:
    begin(page, app)
    page.evaluate(COPY, text)
    page.evaluate(PASTE_TIMER)
    page.keyboard.press("Control+V")
    page.wait_for_function("window.pasteTime !== undefined")
    assert page.evaluate("window.pasteTime") < MILLISECONDS_TO_PASTE
    page.evaluate(KEY_TIMER)
    for count in range(1, KEYS + 1):
        page.keyboard.press("y")
        page.wait_for_function("count => window.keyTimes.length === count", arg=count)
    assert min(page.evaluate("window.keyTimes")) < MILLISECONDS_A_KEY
    expect(page.locator(".her-composer textarea")).to_have_value(text + "y" * KEYS)


def test_the_field_grows_to_a_limit_and_shrinks_again(page: Page, app: Playground) -> None:
    begin(page, app)
    box = page.locator(".her-composer textarea")

    def height(text: str) -> float:
        box.fill(text)
        place = box.bounding_box()
        assert place
        return place["height"]

    one_line, three_lines, many_lines = height("one"), height("one\ntwo\nthree"), height("line\n" * 40)
    assert one_line < 60 and three_lines == pytest.approx(one_line + 2 * 24.65, abs=1) and many_lines == 180
    say(page, "Good evening.")
    assert height("") == one_line


def test_without_field_sizing_the_rows_are_counted(page: Page, app: Playground) -> None:
    page.add_init_script("const real = CSS.supports; CSS.supports = (...query) => query[0] !== 'field-sizing' && real(...query);")
    begin(page, app)
    box = page.locator(".her-composer textarea")
    for text, rows in (("one", 1), ("one\ntwo\nthree", 3), ("word " * 1000, 6), ("", 1)):
        box.fill(text)
        expect(box).to_have_js_property("rows", rows)


def test_a_long_word_is_set_without_kerning_and_other_text_with_it(page: Page, app: Playground) -> None:
    begin(page, app)
    box = page.locator(".her-composer textarea")
    box.fill("Two words")
    expect(box).to_have_css("font-kerning", "auto")
    box.fill("x" * 2_000)
    expect(box).to_have_css("font-kerning", "none")
    box.press("Enter")
    expect(page.locator(".turn.mine:not(.sending) .speech")).to_have_text("x" * 2_000)
    # the turn is drawn again when the reply is stored, so the style is waited for
    expect(page.locator(".turn.mine .speech")).to_have_css("font-kerning", "none")
    expect(page.locator(".turn.persona .speech").last).to_have_css("font-kerning", "auto")
