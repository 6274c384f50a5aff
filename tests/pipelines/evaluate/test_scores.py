"""Test the line of scores.jsonl: a score or a reason, never both, never neither; one line reads back as it was."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from her.errors import InputError
from her.files import jsonl
from pipelines.evaluate.scores import CaseScore, Flaw


def case_score(**changes):
    values = {
        "case": "King Lear-17-0",
        "book": "King Lear",
        "protocol": "corrected",
        "model": "actor",
        "dimension": "anthropomorphism",
        "score": 66.5,
        "rounds": 11,
        "characters": 4,
    }
    return CaseScore(**{**values, **changes})


def test_a_line_reads_back_as_it_was(tmp_path: Path):
    flaw = Flaw(turn="t1", kind="Self-identity", severity=3, text="She calls the king by her own name.")
    scores = [case_score(flaws=(flaw,)), case_score(score=None, missing="invalid_reply: prose")]
    jsonl.write(tmp_path / "scores.jsonl", scores)
    assert list(jsonl.read(tmp_path / "scores.jsonl", CaseScore)) == scores


@pytest.mark.parametrize("changes", [{"score": None}, {"score": None, "missing": ""}, {"missing": "a reason beside a score"}])
def test_a_score_and_a_reason_exclude_each_other(changes):
    with pytest.raises(ValidationError, match="has a reason"):
        case_score(**changes)


def test_a_score_that_is_no_number_is_refused_when_it_is_read(tmp_path: Path):
    jsonl.write(tmp_path / "scores.jsonl", [case_score(score=float("nan"))])
    with pytest.raises(InputError, match="line 1"):
        list(jsonl.read(tmp_path / "scores.jsonl", CaseScore))
