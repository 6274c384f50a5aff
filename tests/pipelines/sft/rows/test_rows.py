"""pipelines/sft/rows/rows.py: which samples may share their history, and what is written and read back."""

from pathlib import Path

import numpy as np
import pytest

from her.types import Sample
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.prefix_tree import Encoded
from pipelines.sft.rows import rows
from pipelines.sft.rows.rows import encode_samples, load_rows, save_rows, shared_rows, text_rows, with_keys
from tests.pipelines.models.test_chat_template import PLAN, sample, tokenizer


def encoded(key: str, prompt: int, target: int) -> Encoded:
    return Encoded(key, np.arange(prompt, dtype=np.int32), np.full(target, 7, dtype=np.int32))


@pytest.mark.whole
def test_samples_without_a_conversation_share_nothing_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "AT_ONCE", 2)
    alone = [sample(f"Tom: {word}?", PLAN + "Mara: Aye.").model_copy(update={"transcript": ""}) for word in "abcde"]
    assert len({each.key for each in encode_samples(alone, ChatTemplate(tokenizer()))}) == 5


def test_samples_share_a_key_by_conversation_and_speaker() -> None:
    def turn(transcript: str, speaker: str) -> Sample:
        return sample("Tom: Well?", "Aye.").model_copy(update={"transcript": transcript, "speaker": speaker})

    samples = [turn("a", "Ann"), turn("a", "Bob"), turn("a", "Ann"), turn("", "Ann"), turn("", "Ann")]
    ids = np.zeros(1, np.int32)
    keys = [each.key for each in with_keys(samples, [(ids, ids)] * 5, first=10)]
    assert keys == ["a Ann", "a Bob", "a Ann", "13", "14"]


def test_rows_hold_all_targets_in_a_seeded_order() -> None:
    samples = [encoded(str(number), 10 + number, 5) for number in range(20)]
    first, again, other = (list(shared_rows(samples, 60, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(len(row.input_ids) <= 60 for row in first)
    assert sum(label == 7 for row in first for label in row.labels) == 20 * 5


def test_a_passage_longer_than_a_text_row_gets_a_longer_row() -> None:
    passages = [encoded("a", 1, 2000), encoded("b", 1, 10)]
    assert max(len(row.input_ids) for row in text_rows(passages, 1)) == 2001


@pytest.mark.whole
def test_rows_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    written = list(shared_rows([encoded("a", 10, 5), encoded("a", 20, 5)], 100, 1))
    save_rows(tmp_path / "train", iter(written))
    (row,) = load_rows(tmp_path / "train")
    assert row == {**written[0]._asdict(), "spans": [list(span) for span in written[0].spans]}
    assert load_rows(tmp_path / "absent") is None
