"""Fixtures of all tests: an empty HER_HOME, no keys, no network beyond this machine, and a Chromium for browser tests.

Browser tests use the fixtures `page` (a new visitor each) and `visitors` (several of them). A request to another machine is
refused and listed in `outside`. Without Chromium they fail when HER_REQUIRE_BROWSER=1, and are left out with a note otherwise.
Without torch or Ray the tests that need them are left out with a note.
"""

import ast
import gc
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from _pytest.mark.expression import Expression
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from her.store import Generation, Store

# Set before gradio or huggingface_hub is imported: they read them once.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
# Set before torch is imported: models of this size gain nothing from a second thread, and on a busy machine two threads wait for
# each other (30 tests of shared prefixes at a load of 15: 200 s with one thread, not done after 20 minutes with two).
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
OPTIONAL = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "pyarrow", "ray", "matplotlib")
MISSING = frozenset(name for name in OPTIONAL if importlib.util.find_spec(name) is None)
"""Packages of the extras `train` and `ray` that are not installed."""
MAY_NEED_THEM = (
    "tests/pipelines/",
    "tests/training_data/",
    "tests/judging/test_card_",
    "tests/backends/test_local",
    "tests/browser/test_checkpoint",
)
"""Tests that are left out when they need a missing package. Elsewhere that is a failure: the playground needs none of them."""
MARK = re.compile(r"\bmark\.(whole|browser)\b")
NOTES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Load the hypothesis profile: the same examples in every run, no deadline (it would depend on the load).

    `HER_SEARCH=1` draws others in each run, and many more, to look for faults.
    """
    gc.disable()  # until the tests are collected: imports make nothing that could be freed
    search = os.environ.get("HER_SEARCH") == "1"
    examples = 500 if search else 30
    slow = [HealthCheck.too_slow]
    settings.register_profile("her", deadline=None, derandomize=not search, max_examples=examples, suppress_health_check=slow)
    settings.load_profile("her")
    config.stash[NOTES] = []
    if MISSING:
        names = ", ".join(sorted(MISSING))
        config.stash[NOTES].append(f"tests that need {names} are left out: not installed (make test)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a test file that `-m` deselects as a whole, or that imports a missing package at its top."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text("utf-8")
    if not may_select(config.option.markexpr, text):
        return True
    if not MISSING:
        return None
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return True if names & MISSING else None


def may_select(expression: str, text: str) -> bool:
    """Return whether `-m EXPRESSION` may select a test of a file with this text.

    The file is not imported to find out: files of whole runs import torch, TRL and more, for 20 s, of which units need little.
    """
    if not expression:
        return True
    of_all = {name for line in text.splitlines() if line.startswith("pytestmark") for name in MARK.findall(line)}
    of_some = {*MARK.findall(text)} - of_all
    compiled = Expression.compile(expression)
    subsets = chain.from_iterable(combinations(of_some, size) for size in range(len(of_some) + 1))
    return any(compiled.evaluate(lambda name, **_: name in {*of_all, *some}) for some in subsets)  # noqa: B023  (called at once)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test that imports a missing package while it runs."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if item.nodeid.startswith(MAY_NEED_THEM) and (error.name or "").partition(".")[0] in MISSING:
            pytest.skip(f"{error.name} is not installed")
        raise


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out browser tests without a Chromium, and whole runs of a pipeline without torch."""
    if not chromium_path() and os.environ.get("HER_REQUIRE_BROWSER") != "1":
        browser = [item for item in items if item.get_closest_marker("browser")]
        if browser:
            _deselect(config, items, browser)
            config.stash[NOTES].append(f"{len(browser)} browser tests are left out: no Chromium found (apt-get install chromium)")
    if "torch" in MISSING:  # such a run is a process of its own, so its import error is not seen above
        markers = ("whole", "browser")
        runs = [item for item in items if item.nodeid.startswith(MAY_NEED_THEM) and any(map(item.get_closest_marker, markers))]
        _deselect(config, items, runs)


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collection: going through it again and again takes a fifth of the units' time.

    Python's own threshold of 700 new objects takes another tenth: a test that validates records makes thousands.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def _deselect(config: pytest.Config, items: list[pytest.Item], deselected: list[pytest.Item]) -> None:
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the notes."""
    for note in config.stash[NOTES]:
        terminalreporter.write_line(f"note: {note}", yellow=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the notes of a worker of pytest-xdist: the workers collect, and the main process prints."""
    notes = node.config.stash[NOTES]
    notes += [note for note in getattr(node, "workeroutput", {}).get("notes", ()) if note not in notes]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Succeed when the only selected tests were browser tests that were left out with a note."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["notes"] = session.config.stash[NOTES]
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and any("browser" in note for note in session.config.stash[NOTES]):
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set HER_HOME to an empty folder and unset the developer's keys and addresses."""
    # Not `mktemp`, which reads the names of all earlier folders to number the next one: 4 ms a test after 3,000 tests.
    folder = Path(tempfile.mkdtemp(prefix="home", dir=tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("HER_HOME", str(folder))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    return folder


def chromium_path() -> str | None:
    """Return the path of this machine's Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """Start one Chromium for the session."""
    from playwright.sync_api import sync_playwright

    path = chromium_path()
    assert path, "no Chromium on this machine; install one (apt-get install chromium) or unset HER_REQUIRE_BROWSER"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def outside() -> list[str]:
    """Collect the addresses on other machines that pages of this test requested; all of them were refused."""
    return []


@pytest.fixture
def visitors(chromium: "Browser", outside: list[str]) -> "Iterator[Callable[..., BrowserContext]]":
    """Return a function that opens a browser context; each is another visitor, without the storage of the others."""
    contexts: list[BrowserContext] = []

    def guard(route: "Route") -> None:
        address = urlsplit(route.request.url)
        if address.scheme == "file" or address.hostname in ("127.0.0.1", "localhost", "::1"):
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
    """Open a page of a new visitor."""
    return visitors().new_page()


@pytest.fixture
def store(tmp_path: Path) -> "Iterator[Store]":
    """Open an empty store."""
    from tests.store.samples import opened

    store = opened(tmp_path)
    yield store
    store.close()


@pytest.fixture
def recorded(store: "Store", monkeypatch: pytest.MonkeyPatch) -> "list[Generation]":
    """Collect the failed generations that are written to the store."""
    written: list[Generation] = []
    record = store.record_failure

    def watched(visitor_id: str, generation: "Generation") -> None:
        record(visitor_id, generation)
        written.append(generation)

    monkeypatch.setattr(store, "record_failure", watched)
    return written
