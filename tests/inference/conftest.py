"""Fixtures of the tests of her/inference."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from her.inference.caller import Ledger
from tests.inference.calls import echo
from tests.servers import ModelServer, Script


@pytest.fixture
def servers() -> Iterator[Callable[..., ModelServer]]:
    """Return a function that starts a server by the fields of its script."""
    with ExitStack() as stack:

        def start(**script: Any) -> ModelServer:
            return stack.enter_context(ModelServer(Script(**{"text": echo, **script})))

        yield start


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Return an open ledger."""
    with Ledger(tmp_path / "calls.sqlite3") as opened:
        yield opened
