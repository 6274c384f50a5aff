"""pipelines/sft/rows/prepare.py: prepared rows are complete, repeated after a kill, and read from disk afterwards."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from her.errors import HerError, InputError
from pipelines.sft.rows import prepare
from pipelines.sft.rows.prepare import PREPARED, context_of, load_prepared, prepare_rows
from tests.pipelines.sft.rows.small import small_options
from tests.tiny import make_tiny

pytestmark = pytest.mark.whole


def test_an_incomplete_preparation_is_repeated_and_a_complete_one_is_kept(tmp_path: Path) -> None:
    facts = prepare_rows(small_options(), tmp_path)
    home = tmp_path / PREPARED
    prepared = load_prepared(tmp_path)
    assert sum(map(len, prepared.train["input_ids"])) == facts.laid_tokens < facts.expanded_tokens
    assert sum(label != -100 for labels in prepared.held_out["labels"] for label in labels) > 0
    assert {"audit.jsonl", "audit.md"} <= {path.name for path in home.iterdir()}
    (home / "facts.json").unlink()
    (home / "train" / "rows.arrow").write_bytes(b"half")
    assert prepare_rows(small_options(), tmp_path) == facts
    shutil.rmtree(home / "held_out")
    assert prepare_rows(small_options(), tmp_path) == facts, "a complete preparation is not repeated"
    assert load_prepared(tmp_path).held_out is None


def test_a_process_that_does_not_see_the_disk_of_the_first_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(HerError, match="HER_HOME must be a folder that all nodes share"):
        load_prepared(tmp_path)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "write_rows", full)
    with pytest.raises(HerError, match="no room left to save in .*no checkpoint was saved before"):
        prepare_rows(small_options(), tmp_path)
    assert not (tmp_path / PREPARED / "facts.json").exists()


def test_the_context_of_a_base_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(tmp_path / "base", context=640)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert context_of(small_options(model={"base": "~/base"})) == 640
    (tmp_path / "base" / "config.json").write_text('{"model_type": "bloom"}')
    with pytest.raises(InputError, match="has no max_position_embeddings"):
        context_of(small_options(model={"base": "~/base"}))
    (tmp_path / "base" / "config.json").write_text('{"model_type": "nobody knows"}')
    with pytest.raises(InputError, match="cannot be read"):
        context_of(small_options(model={"base": "~/base"}))
