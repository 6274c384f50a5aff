"""her/feedback/agreement.py: agreement of people, of a rater with themselves, of people with a judge, with intervals."""

import math
import random

import numpy as np
import pytest

from her.feedback.agreement import consistency, judge_agreement, people_agreement
from her.feedback.raters import RaterVote
from her.statistics import krippendorff_alpha
from her.types import Outcome

LABELS: tuple[Outcome, ...] = ("a", "b", "tie", "both_bad")


def vote(rater: str, pair: str, winner: Outcome, **fields: object) -> RaterVote:
    return RaterVote.model_validate({"rater": rater, "pair": pair, "winner": winner, "conversation": pair[0], **fields})


def crowd(seed: int, raters: int = 5, pairs: int = 40, noise: float = 0.3) -> list[RaterVote]:
    """Return votes of raters who mostly agree; some pairs are not voted on by all."""
    chance = random.Random(seed)
    truth = {f"{number % 10}p{number}": chance.choice(LABELS[:3]) for number in range(pairs)}
    return [
        vote(f"r{number}", pair, chance.choice(LABELS) if chance.random() < noise else label)
        for number in range(raters)
        for pair, label in truth.items()
        if chance.random() < 0.7
    ]


@pytest.mark.whole
@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_that_of_evalica(seed: int) -> None:
    votes = crowd(seed)
    table = {f"r{number}": {each.pair: each.winner for each in votes if each.rater == f"r{number}"} for number in range(5)}
    found = people_agreement(votes, resamples=20)
    assert found.alpha.value == pytest.approx(krippendorff_alpha(table))  # type: ignore[arg-type]
    assert found.alpha.low < found.alpha.value < found.alpha.high and found.raters == 5


def test_agreement_is_counted_over_people_on_one_pair() -> None:
    votes = [vote("x", "1p", "a"), vote("y", "1p", "a"), vote("z", "1p", "b"), vote("x", "2p", "a"), vote("x", "3p", "a")]
    found = people_agreement(votes, resamples=20)
    assert (found.pairs, found.raters, found.agreement.value) == (1, 3, pytest.approx(1 / 3))


def test_checks_are_no_opinions_and_nobody_agrees_alone() -> None:
    lonely = [vote("x", "1p", "a"), vote("x", "1p", "a", left="b", repeat=True), vote("y", "1c", "a", worse="b")]
    lonely += [vote("x", "1c", "a", worse="b")]
    found = people_agreement(lonely, resamples=20)
    assert found.pairs == 0 and math.isnan(found.alpha.value)


def test_intervals_are_over_raters_and_conversations_and_not_over_votes() -> None:
    votes = crowd(1, pairs=200)
    clustered = people_agreement(votes, resamples=200).agreement
    width = 2 * 1.96 * math.sqrt(clustered.value * (1 - clustered.value) / len(votes))
    assert clustered.high - clustered.low > width


def repeats(rater: str, kept: int, turned: int, half: int = 0) -> list[RaterVote]:
    votes = []
    for number in range(kept + turned + half):
        again: Outcome = "a" if number < kept else "b" if number < kept + turned else "tie"
        votes += [vote(rater, f"{number}p", "a"), vote(rater, f"{number}p", again, left="b", repeat=True)]
    return votes


@pytest.mark.parametrize(
    ("votes", "value"),
    [
        (repeats("x", 8, 2), 0.8),
        (repeats("x", 5, 3, half=2), 0.6),
        ([*repeats("x", 4, 0), vote("x", "t", "tie"), vote("x", "t", "tie", repeat=True)], 1.0),
        ([vote("x", f"{n}p", "a", left="a") for n in range(9)] + [vote("x", f"{n}p", "b", repeat=True) for n in range(9)], 0.0),
    ],
    ids=["kept and turned", "a tie is half", "two ties say nothing", "always left"],
)
def test_consistency(votes: list[RaterVote], value: float) -> None:
    found = consistency(votes, resamples=50)
    assert found.value == pytest.approx(value) and found.low <= value <= found.high


def test_consistency_of_nothing_is_unknown() -> None:
    votes = [vote("x", "1p", "tie"), vote("x", "1p", "tie", repeat=True), vote("x", "2p", "a", repeat=True)]
    assert math.isnan(consistency(votes).value) and math.isnan(consistency([]).value)


@pytest.mark.whole
def test_a_judge_is_compared_with_each_vote_and_stands_beside_the_ceiling() -> None:
    votes = crowd(3, raters=6, pairs=100, noise=0.4)
    majority: dict[str, Outcome] = {}
    for pair in {each.pair for each in votes}:
        cast = [each.winner for each in votes if each.pair == pair]
        majority[pair] = max(sorted(set(cast)), key=cast.count)
    good = judge_agreement(votes, majority, resamples=100)
    guess = judge_agreement(votes, {pair: random.Random(pair).choice(LABELS[:3]) for pair in majority}, resamples=100)
    assert good.agreement.low > good.ceiling.value > 0.4, "the majority agrees with people more than one of them does"
    assert good.kappa.excludes(0) and good.alpha.excludes(0)
    assert not guess.kappa.excludes(0) and not guess.alpha.excludes(0)
    assert (good.pairs, good.raters) == (len(majority), 6)
    assert good.alpha.value == pytest.approx(_two_coders(votes, majority))


def _two_coders(votes: list[RaterVote], judge: dict[str, Outcome]) -> float:
    people = {number: each.winner for number, each in enumerate(votes)}
    return krippendorff_alpha({"people": people, "judge": {n: judge[each.pair] for n, each in enumerate(votes)}})  # type: ignore[dict-item]


def test_a_missing_verdict_is_no_disagreement() -> None:
    votes = [vote("x", "1p", "a"), vote("y", "2p", "b")]
    found = judge_agreement(votes, {"1p": "a"}, resamples=20)
    assert (found.pairs, found.agreement.value) == (1, 1.0) and np.isnan(found.kappa.value)
    assert judge_agreement(votes, {}).pairs == 0
