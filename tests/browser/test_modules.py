"""her/ui/assets.py and the modules in her/ui/static: how the browser loads them."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, Response, expect

from her.ui import assets
from tests.playground import Playground

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("modules")) as playground:
        yield playground


def test_all_modules_are_fetched_once_and_at_once(page: Page, app: Playground) -> None:
    fetched: list[Response] = []
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "her-static" in message.text:
            problems.append(message.text)

    page.on("response", lambda answer: fetched.append(answer) if urlsplit(answer.url).path.endswith(".js") else None)
    page.on("console", note)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(app.url)
    expect(page.locator(".her[data-ready]")).to_be_visible()
    own = sorted(urlsplit(answer.url).path for answer in fetched if "/her-static/" in answer.url)
    assert own == [f"/her-static/{assets.version()}/{name}" for name in assets.modules()]
    # every module came by its link in the head; one without a link would be imported one round trip later
    assert page.locator('link[rel=modulepreload][href*="her-static"]').count() == len(own)
    assert problems == []


def test_modules_are_cached_for_ever_under_their_version(app: Playground) -> None:
    answer = httpx.get(f"{app.url}/her-static/{assets.version()}/main.js")
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    assert httpx.get(f"{app.url}/her-static/000000000000/main.js").status_code == 404


def test_a_page_whose_modules_are_gone_says_so(page: Page, app: Playground) -> None:
    page.route("**/her-static/*/main.js", lambda route: route.fulfill(status=404))
    page.goto(app.url)
    expect(page.locator(".her-home")).to_have_text("HER: the page could not be loaded; reload it.")
