"""The Scene tab in a real Chromium: three characters, the visitor one of them or looking on, on a wide page and a phone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.steps import database
from tests.playground import Playground
from tests.servers import ModelServer, Script

pytestmark = pytest.mark.browser
NAME = re.compile(r"(?:You are |你是)(.+?)(?:,|，|（)")


def answer(body: dict[str, Any]) -> str:
    """Play whoever the prompt names; as the director, name Falstaff."""
    head = str(body["messages"][0]["content"])
    if head.startswith("You are the narrator"):
        return "A log falls in the hearth."
    if not (found := NAME.match(head)):
        return "Reasoning: it is his turn.\n**Next Speaker:** Sir John Falstaff"
    name = found[1]
    return (
        f"<system_thinking>I must play {name} lightly.</system_thinking>{name}: <role_thinking>SECRET of {name}</role_thinking>"
        f"<role_action>looks round</role_action>{name} speaks, turn {len(body['messages'])}."
    )


BOOK = {
    "book": "A Street",
    "i_p": 1,
    "i_c": 0,
    "scenario": "Venice, at night. Three people meet before a shut door.",
    "topic": "the shut door",
    "major_characters": ["Iago", "Roderigo", "Brabantio"],
    "character_profiles": {"Iago": "An ensign.", "Roderigo": "A gentleman.", "Brabantio": "A senator."},
    "dialogues": [
        {"character": "Roderigo", "message": "[I pay and get nothing.] Never tell me."},
        {"character": "Iago", "message": "(bows) You will not hear me."},
        {"character": "Brabantio", "message": "What is the matter there?"},
    ],
}


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(Script(text=answer)) as server:
        yield server


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Playground]:
    home = tmp_path_factory.mktemp("scene")
    book = home / "street.json"
    book.write_text(json.dumps([BOOK]), "utf-8")
    spec = f"openai:{model.url}#{model.script.model}"
    with Playground(home, backend=spec, arguments=["--scenes", str(book)]) as playground:
        yield playground


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> Script:
    model.script = Script(text=answer)
    return model.script


def scene_tab(page: Page, app: Playground) -> Locator:
    """Open the Scene tab and return its stage."""
    page.goto(app.url)
    page.locator('[role="tab"][data-tab-id="scene-tab"]').click()
    stage = page.locator("#scene .her")
    expect(stage).to_have_attribute("data-ready", "1")
    return stage


def own_cast(stage: Locator, me: str = "Mara", personas: tuple[str, ...] = ("falstaff", "sherlock-holmes")) -> None:
    """Begin a scene with personas and the visitor."""
    form = stage.locator("form.setup").first
    for persona in personas:
        form.locator(f'input[value="{persona}"]').check()
    form.locator("input[autocomplete=nickname]").fill(me)
    form.locator(".primary").click()
    expect(stage.locator(".her-scene .chip:not(.narrator)")).to_have_count(3)


def stored(stage: Locator) -> Locator:
    return stage.locator(".turn:not(.live, .sending)")


def settled(stage: Locator, turns: int) -> None:
    expect(stored(stage)).to_have_count(turns)
    expect(stage).not_to_have_class(re.compile("running"))


def test_three_characters_with_the_visitor_among_them(page: Page, app: Playground, outside: list[str]) -> None:
    stage = scene_tab(page, app)
    own_cast(stage)
    stage.locator(".steps .mode").select_option("round_robin")
    stage.locator(".her-composer textarea").fill("Good evening, gentlemen.")
    stage.locator(".her-composer textarea").press("Enter")
    settled(stage, 2)
    stage.locator('[data-act="next-turn"]').click()
    settled(stage, 3)
    speakers = [each.inner_text() for each in stored(stage).locator("header h3").all()]
    assert speakers == ["Mara", "Sir John Falstaff", "Sherlock Holmes"]
    colours = {each.evaluate("node => node.style.getPropertyValue('--her-persona')") for each in stored(stage).all()[1:]}
    assert len(colours) == 2
    assert outside == []


def test_the_thoughts_of_others_are_hidden_until_the_directors_view(page: Page, app: Playground) -> None:
    stage = scene_tab(page, app)
    own_cast(stage)
    stage.locator(".her-composer textarea").fill("Sherlock Holmes, what do you see?")
    stage.locator(".her-composer textarea").press("Enter")
    settled(stage, 2)
    thought, plan = stored(stage).last.locator(".panel.thought"), stored(stage).last.locator(".panel.reasoning")
    expect(thought).to_be_hidden()
    expect(plan).to_be_hidden()
    expect(stage.locator('[data-act="toggle-role_thinking"]')).to_be_hidden()
    expect(stored(stage).last.locator("footer .peek-role_thinking")).to_be_hidden()
    stage.locator(".her-scroll").focus()
    page.keyboard.press("t")
    expect(thought).to_be_hidden()
    expect(stage.locator(".her-toast")).to_contain_text("director")
    assert "SECRET" not in page.content()
    page.keyboard.press("d")
    expect(thought).to_contain_text("SECRET of Sherlock Holmes")
    expect(thought).to_be_visible()
    expect(plan).to_be_visible()
    page.keyboard.press("d")
    expect(thought).to_be_hidden()
    expect(thought).to_have_count(0)
    assert "SECRET" not in page.content()


def test_no_prompt_of_the_scene_holds_the_thought_of_another(page: Page, app: Playground, model: ModelServer) -> None:
    model.requests.clear()
    stage = scene_tab(page, app)
    own_cast(stage)
    stage.locator(".steps .mode").select_option("model")
    stage.locator(".her-composer textarea").fill("Who begins?")
    stage.locator(".her-composer textarea").press("Enter")
    settled(stage, 2)
    stage.locator('[data-act="character"][data-character="Sherlock Holmes"]').click()
    page.get_by_role("menuitem", name="Let Sherlock Holmes speak").click()
    settled(stage, 3)
    stage.locator('[data-act="next-turn"]').click()
    settled(stage, 4)
    assert model.chats
    for body in model.chats:
        text = json.dumps(body["messages"])
        found = NAME.match(str(body["messages"][0]["content"]))
        assert "I must play" not in text
        assert set(re.findall(r"SECRET of ([\w ]+?)<", text)) <= {found[1] if found else ""}


def test_play_on_and_stop(page: Page, app: Playground, script: Script) -> None:
    stage = scene_tab(page, app)
    form = stage.locator("form.setup.books")
    form.locator(".primary").click()  # looking on: the director's view is on
    expect(stage.locator(".her-composer textarea")).to_be_hidden()
    stage.locator(".steps .mode").select_option("round_robin")
    stage.locator(".steps .count").select_option("3")
    stage.locator('[data-act="auto-play"]').click()
    settled(stage, 3)
    speakers = [each.inner_text() for each in stored(stage).locator("header h3").all()]
    assert speakers == ["Iago", "Roderigo", "Brabantio"]
    expect(stored(stage).last.locator(".panel.thought")).to_be_visible()
    script.rate = 4  # tokens a second, and so many of them that it is stopped in the middle on a busy machine as well
    script.text = " ".join(f"Word {number}." for number in range(500))
    stage.locator(".steps .count").select_option("20")
    stage.locator(".her-scroll").focus()
    page.keyboard.press("p")
    expect(stage.locator(".turn.live .speech")).to_be_visible()
    stage.locator(".stop").click()
    settled(stage, 4)
    expect(stored(stage).last.locator(".mark.stopped")).to_be_visible()
    page.wait_for_timeout(300)
    settled(stage, 4)  # nothing was played after it
    page.reload()
    page.locator('[role="tab"][data-tab-id="scene-tab"]').click()
    expect(stored(page.locator("#scene .her"))).to_have_count(4)


def test_characters_come_go_and_are_rated(page: Page, app: Playground) -> None:
    stage = scene_tab(page, app)
    stage.locator("form.setup.books .primary").click()
    chip = stage.locator('[data-act="character"][data-character="Iago"]')
    chip.click()
    page.get_by_role("menuitem", name="Iago leaves").click()
    expect(stored(stage).last).to_contain_text("Iago leaves.")
    expect(chip).to_contain_text("away")
    stage.locator(".steps .mode").select_option("round_robin")
    stage.locator(".steps .count").select_option("3")
    stage.locator('[data-act="auto-play"]').click()
    settled(stage, 4)
    assert "Iago" not in [each.inner_text() for each in stored(stage).locator("header h3").all()]
    chip.click()
    expect(page.get_by_role("menuitem", name="Let Iago speak")).to_have_count(0)
    page.get_by_role("menuitem", name="Rate Iago").click()
    stage.locator(".her-dialog .star[data-star='4']").first.click()
    expect(stage.locator(".her-dialog .stamp")).to_contain_text("saved")
    stage.locator(".her-dialog .row.end button").click()
    expect(chip.locator(".rated")).to_be_visible()
    with database(app) as rows:
        assert rows.execute("select character, node_id from ratings where character != ''").fetchall() == [("Iago", None)]
    stored(stage).last.locator('[data-act="like"]').click()  # each turn has its own rating too
    expect(stored(stage).last.locator(".stamp")).to_contain_text("saved")


def test_your_turn_ends_the_playing(page: Page, app: Playground) -> None:
    stage = scene_tab(page, app)
    form = stage.locator("form.setup.books")
    form.locator("select").nth(2).select_option("Brabantio")
    form.locator(".primary").click()
    stage.locator(".steps .mode").select_option("round_robin")
    stage.locator('[data-act="auto-play"]').click()
    expect(stage.locator(".her-hint")).to_have_text("It is your turn, Brabantio.")
    settled(stage, 2)
    stage.locator(".steps .mode").select_option("manual")
    stage.locator('[data-act="next-turn"]').click()
    expect(stage.locator(".her-composer .her-error")).to_contain_text("Choose who speaks")
    settled(stage, 2)


def test_a_scene_in_chinese_on_a_phone(visitors: Callable[..., BrowserContext], app: Playground) -> None:
    page = visitors(locale="zh-CN", viewport={"width": 360, "height": 740}, has_touch=True).new_page()
    stage = scene_tab(page, app)
    expect(stage.locator("h1")).to_have_text("排一场戏")
    own_cast(stage, me="阿青", personas=("lin-daiyu", "sun-wukong"))
    stage.locator(".her-composer textarea").fill("林黛玉，你怎么看？")
    stage.locator(".her-composer .send").tap()
    settled(stage, 2)
    expect(stored(stage).last.locator("header h3")).to_have_text("林黛玉")
    expect(stored(stage).last.locator(".panel.thought")).to_be_hidden()
    stage.locator('[data-act="director"]').tap()
    expect(stored(stage).last.locator(".panel.thought")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    inner = stage.locator(".her-composer").evaluate("node => node.scrollWidth <= node.clientWidth")
    assert inner


def test_a_refused_scene_says_why(page: Page, app: Playground) -> None:
    stage = scene_tab(page, app)
    form = stage.locator("form.setup").first
    expect(form.locator(".primary")).to_be_disabled()
    form.locator('input[value="falstaff"]').check()
    expect(form.locator('input[value="lin-daiyu"]')).to_be_disabled()  # one language a scene
    form.locator("input[autocomplete=nickname]").fill("Sir John Falstaff")
    form.locator(".primary").click()
    expect(form.locator(".her-error")).to_contain_text("is a persona's name")
    assert Path(app.log).exists()
