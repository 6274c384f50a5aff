"""pipelines/rl/reward.py: one number or None for each answer, whatever judges and models do."""

import asyncio
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from her.errors import BackendError, InputError
from her.judging.groups import Group, GroupRewards, PairVerdict
from her.runs.open_run import RunStopped
from her.types import Verdict
from pipelines.rl import reward as module
from pipelines.rl.reward import GroupReward, WeightedJudge, why_flat
from pipelines.rl.reward_options import RewardSourceOptions, RolloutRewardOptions, ShapingOptions

STOP = 9
PLANNED = "<system_thinking>She greets him.</system_thinking>Mara: "
OPTIONS = RolloutRewardOptions(sources=(RewardSourceOptions(kind="paper", url="http://x"),), deadline=60)
QUICK = OPTIONS.model_copy(update={"deadline": 0.05})
"""For judges that never answer; with it a busy machine would be late with an answer that comes at once."""


def ask(
    judge: Any, answers: Sequence[str], *, options: RolloutRewardOptions = OPTIONS, size: int = 4, ended: Sequence[bool] = ()
) -> tuple[GroupReward, list[float | None], dict[str, float]]:
    """Ask the reward as TRL does; the judge gives a function of the text of those that passed the gate."""
    logged: dict[str, float] = {}
    judges = judge if isinstance(judge, list) else [WeightedJudge("paper", judge)]
    made = GroupReward(judges, options, size=size, stop=STOP)
    count = len(answers)
    rewards = made(
        prompts=[[{"role": "user", "content": "Tom: Hello."}]] * count,
        completions=[[{"role": "assistant", "content": text}] for text in answers],
        completion_ids=[[1, STOP] if whole else [1, 2] for whole in (ended or [True] * count)],
        id=[f"prompt {place // size}" for place in range(count)],
        speaker=["Mara"] * count,
        others=[["Tom"]] * count,
        language=["en"] * count,
        trainer_state=SimpleNamespace(global_step=3),
        log_metric=logged.__setitem__,
    )
    return made, rewards, logged


def fixed(*rewards: float | None) -> Any:
    async def judge(group: Group) -> GroupRewards:
        places = [index for index, turn in enumerate(group.candidates) if turn is not None]
        return GroupRewards(tuple(reward if at in places else None for at, reward in enumerate(rewards)), len(places), 0)

    return judge


def test_a_missing_judgement_is_none_and_the_others_keep_theirs() -> None:
    _, rewards, logged = ask(fixed(None, 1, 1, -1), [PLANNED + "Good evening."] * 4)
    assert rewards == [None, 1, 1, -1]
    assert logged["judge/missing"] == 0.25


@pytest.mark.parametrize(
    ("text", "ended", "fault"),
    [
        ("Mara: No plan at all.", True, "plan_missing"),
        ("<system_thinking>It never ends. Mara: Hello.", True, "unclosed_plan"),
        (PLANNED + "Hello.\nTom: And hello to you.", True, "other_speaker"),
        (PLANNED, True, "empty"),
        (PLANNED + "I was about to", False, "truncated"),
        ("", True, "empty"),
    ],
)
def test_the_gate_gives_the_worst_of_the_scale_without_asking(text: str, ended: bool, fault: str) -> None:
    asked: list[int] = []

    async def judge(group: Group) -> GroupRewards:
        asked.extend(index for index, turn in enumerate(group.candidates) if turn is not None)
        return GroupRewards((1.0, 0.0, -1.0, None), 3, 0)

    shaping = ShapingOptions(length=0.3, pattern=0.2)
    good = [PLANNED + "Hello.", PLANNED + "Good evening to you.", PLANNED + "Well " * 40]
    options = OPTIONS.model_copy(update={"shaping": shaping})
    made, rewards, logged = ask(judge, [*good, text], options=options, ended=[True, True, True, ended])
    assert asked == [0, 1, 2] and made.last[0].answers[3].fault == fault
    judged = [reward for reward in rewards[:3] if reward is not None]
    assert rewards[3] == pytest.approx(-1.5) and min(judged) > -1.5
    assert logged["gate/malformed"] == 0.25


def test_a_group_of_malformed_answers_asks_nobody_and_is_flat() -> None:
    async def judge(group: Group) -> GroupRewards:
        raise AssertionError("asked")

    made, rewards, _ = ask(judge, ["Mara: Hi."] * 4)
    assert rewards == [-1.0] * 4 and made.last[0].flat == "equal"


def test_nan_is_missing_and_never_a_number() -> None:
    _, rewards, _ = ask(fixed(math.nan, math.inf, 1, -1), [PLANNED + "Hello."] * 4)
    assert rewards == [None, None, 1, -1]


