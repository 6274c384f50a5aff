"""her/ui/build.py: starting the playground."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from her.ui.build import claim_gpu


def test_a_zero_gpu_space_names_a_function_and_nothing_else_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[Any] = []
    monkeypatch.setitem(sys.modules, "spaces", None)  # an import of it fails now, as on a laptop
    claim_gpu()
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=claimed.append))
    claim_gpu()
    assert [one() for one in claimed] == ["warm"]
