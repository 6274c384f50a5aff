"""her/ui/assets.py and the modules in her/ui/static: how the browser loads them."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from her.ui import assets
from tests.playground import Playground

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("modules")) as playground:
        yield playground


def test_all_modules_are_fetched_once_and_before_gradio_draws_the_page(page: Page, app: Playground) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(
        "new MutationObserver((_, watcher) => { if (document.querySelector('.her')) {"
        " window.drawn = performance.now(); watcher.disconnect(); } })"
        ".observe(document, { subtree: true, childList: true })"
    )
    page.goto(app.url)
    expect(page.locator(".her[data-ready]")).to_be_visible()
    fetched = page.evaluate(
        "performance.getEntriesByType('resource').filter((entry) => /her-static.*js$/.test(entry.name))"
        ".map((entry) => [new URL(entry.name).pathname, entry.startTime])"
    )
    assert sorted(path for path, _ in fetched) == [
        f"/her-static/{assets.version()}/{name}" for name in assets.modules() if name not in assets.LATER
    ]
    assert max(start for _, start in fetched) < page.evaluate("window.drawn")
    assert problems == []


def is_problem(message: ConsoleMessage) -> bool:
    """Return true for an error that names a file of ours."""
    return message.type == "error" and "her-static" in message.text


def test_modules_are_cached_for_ever_under_their_version(app: Playground) -> None:
    answer = httpx.get(f"{app.url}/her-static/{assets.version()}/main.js")
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert "javascript" in answer.headers["content-type"]
    assert httpx.get(f"{app.url}/her-static/000000000000/main.js").status_code == 404


def test_a_page_whose_modules_are_gone_says_so(page: Page, app: Playground) -> None:
    page.route("**/her-static/*/main.js", lambda route: route.fulfill(status=404))
    page.goto(app.url)
    expect(page.locator(".her-home")).to_have_text("HER: the page could not be loaded; reload it.")
