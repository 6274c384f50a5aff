"""her/ui/static: what a rating records of what was seen, and that no rating is lost on its way."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.ratings_truth import TAKEN_OUT, without
from her.ui.assets import STATIC
from tests.browser.steps import begin, database
from tests.playground import Playground

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("rating")) as playground:
        yield playground


def stored(app: Playground, reply: Locator) -> list[dict[str, Any]]:
    """Return the ratings of a turn as they are on disk, the newest last."""
    query = "select thumb, stars, comment, seen from ratings where node_id = ? order by seq"
    with database(app) as rows:
        found = rows.execute(query, (reply.get_attribute("data-id"),)).fetchall()
    return [
        {"thumb": thumb, "stars": json.loads(stars), "comment": text, **json.loads(seen)} for thumb, stars, text, seen in found
    ]


def saved(reply: Locator) -> None:
    """Wait until the server has the newest rating."""
    expect(reply.locator("footer .stamp.saved")).to_be_visible()


def test_a_closed_panel_is_recorded_as_closed_and_what_is_out_of_view_as_unseen(page: Page, app: Playground) -> None:
    begin(page, app)
    reply = page.locator(".turn.persona").last
    reply.locator("footer .peek-role_thinking").click()  # the switch in the bar is on, this turn's panel is closed now
    expect(reply.locator(".panel.thought").first).to_be_hidden()
    reply.locator('[data-act="like"]').click()
    saved(reply)
    (first,) = stored(app, reply)
    sights = first["sights"]
    assert (first["version"], first["role_thinking"], first["shut"]) == (2, True, ["role_thinking"])
    assert not sights["role_thinking"]["open"] and not sights["role_thinking"]["in_view"]
    assert sights["speech"]["open"] and sights["speech"]["in_view"] and sights["turn"]["ms"] >= sights["speech"]["ms"] > 0
    opened = sights["role_thinking"]["ms"]
    page.evaluate(  # another tab of the browser is in front, then this one again
        """() => { Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
                   document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    reply.locator('[data-act="dislike"]').evaluate("(thumb) => thumb.click()")
    expect(reply.locator('[data-act="dislike"]')).to_have_attribute("aria-pressed", "true")
    saved(reply)
    hidden = stored(app, reply)[-1]["sights"]
    assert hidden["speech"]["open"] and not hidden["speech"]["in_view"] and not hidden["turn"]["in_view"]
    assert hidden["role_thinking"]["ms"] == opened, "a closed panel gathers no time"


def test_a_comment_is_saved_without_a_button_though_its_panel_is_closed(page: Page, app: Playground) -> None:
    begin(page, app)
    reply = page.locator(".turn.persona").last
    reply.locator('[data-act="rate"]').click()
    reply.locator('[data-dimension="voice"] [data-star="4"]').click()
    reply.locator(".her-rating textarea").press_sequentially("The belly speaks")
    reply.locator('[data-act="rate"]').click()
    expect(reply.locator(".her-rating")).to_have_count(0)
    saved(reply)
    newest = stored(app, reply)[-1]
    assert (newest["comment"], newest["stars"]) == ("The belly speaks", {"voice": 4})


def test_what_was_given_offline_is_counted_kept_and_sent_when_the_line_is_back(page: Page, app: Playground) -> None:
    begin(page, app)
    reply = page.locator(".turn.persona").last
    unsaved = page.locator("#stage .her-unsaved")
    page.context.set_offline(True)
    reply.locator('[data-act="like"]').click()
    expect(reply.locator(".stamp.failed")).to_have_text("not saved yet")
    reply.locator('[data-act="rate"]').click()
    reply.locator(".her-rating textarea").fill("written in a tunnel")
    reply.locator('[data-dimension="voice"] [data-star="2"]').click()
    expect(unsaved).to_have_text("1 not saved yet")
    assert stored(app, reply) == []
    slots = "Object.keys(localStorage).filter((name) => name.startsWith('her.rating.')).length"
    assert page.evaluate(slots) == 1
    page.context.set_offline(False)
    saved(reply)
    expect(unsaved).to_be_hidden()
    (kept,) = stored(app, reply)
    assert (kept["thumb"], kept["stars"], kept["comment"]) == (1, {"voice": 2}, "written in a tunnel")
    assert page.evaluate(slots) == 0


def test_what_waits_is_sent_by_the_next_page_and_refused_for_good_with_a_sentence(page: Page, app: Playground) -> None:
    begin(page, app)
    reply = page.locator(".turn.persona").last
    page.route("**/component_server/", lambda route: route.abort())
    reply.locator('[data-act="like"]').click()
    expect(reply.locator(".stamp.failed")).to_be_visible()
    slot = page.evaluate("Object.entries(localStorage).find(([name]) => name.startsWith('her.rating.'))")
    page.unroute("**/component_server/")
    page.evaluate(  # beside it waits a rating of a chat that is gone
        """([name, text]) => { const slot = JSON.parse(text);
             localStorage.setItem(name.replace(slot.chat, "gone"), JSON.stringify({ ...slot, chat: "gone" })); }""",
        slot,
    )
    page.reload()
    saved(reply)
    expect(page.locator("#stage .her-unsaved")).to_have_text(re.compile("^This rating cannot be saved: [^·]*$"))
    expect(reply.locator('[data-act="like"]')).to_have_attribute("aria-pressed", "true")
    assert len(stored(app, reply)) == 1, "sent when the page was left, and again by the next: it is one act"


@pytest.mark.parametrize("part", TAKEN_OUT)
def test_what_the_benchmark_takes_out_of_the_recording_stands_there(part: str) -> None:
    assert without(part) != (STATIC / "sight.js").read_text("utf-8")
