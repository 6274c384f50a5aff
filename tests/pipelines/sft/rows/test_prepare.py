"""pipelines/sft/rows/prepare.py and rows.py: rows are written whole, written again after a kill, and read from disk."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from her.errors import HerError, InputError
from her.format.tags import WRITTEN
from pipelines.models import chat_template as templates
from pipelines.models.prefix_tree import IGNORED
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows import prepare as preparing
from pipelines.sft.rows import rows
from pipelines.sft.rows.noise import noise_for
from pipelines.sft.rows.rows import encode_samples, load_rows
from tests.pipelines.models.test_chat_template import PLAN, sample, tokenizer
from tests.tiny import make_tiny

pytestmark = pytest.mark.whole


def options(**settings: Any) -> TrainingOptions:
    shape = {"hidden": 16, "intermediate": 16, "layers": 1, "heads": 1, "kv_heads": 1, "head": 16, "context": 8192}
    samples = {"personas": ("bundled",), "chats": 1, "exchanges": 2, "held_out_share": 0.1}
    return TrainingOptions.model_validate({"model": {"shape": {**shape, "vocabulary": 600}}, "samples": samples, **settings})


def test_a_preparation_that_a_kill_cut_short_is_made_anew_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    made = preparing.prepare_rows(options(), tmp_path)
    home = tmp_path / preparing.PREPARED
    laid = preparing.load_prepared(tmp_path)
    assert sum(map(len, laid.train["input_ids"])) == made.laid_tokens < made.expanded_tokens
    assert sum(label != -100 for labels in laid.held_out["labels"] for label in labels) > 0
    (home / "facts.json").unlink()
    (home / "train" / "rows.arrow").write_bytes(b"half")
    assert preparing.prepare_rows(options(), tmp_path) == made
    shutil.rmtree(home / "held_out")
    assert preparing.prepare_rows(options(), tmp_path) == made, "what is whole is not read again"
    assert preparing.load_prepared(tmp_path).held_out is None


def test_a_process_that_does_not_see_the_first_ones_disk_says_so(tmp_path: Path) -> None:
    with pytest.raises(HerError, match="HER_HOME has to be a folder that all nodes share"):
        preparing.load_prepared(tmp_path)


def test_words_are_read_wrong_only_where_they_are_trained_and_never_tags(tmp_path: Path) -> None:
    shape = options().model.shape
    noisy = options(model={"shape": {**shape.model_dump(), "token_noise": 0.25, "pretraining_steps": 1}})
    plain = options(model={"shape": {**shape.model_dump(), "pretraining_steps": 1}})
    assert preparing.prepare_rows(plain, tmp_path / "plain") == preparing.prepare_rows(noisy, tmp_path / "noisy")
    right, wrong = (preparing.load_prepared(tmp_path / name) for name in ("plain", "noisy"))
    kept = set(noise_for(noisy, right.template).protected.tolist())
    words = right.template.tokenizer
    assert {*words.encode(WRITTEN["role_action"][1]), *words.encode("user<|im_end|>\n")} <= kept
    assert wrong.held_out.to_dict() == right.held_out.to_dict(), "what is evaluated is read as it is"
    read = [load_rows(tmp_path / name / preparing.PREPARED / preparing.TEXT_ROWS) for name in ("plain", "noisy")]
    for before, after in ((right.train, wrong.train), read):
        assert after["labels"][:] == before["labels"][:]
        places = [
            (label, old, new)
            for rows in zip(before["labels"], before["input_ids"], after["input_ids"], strict=True)
            for label, old, new in zip(*rows, strict=True)
        ]
        other = [(label, old) for label, old, new in places if old != new]
        assert all(label != IGNORED and old not in kept for label, old in other)
        assert len(other) / sum(label != IGNORED and old not in kept for label, old, _ in places) == pytest.approx(0.25, abs=0.03)


def test_a_full_disk_while_preparing_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preparing, "write_rows", full)
    with pytest.raises(HerError, match="no room left to save in .*no checkpoint was saved before"):
        preparing.prepare_rows(options(), tmp_path)
    assert not (tmp_path / preparing.PREPARED / "facts.json").exists()


def test_samples_that_tell_no_conversation_share_nothing_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "AT_ONCE", 2)
    alone = [sample(f"Tom: {word}?", PLAN + "Mara: Aye.").model_copy(update={"transcript": ""}) for word in "abcde"]
    assert len({each.key for each in encode_samples(alone, templates.ChatTemplate(tokenizer()))}) == 5


def test_the_context_of_a_base_that_is_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(tmp_path / "base", context=640)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert preparing.context_of(options(model={"base": "~/base"})) == 640
    (tmp_path / "base" / "config.json").write_text('{"model_type": "bloom"}')
    with pytest.raises(InputError, match="says no max_position_embeddings"):
        preparing.context_of(options(model={"base": "~/base"}))
    (tmp_path / "base" / "config.json").write_text('{"model_type": "nobody knows"}')
    with pytest.raises(InputError, match="cannot be read"):
        preparing.context_of(options(model={"base": "~/base"}))
