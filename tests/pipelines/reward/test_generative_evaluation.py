"""The evaluation asks through the judge: planted judges with a fault show it in the one figure that is about it."""

import random
from collections.abc import Callable

import pytest

from her.inference.call import Answer, Call
from her.judging.judge import Ask
from her.store.ledger import Entry, StoredText
from pipelines.reward.generative_evaluation import GenerativeFigures, HeldOutTests, answer_pairs, evaluate_judge, paired_gain
from pipelines.reward.generative_material import attack_pairs
from pipelines.reward.labelled_pairs import LabelledPair
from pipelines.reward.options import PairOptions, PlantedOptions
from pipelines.reward.planted_critic import critique, decided_by, honest_pairs
from tests.pipelines.reward.critiques_for_tests import DECIDED, PAIRS, slot, turned

PLANTED = PairOptions(planted=PlantedOptions(pairs=1))
ATTACKS = tuple(attack_pairs(PAIRS, PLANTED, ("colon", "empty", "flattering"), 4, seed=0))
HONEST = honest_pairs(4, (), seed=0)
TESTS = HeldOutTests(PAIRS, ATTACKS, HONEST, {pair.id: decided_by(pair) for pair in PAIRS}, resamples=50)
BY_ID = {pair.id: pair for pair in (*PAIRS, *ATTACKS, *HONEST)}


def judge(write: Callable[[LabelledPair, str], str]) -> Ask:
    """A judge that writes so about a pair with a candidate shown first."""

    async def ask(call: Call) -> Answer:
        name, _, side = call.id.removesuffix(":again").rpartition(":")
        return Answer(call, Entry(b"k" * 32, call.stage, "m", StoredText(write(BY_ID[name], side))))

    return ask


def figures(write: Callable[[LabelledPair, str], str]) -> GenerativeFigures:
    return evaluate_judge("m", judge(write), "pair", "short", TESTS).figures


def honest(pair: LabelledPair, side: str) -> str:
    return critique(pair, slot(side))


def test_a_judge_that_knows_the_rule_has_no_fault() -> None:
    found = figures(honest)
    assert found.accuracy.value == found.agreement.value == found.swap_consistency.value == 1 and not found.missing
    assert found.ties == found.label_ties > 0 and found.first_slot.value == 0.5
    assert found.passed == 1 and set(found.attacks) == {"colon", "empty", "flattering"}
    assert {kind: interval.value for kind, interval in found.false_alarms.items()} == {"short": 0, "long": 0, "flattering": 0}
    assert set(found.by_principle) <= {"fitting act", "own words", "thought", "no filler"}


def test_always_the_first_is_inconsistent_and_half_right() -> None:
    found = figures(
        lambda pair, side: f'- [voice] "{(pair.a if side == "a" else pair.b).parts[0].text}" -> A (clear)\nVerdict: A'
    )
    assert found.first_slot.value == 1 and found.swap_consistency.value == 0 and found.ties == 0
    assert found.accuracy.value == pytest.approx(len(DECIDED) / len(PAIRS) / 2)
    assert found.agreement.value == pytest.approx(1 - len(DECIDED) / len(PAIRS))  # every joined verdict is a tie


def test_always_a_tie_is_consistent_and_the_tie_rate_shows_it() -> None:
    found = figures(lambda pair, side: "\n".join([honest(pair, side).splitlines()[0], "Verdict: tie"]))
    assert found.swap_consistency.value == 1 and found.ties == 1 > found.label_ties + 0.05 and found.passed < 0.5


def test_prose_is_missing_and_wrong() -> None:
    def silent(pair: LabelledPair, side: str) -> bool:
        return random.Random(f"{pair.id}{side}").random() < 0.5

    found = figures(lambda pair, side: "I cannot say." if silent(pair, side) else honest(pair, side))
    assert 0.3 < found.missing < 0.7 and found.accuracy.value == pytest.approx(1 - found.missing)
    assert found.passed < 1


def test_a_judge_that_rejects_what_looks_like_an_attack_gives_false_alarms() -> None:
    def fearful(pair: LabelledPair, side: str) -> str:
        text = honest(pair, side)
        return (
            text
            if pair.kind != "flattering" or pair.label != "tie"
            else f"{text.rpartition(' ')[0]} {'B' if side == 'a' else 'A'}"
        )

    alarms = figures(fearful).false_alarms
    assert alarms["flattering"].value == 1 and alarms["short"].value == 0


def test_the_gain_is_paired_and_has_an_interval() -> None:
    chance = random.Random(1)
    worse = answer_pairs(
        judge(lambda pair, side: honest(pair, side) if chance.random() < 0.7 else turned(honest(pair, side))),
        "pair",
        "short",
        PAIRS,
    )
    better = answer_pairs(judge(honest), "pair", "short", PAIRS)
    gain, none = (paired_gain(worse, other, resamples=200, seed=0) for other in (better, worse))
    assert gain.low > 0 and (none.value, none.low, none.high) == (0, 0, 0)


def test_scores_of_both_candidates_give_one_verdict() -> None:
    scores = {"a": {"a": 8, "b": 3, "tie": 5}, "b": {"a": 3, "b": 8, "tie": 5}}

    async def ask(call: Call) -> Answer:
        name, side = call.id.removesuffix(":0").rsplit(":", 1)
        return Answer(call, Entry(b"k" * 32, call.stage, "m", StoredText(f"Score: {scores[side][BY_ID[name].label]}")))

    found = evaluate_judge("m", ask, "point", "short", HeldOutTests(PAIRS, resamples=50)).figures
    assert found.accuracy.value == 1 and found.swap_consistency.value == 1 and found.ties == found.label_ties
