"""A person comes to a playtest by a link: consent in Chinese, a mission with its progress, another device, and away again."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.steps import database
from tests.playground import Playground

pytestmark = pytest.mark.browser

FILE = """
name: An evening
consent: {version: v1, en: Do you agree to be read?, zh: 你同意被阅读吗？}
missions:
  - id: quarrel
    persona: lin-daiyu
    goal: {en: Make it good again., zh: 设法挽回。}
    least_turns: 1
    rate: [voice]
    people: 20
  - {id: other, persona: falstaff, people: 20, goal: {en: Drink with him., zh: 与他共饮。}}
"""


def test_a_person_comes_by_a_link_and_goes_again(visitors: Callable[..., BrowserContext], tmp_path: Path) -> None:
    file = tmp_path / "evening.yaml"
    file.write_text(FILE, "utf-8")
    with Playground(tmp_path, arguments=["--playtest", str(file)]) as playground:
        phone = visitors(locale="zh-CN", viewport={"width": 360, "height": 740}, has_touch=True).new_page()
        phone.goto(f"{playground.url}/#mission=quarrel")
        consent = phone.locator("#stage .consent")
        expect(consent).to_contain_text("你同意被阅读吗？")
        assert database(playground).execute("SELECT count(*) FROM visitors").fetchall() == [(0,)]
        consent.get_by_role("button", name="我同意", exact=True).click()
        _plays_the_mission(phone)
        code = phone.evaluate("localStorage.getItem('her.visitor')")

        laptop = visitors(locale="en-US").new_page()
        laptop.goto(f"{playground.url}/#her={code}")
        expect(laptop.locator("#stage .mission-card .goal")).to_have_text("Drink with him.")
        expect(laptop.locator("#stage .consent")).to_have_count(0)
        assert database(playground).execute("SELECT count(*) FROM visitors").fetchall() == [(1,)], "both devices are one rater"
        _takes_it_all_and_deletes_it(laptop)
        left = "SELECT visitor_id FROM conversations UNION SELECT visitor_id FROM ratings UNION SELECT visitor_id FROM consents"
        assert database(playground).execute(left).fetchall() == []


def _plays_the_mission(page: Page) -> None:
    page.locator("#stage .mission-card").get_by_role("button", name="开始任务").click()
    line = page.locator("#stage .her-mission")
    expect(line).to_contain_text("0 / 1 轮")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#stage .her-composer textarea").fill("你好。")
    page.locator("#stage .her-composer .send").click()
    expect(line.locator("li.done")).to_contain_text(["1 / 1 轮"])
    page.locator('#stage .turn.persona [data-act="rate"]').last.click()
    page.locator('#stage [data-dimension="voice"] [data-star="4"]').click()
    expect(line.get_by_role("status")).to_have_text("完成了，谢谢！")
    line.get_by_role("button", name="下一个任务").click()
    expect(page.locator("#stage .mission-card h2")).to_have_text("你的下一个任务")


def _takes_it_all_and_deletes_it(page: Page) -> None:
    page.locator('#stage [data-act="menu"]').click()
    page.get_by_role("menuitem", name="My data").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    rows = json.loads(Path(download.value.path()).read_text("utf-8"))["rows"]
    assert len(rows["assignments"]) == 2 and len(rows["ratings"]) == 1 and len(rows["consents"]) == 1
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete my data").click()
    expect(page.locator("#stage .consent")).to_contain_text(re.compile("Do you agree"))
