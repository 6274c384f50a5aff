"""her/feedback/people.py: who may be trained from, and what is said before."""

import json

import pytest

from benchmarks.planted_raters import World
from her.errors import InputError
from her.feedback.people import people_report, report_lines
from her.feedback.raters import RaterVote


def world(tastes: int = 2, seed: int = 3, kinds: tuple[str, ...] = ("honest", "noisy", "careless", "left")) -> list[RaterVote]:
    votes = World(seed, tastes=tastes).votes
    return [
        vote.model_copy(update={"conversation": f"c{sum(vote.pair.encode()) % 20}"})
        for vote in votes
        if vote.rater.partition("-")[2] in kinds
    ]


def without_checks(votes: list[RaterVote]) -> list[RaterVote]:
    return [vote for vote in votes if not vote.repeat]


def alone(votes: list[RaterVote]) -> list[RaterVote]:
    """Give every rater pairs of their own."""
    return [vote.model_copy(update={"pair": f"{vote.rater}{vote.pair}"}) for vote in votes]


def always_left(votes: list[RaterVote]) -> list[RaterVote]:
    return [vote.model_copy(update={"winner": vote.left}) for vote in votes]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        (alone(world()), "no pair has two raters"),
        ([], "no pair has two raters"),
        (without_checks(world()), "too few pairs were shown again"),
        (always_left(world()), "chance is 0.50"),
        (world(kinds=("careless",)) + [v.model_copy(update={"rater": "x"}) for v in world(kinds=("left",))], "chance is 0.50"),
    ],
    ids=["nobody shares a pair", "no votes", "no repeats", "always left", "careless and left"],
)
def test_training_is_refused(votes: list[RaterVote], reason: str) -> None:
    report = people_report(votes, resamples=100)
    with pytest.raises(InputError, match=reason):
        report.require_trainable()
    assert report_lines(report, "auto")[-1].startswith("refused: ")


@pytest.mark.whole
def test_two_tastes_go_on_by_camp_and_it_is_said() -> None:
    report = people_report(world(), resamples=100)
    report.require_trainable()
    assert report.taste and len(report.camps) == 2
    assert all(camp.agreement.alpha.value > report.agreement.alpha.value + 0.3 for camp in report.camps)
    assert report.groups("auto") == report.groups("per_camp") == tuple(camp.raters for camp in report.camps)
    (together,) = report.groups("one")
    assert set(together) == {name for camp in report.camps for name in camp.raters}
    lines = report_lines(report, "auto")
    assert "Krippendorff's alpha" in lines[1] and "two people name the same winner" in lines[1]
    assert lines[-1].endswith("taste, not noise; training one model of each camp")
    assert report_lines(report, "one")[-1].endswith("training one model of all camps")
    assert "11-left (0.00)" in next(line for line in lines if line.startswith("in no camp"))


def test_one_taste_is_one_model() -> None:
    report = people_report(world(tastes=1, kinds=("honest",)), resamples=100)
    report.require_trainable()
    assert not report.taste and len(report.groups("auto")) == len(report.groups("per_camp")) == 1
    assert report_lines(report, "auto")[-1] == "training one model"


@pytest.mark.whole
def test_noise_without_camps_is_no_taste() -> None:
    report = people_report(world(tastes=1), resamples=100)
    assert not report.taste and report_lines(report, "auto")[-1].startswith("alpha is low, and no camps explain it")


@pytest.mark.whole
def test_two_people_under_one_name_are_reported_and_the_pairs_count_for_nothing() -> None:
    votes = world(kinds=("honest",))
    name = {"00-honest": "08-honest"}  # one of each taste
    merged = [vote.model_copy(update={"rater": name.get(vote.rater, vote.rater)}) for vote in votes]
    report = people_report(merged, resamples=100)
    found = {figures.rater: figures.merged for figures in report.raters}
    assert found["08-honest"] >= 10 and sum(found.values()) == found["08-honest"]
    assert any("08-honest voted against themselves on" in line for line in report_lines(report, "auto"))
    honest = people_report(votes, resamples=100)
    assert not any(figures.merged for figures in honest.raters)


@pytest.mark.whole
def test_a_rater_who_only_voted_against_themselves_has_no_weight() -> None:
    votes = world(kinds=("honest",))
    twice: list[RaterVote] = [RaterVote(rater="two", pair="p1", winner=winner, conversation="c1") for winner in ("a", "b")]
    report = people_report([*votes, *twice], resamples=100)
    (two,) = (figures for figures in report.raters if figures.rater == "two")
    assert (two.votes, two.merged, two.weight, two.camp) == (2, 1, 0.0, 0)


def test_a_report_is_json() -> None:
    read = json.loads(people_report(alone(world()), resamples=100).model_dump_json())
    assert read["agreement"]["alpha"] == [None, None, None] and read["refused"]
