"""Patience of the browser tests: a wait ends when the page is ready, so a long limit costs time only where a test fails."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

SECONDS = 60


@pytest.fixture(scope="package", autouse=True)
def _patient_expectations() -> Iterator[None]:
    expect.set_options(timeout=SECONDS * 1000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def visitors(visitors: Callable[..., BrowserContext]) -> Callable[..., BrowserContext]:
    """The visitors of tests/conftest.py, whose actions wait as long as the expectations."""

    def patient(**options: object) -> BrowserContext:
        context = visitors(**options)
        context.set_default_timeout(SECONDS * 1000)
        return context

    return patient
