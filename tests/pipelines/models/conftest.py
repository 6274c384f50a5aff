"""The tokenizer of the tiny base model (tests/pipelines/conftest.py)."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.models.loading import load_tokenizer
from pipelines.models.options import ModelOptions


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    """Return the base's tokenizer with the ChatML template."""
    return load_tokenizer(ModelOptions(base=str(base)))