@pytest.mark.parametrize("found", [(1.0, 0.0), (1.0,) * 5])
def test_rewards_of_another_group_are_refused(found: tuple[float, ...]) -> None:
    async def judge(group: Group) -> GroupRewards:
        return GroupRewards(found, 2, 0)

    with pytest.raises(InputError, match="another group"):
        ask(judge, [PLANNED + "Hello."] * 4)


def test_a_reward_off_the_scale_of_its_kind_is_refused() -> None:
    with pytest.raises(InputError, match="kind 'paper'"):
        ask(fixed(1.7, 0, 0, 0), [PLANNED + "Hello."] * 4)


def test_a_batch_that_splits_a_group_is_refused() -> None:
    with pytest.raises(InputError, match="whole groups"):
        ask(fixed(1, 0, 0, 0), [PLANNED + "Hello."] * 6)


async def _dead(group: Group) -> GroupRewards:
    raise BackendError("it is away", "unreachable")


async def _stalled(group: Group) -> GroupRewards:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize("judge", [_dead, _stalled])
def test_a_dead_or_stalled_service_stops_the_run_with_a_sentence(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    with pytest.raises(RunStopped, match="start the reward service again"):
        ask(judge, [PLANNED + "Hello."] * 8, options=QUICK)


def test_one_group_without_answer_is_missing_and_the_other_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)

    async def judge(group: Group) -> GroupRewards:
        return await (_stalled if group.id == "prompt 0" else fixed(1, 0, 0, -1))(group)

    made, rewards, logged = ask(judge, [PLANNED + "Hello."] * 8, options=OPTIONS.model_copy(update={"deadline": 1}))
    assert rewards == [None] * 4 + [1, 0, 0, -1]
    assert [group.flat for group in made.last] == ["missing", ""] and logged["groups/missing"] == 0.5


def test_a_service_that_restarts_costs_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    tries: list[int] = []

    async def judge(group: Group) -> GroupRewards:
        tries.append(1)
        return await (_dead if len(tries) < 3 else fixed(1, 0, 0, -1))(group)

    assert ask(judge, [PLANNED + "Hello."] * 4)[1] == [1, 0, 0, -1]


def test_a_mix_is_the_weighted_mean_and_missing_where_a_source_is() -> None:
    judges = [WeightedJudge("paper", fixed(1, -1, None, 0), 3, "paper"), WeightedJudge("pointwise", fixed(0.5, 0.5, 0, 0), 1)]
    _, rewards, logged = ask(judges, [PLANNED + "Hello."] * 4)
    assert rewards == [1, -0.5, None, 0]
    assert logged["source/paper"] == 0 and "source/judge" in logged


def test_shaping_sums_to_zero_over_those_that_are_judged() -> None:
    options = OPTIONS.model_copy(update={"shaping": ShapingOptions(length=0.4, repetition=0.2, pattern=0.2)})
    texts = [PLANNED + "Hello.", PLANNED + "Hello, hello, hello, hello, hello, hello there.", PLANNED + "Welcome, friend."]
    _, rewards, logged = ask(fixed(0, 0, 0, None), [*texts, PLANNED + "Long. " * 50], options=options)
    known = [reward for reward in rewards if reward is not None]
    assert sum(known) == pytest.approx(0) and rewards[3] is None
    assert rewards[1] == min(known) < 0 and {"shaping/length", "shaping/repetition", "shaping/pattern"} <= set(logged)


def test_both_orders_of_a_pair_are_compared() -> None:
    async def judge(group: Group) -> GroupRewards:
        rows = [(0, 1, "a"), (1, 0, "b"), (2, 3, "a"), (3, 2, "a"), (0, 2, "tie")]
        found = tuple(PairVerdict(a, b, Verdict(winner=winner, judge="x")) for a, b, winner in rows)  # type: ignore[arg-type]
        return GroupRewards((1, 0, 0, -1), 5, 0, found)

    made, _, logged = ask(judge, [PLANNED + "Hello."] * 4)
    assert logged["judge/order_consistency"] == 0.5
    assert [len(answer.judgements) for answer in made.last[0].answers] == [2, 1, 1, 1]


def test_gate_off_takes_the_addend_off_a_judged_answer() -> None:
    options = OPTIONS.model_copy(update={"gate": False, "addend": 0.25})
    assert ask(fixed(1, 0, 0, -1), [PLANNED + "Hi."] * 3 + ["Mara: Hi."], options=options)[1] == [1, 0, 0, -1.25]


@pytest.mark.parametrize(
    ("rewards", "why"), [([1, 1, None], "equal"), ([None, None], "missing"), ([None, 1], "missing"), ([0, 1e-3], "")]
)
def test_why_a_group_teaches_nothing(rewards: list[float | None], why: str) -> None:
    assert why_flat(rewards) == why
