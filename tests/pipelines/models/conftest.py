"""A tiny base model with a licence and a model card, shared by the tests of loading, merging and saving."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.models.loading import load_tokenizer
from pipelines.models.options import ModelOptions
from tests.tiny import make_tiny


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the base; tests copy it before they change it."""
    folder = make_tiny(tmp_path_factory.mktemp("base"))
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: someone/tiny\n---\n# Tiny\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    """Return the base's tokenizer with the ChatML template."""
    return load_tokenizer(ModelOptions(base=str(base)))
