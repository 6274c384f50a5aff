"""pipelines/judge_check/planted.py: one fault a pair, in the candidate that loses; both languages, no favoured place."""

from collections import Counter

import pytest

from her.judging.labelled import swapped
from pipelines.judge_check.planted import FAULTS, FILLERS, RIGHT, planted_pairs


def test_the_losing_candidate_has_the_fault_that_is_named() -> None:
    for pair in planted_pairs(80, 1):
        good, bad = (pair.question.a, pair.question.b) if pair.label == "a" else (pair.question.b, pair.question.a)
        assert good.speaker == bad.speaker and pair.dimension in FAULTS
        if pair.dimension == "layers":
            assert good.text("role_thinking") and not bad.text("role_thinking") and good.text("speech") == bad.text("speech")
        elif pair.dimension == "details_description":
            assert bad.text("speech").startswith(FILLERS[pair.question.language])
        else:
            assert good.text("speech") != bad.text("speech")


@pytest.mark.whole
def test_languages_places_and_faults_are_mixed_and_votes_err() -> None:
    pairs = planted_pairs(200, 1)
    assert pairs == planted_pairs(200, 1) and pairs != planted_pairs(200, 2)
    assert Counter(pair.dimension for pair in pairs) == dict.fromkeys(FAULTS, 50)
    assert min(Counter(pair.question.language for pair in pairs).values()) > 20
    assert 70 < Counter(pair.label for pair in pairs)["a"] < 130
    votes = [vote == pair.label for pair in pairs for vote in pair.votes]
    assert len(votes) == 600 and abs(sum(votes) / 600 - RIGHT) < 0.05
    assert all(vote in (pair.label, swapped(pair.label or "tie")) for pair in pairs for vote in pair.votes)
    assert len({pair.question.id for pair in pairs}) == 200
