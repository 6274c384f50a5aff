"""her/judging/groups.py: pairs of a group become one relative reward a candidate; missing ones stay missing."""

from collections.abc import Callable

import numpy as np
import pytest

from her.errors import BackendError, InputError
from her.format import parse
from her.judging.groups import Design, Group, GroupDesign, judge_group
from her.judging.judge import Judged, PairJudge, PairQuestion
from her.judging.verdicts import Slot
from her.types import Message, Outcome, Verdict

PROMPT = (Message(role="system", content="You are Mara."),)


class NumberJudge(PairJudge):
    """A judge that prefers the larger number a turn says; `answer` may say otherwise for a pair."""

    def __init__(self, answer: Callable[[int, int], Outcome | None] | None = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self._answer = answer or (lambda first, second: "a" if first > second else "b" if first < second else "tie")

    async def judge(self, question: PairQuestion, first: Slot = "a") -> Judged:
        numbers = int(question.a.text("speech")), int(question.b.text("speech"))
        self.asked.append(numbers)
        outcome = self._answer(*numbers)
        return Judged(question, None if outcome is None else Verdict(winner=outcome, judge="numbers", first=first))


def group(*numbers: int | None, reference: int | None = None) -> Group:
    turns = [None if number is None else parse(f"Mara: {number}", "Mara") for number in numbers]
    return Group("g", PROMPT, tuple(turns), None if reference is None else parse(f"Mara: {reference}", "Mara"))


@pytest.mark.parametrize(("design", "calls"), [("circulant", 8), ("all_pairs", 12), ("member", 6)])
async def test_rewards_rank_a_group(design: Design, calls: int) -> None:
    judge = NumberJudge()
    found = await judge_group(judge, group(3, 1, 4, 2), GroupDesign(design=design, rounds=2))
    assert (found.asked, found.failed, len(judge.asked)) == (calls, 0, calls)
    rewards = np.array(found.rewards, dtype=float)
    if design != "member":
        assert list(np.argsort(rewards)) == [1, 3, 0, 2]
    assert rewards[2] > rewards[0] > rewards[1]
    assert rewards.sum() == pytest.approx(0, abs=1e-9)


async def test_the_paper_gives_plus_one_zero_and_minus_one_against_the_reference() -> None:
    judge = NumberJudge(lambda first, second: "a" if max(first, second) == 6 else "a" if first > second else "b")
    found = await judge_group(judge, group(9, 1, 6, reference=5), GroupDesign(design="paper"))
    assert found.rewards == (1.0, -1.0, 0.0)  # the judge takes the first slot whenever it sees a 6
    assert found.asked == 6


async def test_scores_against_a_reference_are_differences_from_it() -> None:
    found = await judge_group(NumberJudge(), group(9, 1, reference=5), GroupDesign(design="reference"))
    assert found.rewards[0] is not None and found.rewards[1] is not None
    assert found.rewards[0] > 0 > found.rewards[1]


@pytest.mark.parametrize("design", ["paper", "reference"])
async def test_a_missing_reference_is_refused(design: Design) -> None:
    with pytest.raises(InputError, match="has none; give one"):
        await judge_group(NumberJudge(), group(1, 2), GroupDesign(design=design))


async def test_absent_candidates_are_missing_and_the_rest_is_judged_as_a_group_of_its_own() -> None:
    whole = await judge_group(NumberJudge(), group(3, 1, 2), GroupDesign())
    partial = await judge_group(NumberJudge(), group(3, None, 1, None, 2), GroupDesign())
    assert partial.rewards[1] is partial.rewards[3] is None
    assert [partial.rewards[at] for at in (0, 2, 4)] == pytest.approx(whole.rewards)
    alone = await judge_group(NumberJudge(), group(None, 7), GroupDesign())
    assert alone.rewards == (None, None) and alone.asked == 0


async def test_a_failed_judgement_is_missing_and_never_a_tie() -> None:
    judge = NumberJudge(lambda first, second: None if 1 in (first, second) else "a" if first > second else "b")
    found = await judge_group(judge, group(3, 1, 2), GroupDesign(design="all_pairs"))
    assert found.rewards[1] is None and found.failed == 4
    assert found.rewards[0] is not None and found.rewards[2] is not None and found.rewards[0] > found.rewards[2]
    paper = await judge_group(judge, group(3, 1, reference=2), GroupDesign(design="paper"))
    assert paper.rewards == (1.0, None)


async def test_an_error_of_the_model_is_a_missing_judgement() -> None:
    class Broken(NumberJudge):
        async def judge(self, question: PairQuestion, first: Slot = "a") -> Judged:
            raise BackendError("no endpoint is left", "unreachable")

    found = await judge_group(Broken(), group(1, 2), GroupDesign())
    assert found.rewards == (None, None) and found.failed == found.asked == 2
