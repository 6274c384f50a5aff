"""her/paths.py: what the environment says, and what holds without it."""

from pathlib import Path

import pytest

from her import paths
from her.errors import InputError


def test_home_is_created_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HER_HOME", str(tmp_path / "a" / "b"))
    assert paths.home() == tmp_path / "a" / "b" == paths.home()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HER_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.home() == tmp_path / ".her"


def test_a_home_that_cannot_be_created_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HER_HOME", str(tmp_path / "file" / "b"))
    with pytest.raises(InputError, match=r"HER_HOME is '.*/file/b', which cannot be created \(Not a directory\); name a folder"):
        paths.home()


def test_the_database_is_in_the_home_unless_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.database_url() == f"sqlite:///{home / 'her.sqlite3'}"
    monkeypatch.setenv("HER_DATABASE_URL", "postgresql://db/her")
    assert paths.database_url() == "postgresql://db/her"


def test_personas_are_those_of_the_checkout_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.personas_folder() == paths.ROOT / "personas" and paths.personas_folder().is_dir()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert paths.personas_folder() == tmp_path / "her" / "personas"
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("HER_PERSONAS", "~/mine")
    assert paths.personas_folder() == Path("/home/x/mine")


def test_a_space_listens_everywhere_and_loses_its_ratings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (paths.space_id(), paths.server_host(), paths.ephemeral()) == ("", "127.0.0.1", False)
    monkeypatch.setenv("SPACE_ID", "ann/play")
    assert (paths.space_id(), paths.server_host(), paths.ephemeral()) == ("ann/play", "0.0.0.0", True)
    monkeypatch.setenv("HER_DATABASE_URL", "postgresql://db/her")
    assert not paths.ephemeral()
    monkeypatch.setenv("GRADIO_SERVER_NAME", "10.0.0.1")
    assert paths.server_host() == "10.0.0.1"


@pytest.mark.parametrize(("value", "lent"), [("true", True), ("1", True), ("T", True), ("0", False), ("", False), ("yes", False)])
def test_zero_gpu(value: str, lent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert not paths.zero_gpu()
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert paths.zero_gpu() is lent


def test_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.server_port() == 7860
    monkeypatch.setenv("PORT", "65535")
    assert paths.server_port() == 65535
    monkeypatch.setenv("GRADIO_SERVER_PORT", "0")
    assert paths.server_port() == 0


@pytest.mark.parametrize("value", ["65536", "-1", "http", "8.0"])
def test_a_wrong_port_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", value)
    with pytest.raises(InputError, match=f"PORT is '{value}'; give a port number from 0 to 65535"):
        paths.server_port()
