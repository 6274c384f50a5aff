"""pipelines/reward/attacks.py: attacks on honest turns, as negatives and for the evaluation."""

from her.judging.adversarial import ATTACKS
from her.judging.judge import VIEWER
from her.view import line
from pipelines.reward.attacks import attack_negatives, attacked_pairs, honest_turns
from pipelines.reward.planted import planted_preferences
from tests.pipelines.reward.pairs_for_tests import preference

PREFERENCES = planted_preferences(60, (), seed=1)


def test_every_kind_attacks_every_honest_turn() -> None:
    pairs = attacked_pairs(PREFERENCES, tuple(ATTACKS), 5, seed=1)
    assert len(pairs) == 5 * len(ATTACKS)
    again = attacked_pairs(PREFERENCES, tuple(ATTACKS), 5, seed=1)
    assert [pair.question.b.raw for pair in pairs] == [pair.question.b.raw for pair in again]
    assert all(line(pair.question.a, VIEWER) != line(pair.question.b, VIEWER) for pair in pairs)


def test_strangers_are_other_speakers_of_other_conversations() -> None:
    for honest in honest_turns(PREFERENCES, 20, seed=1):
        assert honest.stranger.speaker != honest.turn.speaker and honest.stranger_prompt != honest.prompt
        assert f"with {honest.other}" in honest.prompt[0].content
    assert honest_turns([preference(), preference("Sit.")], 2, seed=1) == []


def test_negatives_are_a_share_of_the_pairs_and_never_a_matter_of_taste() -> None:
    negatives = attack_negatives(PREFERENCES, ("colon", "empty", "twice_as_long"), 0.5, seed=1)
    assert len(negatives) == 20 and {each.verdict.judge for each in negatives} == {"attack:colon", "attack:empty"}
    assert attack_negatives(PREFERENCES, (), 0.5, seed=1) == []
