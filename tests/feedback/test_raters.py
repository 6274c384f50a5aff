"""her/feedback/raters.py: reliability from checks alone, camps of taste, labels of a camp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planted_raters import World
from her.feedback.raters import RaterVote, find_camps, label_pairs, reliabilities
from her.types import Winner


def vote(rater: str, pair: str, winner: Winner, **fields: object) -> RaterVote:
    return RaterVote.model_validate({"rater": rater, "pair": pair, "winner": winner, **fields})


def checks(rater: str, *, caught: int, missed: int, kept: int = 0, turned: int = 0) -> list[RaterVote]:
    votes = [vote(rater, f"c{number}", "a" if number < caught else "b", worse="b") for number in range(caught + missed)]
    for number in range(kept + turned):
        votes.append(vote(rater, f"r{number}", "a"))
        votes.append(vote(rater, f"r{number}", "a" if number < kept else "b", left="b", repeat=True))
    return votes


def test_only_checks_decide_a_weight() -> None:
    lonely = checks("lonely", caught=20, missed=0, kept=20) + [vote("lonely", f"p{n}", "b") for n in range(50)]
    crowd = [vote(f"other{m}", f"p{n}", "a") for m in range(9) for n in range(50)]
    found = reliabilities(lonely + crowd)
    assert found["lonely"].weight == pytest.approx(2 * 46 / 49 - 1)
    assert found["other0"].weight == pytest.approx(2 * 6 / 9 - 1) and found["other0"].checks == 0


@pytest.mark.parametrize(
    ("votes", "passed", "checked"),
    [
        (checks("x", caught=3, missed=1), 3, 4),
        (checks("x", caught=0, missed=0, kept=2, turned=3), 2, 5),
        ([vote("x", "c", "tie", worse="a")], 0.5, 1),
        ([vote("x", "r", "tie"), vote("x", "r", "a", repeat=True)], 0.5, 1),
        ([vote("x", "r", "tie"), vote("x", "r", "tie", repeat=True)], 1, 1),
        ([vote("x", "r", "a", repeat=True)], 0, 0),
    ],
    ids=["catch pairs", "repeats", "a tie on a catch pair", "half a repeat", "ties agree", "a repeat of nothing"],
)
def test_passed_checks(votes: list[RaterVote], passed: float, checked: int) -> None:
    found = reliabilities(votes)["x"]
    assert (found.passed, found.checks) == (passed, checked)


def test_always_left_has_no_weight_and_shows() -> None:
    votes = [vote("x", f"r{n}", "a", left="a") for n in range(20)]
    votes += [vote("x", f"r{n}", "b", left="b", repeat=True) for n in range(20)]
    found = reliabilities(votes)["x"]
    assert found.weight == 0 and found.left_share == 1 and found.passed == 0


@given(caught=st.integers(0, 40), missed=st.integers(0, 40))
def test_weights_stay_between_zero_and_one_and_grow_with_passed_checks(caught: int, missed: int) -> None:
    def weight(caught: int, missed: int) -> float:
        found = reliabilities([vote("x", "p", "a"), *checks("x", caught=caught, missed=missed)])
        return found["x"].weight

    assert 0 <= weight(caught, missed) < 1
    assert weight(caught + 1, missed) >= weight(caught, missed) >= weight(caught, missed + 1)


@pytest.mark.whole
@pytest.mark.parametrize("seed", [3, 14])
def test_two_tastes_are_two_camps(seed: int) -> None:
    world = World(seed)
    weights = {rater: found.weight for rater, found in reliabilities(world.votes).items()}
    first, second = find_camps(world.votes, weights)
    for camp in (first, second):
        honest = {world.camps[rater] for rater in camp.raters if rater.endswith("honest")}
        assert len(honest) == 1 and camp.gap is not None and camp.gap.low > 0.15
    assert "11-left" not in first.raters + second.raters


@pytest.mark.whole
def test_one_taste_is_one_camp_however_careful_its_raters_are() -> None:
    world = World(3, tastes=1)
    weights = {rater: found.weight for rater, found in reliabilities(world.votes).items()}
    (camp,) = find_camps(world.votes, weights)
    assert camp.gap is None and len(camp.raters) >= 10


def test_too_few_raters_are_never_split() -> None:
    votes = [vote("x", f"p{n}", "a") for n in range(50)] + [vote("y", f"p{n}", "b") for n in range(50)]
    (camp,) = find_camps(votes, {"x": 0.9, "y": 0.9})
    assert camp.raters == ("x", "y")
    assert [camp.raters for camp in find_camps([], {})] == []
    strangers = [vote(name, f"{name}{n}", "a") for name in "wxyz" for n in range(20)]  # no pair has two raters
    assert [camp.raters for camp in find_camps(strangers, dict.fromkeys("wxyz", 0.9))] == [("w", "x", "y", "z")]


@settings(max_examples=25)
@given(
    weights=st.lists(st.floats(0, 0.95), min_size=1, max_size=5),
    winners=st.lists(st.sampled_from(["a", "b", "tie"]), min_size=5, max_size=5),
)
def test_labels_add_log_odds(weights: list[float], winners: list[Winner]) -> None:
    votes = [vote(f"r{n}", "p", winner) for n, (_, winner) in enumerate(zip(weights, winners, strict=False))]
    label = label_pairs(votes, {f"r{n}": weight for n, weight in enumerate(weights)}, [each.rater for each in votes])["p"]
    share = [(1 + weight) / 2 for weight in weights]
    signs = [{"a": 1, "b": -1, "tie": 0}[winner] for winner in winners]
    odds = sum(sign * np.log(p / (1 - p)) for sign, p in zip(signs, share, strict=False))
    assert label.probability == pytest.approx(1 / (1 + np.exp(-odds)))
    assert label.raters == len(weights)


def test_labels_leave_catch_pairs_and_other_raters_out() -> None:
    votes = [vote("x", "p", "a"), vote("x", "c", "a", worse="b"), vote("y", "p", "b")]
    assert set(label_pairs(votes, {"x": 0.8, "y": 0.9}, ["x"])) == {"p"}
    assert label_pairs(votes, {"x": 0.8, "y": 0.9}, ["x"])["p"].probability == pytest.approx(0.9)
    assert label_pairs([], {}, []) == {}
