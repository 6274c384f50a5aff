"""her/files/atomic.py: a file is replaced whole or stays as it was; hashes name what is in a file."""

import hashlib
from pathlib import Path

import pytest

from her.errors import InputError
from her.files.atomic import file_hash, file_hashes, replacing, sampled_hash


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with replacing(path) as file:
        file.write("old é")
    with replacing(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text("utf-8") == "old é"
    assert path.read_text("utf-8") == "new" and [each.name for each in path.parent.iterdir()] == ["b.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_after_an_error_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as file:
        file.write("new")
        raise RuntimeError("stop")
    assert path.read_text() == "old" and [each.name for each in tmp_path.iterdir()] == ["b.txt"]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"file/b\.txt' cannot be written \(.*\); nothing was changed; free disk space or choose another path"
    with pytest.raises(InputError, match=message), replacing(tmp_path / "file" / "b.txt"):
        pass


def test_hashes_are_sha256_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for path, text in ((tmp_path / "a", b"one"), (tmp_path / "sub" / "a", b"two")):
        path.write_bytes(text)
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    assert file_hashes([tmp_path / "a", tmp_path / "sub" / "a"]) == {
        "a": hashlib.sha256(b"one").hexdigest(),
        str(tmp_path / "sub" / "a"): hashlib.sha256(b"two").hexdigest(),
    }
    with pytest.raises(InputError, match=r"absent' cannot be read \(No such file"):
        file_hash(tmp_path / "absent")


def test_a_sampled_hash_tells_weights_apart(tmp_path: Path) -> None:
    small, large = tmp_path / "config.json", tmp_path / "weights.safetensors"
    small.write_text("{}")
    large.write_bytes(bytes(20_000_000))
    first = sampled_hash([small, large])
    assert first == sampled_hash([large, small]) != sampled_hash([small])
    large.write_bytes(b"\1" * 20_000_000)
    second = sampled_hash([small, large])
    large.write_bytes(b"\1" * 20_000_001)
    assert len({first, second, sampled_hash([small, large])}) == 3
    with pytest.raises(InputError, match="cannot be read"):
        sampled_hash([tmp_path / "none"])
