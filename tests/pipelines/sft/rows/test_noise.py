"""pipelines/sft/rows/noise.py: only trained tokens that are no tags are replaced, labels never change, and the seed decides."""

from pathlib import Path

import numpy as np
import pytest

from her.format.tags import WRITTEN
from pipelines.models.prefix_tree import IGNORED, Span, TokenRow
from pipelines.sft.rows.noise import Noise, add_noise, noise_for
from pipelines.sft.rows.prepare import PREPARED, TEXT_ROWS, load_prepared, prepare_rows
from pipelines.sft.rows.rows import load_rows
from tests.pipelines.sft.rows.small import small_options

IDS = list(range(100, 1100))
ROW = TokenRow(IDS, [IGNORED] * 500 + IDS[500:], list(range(1000)), [Span(0, 1000, 0, 0)])
PROTECTED = np.array([600, 700], np.int32)


def test_only_trained_unprotected_tokens_are_replaced_by_tokens_of_the_row() -> None:
    (noisy,) = add_noise([ROW], Noise(0.25, PROTECTED, seed=1))
    changed = [index for index, (old, new) in enumerate(zip(IDS, noisy.input_ids, strict=True)) if old != new]
    assert noisy.labels == ROW.labels
    assert all(index >= 500 and IDS[index] not in (600, 700) for index in changed)
    assert len(changed) / 498 == pytest.approx(0.25, abs=0.06)
    assert set(noisy.input_ids[500:]) <= set(IDS[500:])


def test_each_pass_has_other_noise_and_the_seed_decides() -> None:
    first, second = add_noise([ROW], Noise(0.25, PROTECTED, seed=1), passes=1.5)
    assert first != second
    assert [first, second] == list(add_noise([ROW], Noise(0.25, PROTECTED, seed=1), passes=2))
    assert [first, second] != list(add_noise([ROW], Noise(0.25, PROTECTED, seed=2), passes=2))


def test_without_noise_rows_are_written_once_and_unchanged() -> None:
    assert list(add_noise([ROW], Noise(0.0, PROTECTED, seed=1), passes=3)) == [ROW]


@pytest.mark.whole
def test_prepared_rows_have_noise_where_they_are_trained_and_never_in_tags(tmp_path: Path) -> None:
    noisy, plain = (small_options({"token_noise": share, "pretraining_steps": 1}) for share in (0.25, 0.0))
    assert prepare_rows(plain, tmp_path / "plain") == prepare_rows(noisy, tmp_path / "noisy")
    right, wrong = (load_prepared(tmp_path / name) for name in ("plain", "noisy"))
    protected = set(noise_for(noisy, right.template).protected.tolist())
    words = right.template.tokenizer
    assert {*words.encode(WRITTEN["role_action"][1]), *words.encode("user<|im_end|>\n")} <= protected
    assert wrong.held_out.to_dict() == right.held_out.to_dict(), "evaluation has no noise"
    text_rows = [load_rows(tmp_path / name / PREPARED / TEXT_ROWS) for name in ("plain", "noisy")]
    for before, after in ((right.train, wrong.train), text_rows):
        assert after["labels"][:] == before["labels"][:]
        places = [
            (label, old, new)
            for rows in zip(before["labels"], before["input_ids"], after["input_ids"], strict=True)
            for label, old, new in zip(*rows, strict=True)
        ]
        changed = [(label, old) for label, old, new in places if old != new]
        assert all(label != IGNORED and old not in protected for label, old in changed)
        trained = sum(label != IGNORED and old not in protected for label, old, _ in places)
        assert len(changed) / trained == pytest.approx(0.25, abs=0.03)
