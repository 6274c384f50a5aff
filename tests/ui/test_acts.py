"""her/ui/acts.py and her/ui/runs.py: the two tables from request to handler are complete and pair the right types."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import pytest

from her.chat.service import ChatService
from her.ui import acts, requests, runs

TABLES = [(acts.HANDLERS, requests.ActRequest), (runs.STARTERS, requests.RunRequest)]


@pytest.mark.parametrize(("table", "union"), TABLES, ids=["act", "run"])
def test_every_request_has_the_handler_that_takes_it(table: Mapping[type, Callable[..., Any]], union: Any) -> None:
    assert set(table) == set(get_args(union))
    assert len(set(table.values())) == len(table)
    for request, handler in table.items():
        assert inspect.iscoroutinefunction(handler)
        hints = get_type_hints(handler)
        assert (hints["service"], hints["request"]) == (ChatService, request), handler.__name__
