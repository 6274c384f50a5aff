"""A tiny base model with a licence and a model card, made once for all tests of pipelines that only read or copy it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the base; tests copy it before they change it."""
    from tests.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("base"))
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "README.md").write_text("---\nlicense: mit\nbase_model: someone/tiny\n---\n# Tiny\n")
    return folder
