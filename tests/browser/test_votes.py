"""A person votes on two replies side by side: on a phone, by keys, in two tabs, and again after a reload."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.steps import begin, database
from tests.playground import Playground

pytestmark = pytest.mark.browser

FILE = """
name: Which is better
comparisons:
  every: 1
  catch: 0
  repeat: 0
  arms:
    - {name: secret-one, sampling: {seed: 0}}
    - {name: secret-two, sampling: {seed: 1}, backend: "scripted:?seed=77&rate=0"}
"""


def test_a_pair_is_voted_on_blind_and_the_winner_goes_on(visitors: Callable[..., BrowserContext], tmp_path: Path) -> None:
    file = tmp_path / "votes.yaml"
    file.write_text(FILE, "utf-8")
    with Playground(tmp_path, arguments=["--playtest", str(file)]) as playground:
        context = visitors(viewport={"width": 360, "height": 780}, has_touch=True, locale="zh-CN")
        phone = context.new_page()
        requests: list[Request] = []
        phone.on("requestfinished", lambda request: requests.append(request))
        begin(phone, playground)
        phone.locator("#stage .her-composer textarea").fill("Who are you?")
        phone.keyboard.press("Enter")
        ballot = phone.locator('#stage .her-ballot[data-state="vote"]')
        expect(ballot.locator(".side")).to_have_count(2)
        expect(phone.get_by_role("group", name="回复 A")).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        assert all(box["height"] >= 44 for box in map(_box, ballot.locator(".verdicts button").all()))
        _sends_nothing_before_the_vote(phone)
        told = "".join(map(_body, requests))
        assert '"ballot"' in told.replace("\\", "") and "writing" in told
        assert not [secret for secret in ("secret-one", "secret-two", "seed=77") if secret in told]
        phone.reload()
        expect(ballot.locator(".side")).to_have_count(2)
        replies = ballot.locator(".side .body").all_inner_texts()
        tab = context.new_page()
        tab.goto(phone.url)  # a tab that is opened without an address has a chat of its own
        tab.locator("#stage .her-ballot .verdict").first.click()

        ballot.locator(".side").last.locator('footer [data-act="peek-system_thinking"]').click()
        phone.keyboard.press("b")
        phone.keyboard.press("Enter")
        expect(phone.locator("#stage .her-ballot")).to_have_count(0)
        expect(phone.locator("#stage .turn.persona .body").last).to_have_text(replies[1], use_inner_text=True)
        expect(phone.locator("#stage .turn.persona .swipes .count").last).to_have_text("2/2")

        tab.locator("#stage .her-ballot .save").click()
        expect(tab.locator("#stage .her-error")).to_contain_text("has your vote already")
        expect(tab.locator("#stage .her-ballot")).to_have_count(0)
        _is_stored_once(playground)


def _box(button: object) -> dict[str, float]:
    return button.bounding_box()  # type: ignore[attr-defined,no-any-return]


def _sends_nothing_before_the_vote(page: Page) -> None:
    page.locator("#stage .her-composer textarea").fill("And then?")
    page.locator("#stage .her-composer .send").click()
    expect(page.locator("#stage .her-hint")).to_contain_text("投票")
    expect(page.locator("#stage .her-composer textarea")).to_have_value("And then?")
    page.locator("#stage .her-composer textarea").fill("")


def _is_stored_once(playground: Playground) -> None:
    query = "SELECT votes.winner, votes.seen, ballots.first FROM votes JOIN ballots ON ballots.id = votes.ballot_id"
    ((winner, seen, first),) = database(playground).execute(query).fetchall()
    second = "b" if first == "a" else "a"
    of_second = json.loads(seen)[1 if first == "a" else 0]
    assert winner == second and of_second["opened"] == ["system_thinking"] and of_second["sights"]["system_thinking"]["open"]


def _body(request: Request) -> str:
    """Return the body of an answer; empty where the browser no longer has it."""
    try:
        response = request.response()
        return response.text() if response else ""
    except Exception:
        return ""
