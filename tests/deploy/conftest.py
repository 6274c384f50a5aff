"""A local Hub that this process publishes to, with an empty home."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import WRITER, Hub, running_hub


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("HER_HOME", str(folder))
    return folder


@pytest.fixture
def hub(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with running_hub(tmp_path / "hub") as server:
        for name, value in (("HF_HUB_OFFLINE", False), ("ENDPOINT", server.address), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(constants, name, value)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        yield server
