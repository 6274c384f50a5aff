"""What every test stands on: a home of its own, no keys, no network beyond this machine, and a Chromium for browser tests.

Browser tests use the fixtures `page` (a new visitor each) and `visitors` (more of them). A request that leaves this machine
is refused and noted in `outside`. Without Chromium they fail where HER_REQUIRE_BROWSER=1 and are left out with a note elsewhere.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from her.store import Generation, Store

# Before gradio or huggingface_hub is imported: they read these once.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

UNSET = (
    "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT",
    "HER_BACKEND",
    "HER_DATABASE_URL",
    "HER_OPENAI_API_KEY",
    "HER_PERSONAS",
    "HF_TOKEN",
    "OPENAI_API_KEY",
    "PORT",
    "SPACE_ID",
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_RAY = importlib.util.find_spec("ray") is not None
TORCH = "backend*local* accelerate* models_* sft_* shared_prefix chat_template sampled_turns browser_checkpoint"
WITHOUT_TORCH = [] if HAS_TORCH else [f"test_{name}.py" for name in TORCH.split()]
collect_ignore_glob = WITHOUT_TORCH + ([] if HAS_RAY else ["test_ray*.py"])
NOTES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Say what is left out, if anything. How fast an example is drawn depends on the machine, so no test fails of it."""
    settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("house")
    missing = {"the local backend": ("torch", HAS_TORCH), "Ray": ("ray", HAS_RAY)}
    config.stash[NOTES] = [
        f"tests of {what} are left out: {package} is not installed (make test)"
        for what, (package, there) in missing.items()
        if not there
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave browser tests out, with a note, where there is no Chromium and none is required."""
    if chromium_path() or os.environ.get("HER_REQUIRE_BROWSER") == "1":
        return
    browser = [item for item in items if item.get_closest_marker("browser")]
    if browser:
        items[:] = [item for item in items if item not in browser]
        config.hook.pytest_deselected(items=browser)
        config.stash[NOTES].append(f"{len(browser)} browser tests are left out: no Chromium found (apt-get install chromium)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the notes."""
    for note in config.stash[NOTES]:
        terminalreporter.write_line(f"note: {note}", yellow=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run of which every test was left out with a note is no failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and any("browser" in note for note in session.config.stash[NOTES]):
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HER_HOME of this test alone; no key or address of the developer's reaches it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HER_HOME", str(folder))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    return folder


def chromium_path() -> str | None:
    """Chromium of this machine, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """One Chromium for the whole run."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    assert path, "no Chromium on this machine; install one (apt-get install chromium) or unset HER_REQUIRE_BROWSER"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def outside() -> list[str]:
    """Addresses beyond this machine that pages of this test asked for; all of them were refused."""
    return []


@pytest.fixture
def visitors(chromium: "Browser", outside: list[str]) -> "Iterator[Callable[..., BrowserContext]]":
    """Makes browser contexts: each is another visitor, with no memory of the others."""
    contexts: list[BrowserContext] = []

    def guard(route: "Route") -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost", "::1"):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def visitor(**options: object) -> "BrowserContext":
        context = chromium.new_context(**options)  # type: ignore[arg-type]
        context.route("**/*", guard)
        contexts.append(context)
        return context

    yield visitor
    for context in contexts:
        context.close()


@pytest.fixture
def page(visitors: "Callable[..., BrowserContext]") -> "Page":
    """A page of a new visitor."""
    return visitors().new_page()


@pytest.fixture
def store(tmp_path: Path) -> "Iterator[Store]":
    """An empty store of this test; tests of the store itself make their own."""
    from tests.store.samples import opened

    store = opened(tmp_path)
    yield store
    store.close()


@pytest.fixture
def recorded(store: "Store", monkeypatch: pytest.MonkeyPatch) -> "list[Generation]":
    """The failed generations that were written."""
    written: list[Generation] = []
    record = store.record_failure

    def watched(visitor_id: str, generation: "Generation") -> None:
        record(visitor_id, generation)
        written.append(generation)

    monkeypatch.setattr(store, "record_failure", watched)
    return written
