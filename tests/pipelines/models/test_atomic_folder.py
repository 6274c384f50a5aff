"""pipelines/models/atomic_folder.py: a folder appears completely or not at all, and a full disk is recognised."""

from pathlib import Path

import pytest

from her.errors import HerError
from pipelines.models.atomic_folder import atomic_folder, is_disk_full, last_good_folder


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/7: file write failed"), True),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(13, "Permission denied"), False),
        (HerError("no space left on device"), False),
        (ValueError("28"), False),
    ],
    ids=str,
)
def test_a_full_disk_is_recognised_through_wrapped_errors(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
    try:
        raise ValueError("while saving") from error
    except ValueError as outer:
        assert is_disk_full(outer) is full


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "model") as part:
        (part / "config.json").write_text("{}")
        raise PermissionError("no")
    assert not list(tmp_path.iterdir())
    assert last_good_folder(tmp_path) is None


def test_a_folder_is_replaced_only_when_all_is_written(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with atomic_folder(tmp_path / "model") as part:
            (part / "config.json").write_text(text)
            (part / "model.safetensors").touch(0o600)
            if text == "second":
                assert (tmp_path / "model" / "config.json").read_text() == "first"
    assert (tmp_path / "model" / "config.json").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "model.safetensors").stat().st_mode & 0o044, "readable as the folder is"
    assert last_good_folder(tmp_path) == tmp_path / "model"
