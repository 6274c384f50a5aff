"""pipelines/rl/panel.py: a look per checkpoint, a planted hack is found, and a resumed run has the looks it had."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from her.errors import BackendError, InputError
from her.judging.groups import Group, GroupRewards
from her.statistics import Interval
from her.types import Message
from pipelines.rl.alarms import Alarm
from pipelines.rl.panel import Panel, RawAnswer, best_look, logged, read_looks
from pipelines.rl.panel_options import PanelOptions
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.reward import GroupReward, WeightedJudge
from pipelines.rl.reward_options import RolloutRewardOptions

WORDS = ("lamp", "oil", "rock", "storm", "gull", "tide", "rope", "net", "hull", "bell", "fog", "moon", "sand", "wick", "glass")
PROMPTS = [
    RolloutPrompt(id=str(number), messages=(Message(role="user", content=f"Tom: {number}?"),), speaker="Mara")
    for number in range(64)
]
SMALL = {"prompts": 8, "turns": 8}


class Actor:
    """Policy that says `length` words, and `tail` after them in a share of its answers."""

    def __init__(self) -> None:
        self.length, self.tail, self.share = 8, "", 0.0
        self.calls = 0

    def __call__(self, prompts: Sequence[RolloutPrompt], each: int, seed: int) -> list[list[RawAnswer]]:
        self.calls += 1
        chance = random.Random(seed)

        def answer() -> RawAnswer:
            said = " ".join(chance.choices(WORDS, k=self.length + chance.randrange(3)))
            act = chance.choice(("", "<role_action>nods</role_action>", "<role_thinking>Hm.</role_thinking>"))
            tail = self.tail if chance.random() < self.share else ""
            return RawAnswer(f"<system_thinking>Answer.</system_thinking>Mara: {act}{said}{tail}", True)

        return [[answer() for _ in range(each)] for _ in prompts]


def judged(like: Any) -> Any:
    async def judge(group: Group) -> GroupRewards:
        scores = [like(turn.text("speech")) if turn else None for turn in group.candidates]
        return GroupRewards(tuple(scores), 1, 0)

    return judge


def clean(text: str) -> float:
    return float(text.count("lamp") - text.count("moon"))


def panel(actor: Actor, folder: Path, training: Any = clean, held_out: Any = clean, **options: Any) -> Panel:
    reward = GroupReward(
        [WeightedJudge("pairwise", judged(training))], RolloutRewardOptions(planted="short", deadline=1), size=2, stop=0
    )
    return Panel(PROMPTS, actor, reward, judged(held_out), PanelOptions(**options), looks=20, folder=folder)


@pytest.mark.whole
def test_clean_looks_raise_nothing_and_a_phrase_that_pays_is_found(tmp_path: Path) -> None:
    actor = Actor()
    found = panel(
        actor,
        tmp_path,
        training=lambda text: clean(text) + 9 * text.count("my dear"),
        held_out=lambda t: clean(t) - 3 * t.count("my dear"),
    )
    found.begin()
    quiet = found.look(5)
    assert not quiet.alarms and quiet.held_out and quiet.held_out.low < 0.5 < quiet.held_out.high
    actor.tail, actor.share = ", oh you are so very clever my dear friend", 0.7
    hacked = found.look(10)
    names = {alarm.name for alarm in hacked.alarms}
    assert {"divergence", "phrase"} <= names and hacked.reward and hacked.reward > 0
    assert found.best is None or found.best.step < 10
    assert {alarm.name for alarm in found.stopping(hacked)} == names
    assert logged(hacked)["panel/alarms"] == len(names)


@pytest.mark.whole
def test_a_resumed_run_reads_its_looks_and_takes_later_ones_again(tmp_path: Path) -> None:
    actor = Actor()
    first = panel(actor, tmp_path, **SMALL)
    first.begin()
    looks = [first.look(step) for step in (5, 10)]
    again = panel(actor, tmp_path, **SMALL)
    calls = actor.calls
    again.begin(step=5)
    assert actor.calls == calls and again.look(5) == looks[0] and again.look(10) == looks[1]
    assert actor.calls == calls + 1 and read_looks(tmp_path) == looks
    other = Panel(PROMPTS[:9], actor, first._reward, None, PanelOptions(prompts=9), looks=1, folder=tmp_path)
    with pytest.raises(InputError, match="other prompts"):
        other.begin()


@pytest.mark.whole
def test_a_held_out_judge_that_fails_costs_rows_and_no_run(tmp_path: Path) -> None:
    async def away(group: Group) -> GroupRewards:
        raise BackendError("it is away", "unreachable")

    found = panel(Actor(), tmp_path, **SMALL)
    found._held_out = away
    found.begin()
    look = found.look(5)
    assert look.held_out is None and look.divergence is None and look.missing == 8


@pytest.mark.whole
def test_the_best_checkpoint_is_the_held_out_judges_before_what_raised_the_alarm(tmp_path: Path) -> None:
    found = panel(Actor(), tmp_path, **SMALL)
    found.begin()
    base = found.look(5)
    values = {5: 0.5, 10: 0.6, 15: 0.55, 20: 0.7, 25: 0.4}
    alarm = (Alarm(name="length", sentence="long"),)

    def best(*alarmed: int) -> int | None:
        looks = [
            base.model_copy(update={"step": step, "held_out": Interval(value, 0, 1), "alarms": alarm if step in alarmed else ()})
            for step, value in values.items()
        ]
        chosen = best_look(looks, guard=10)
        return chosen.step if chosen else None

    assert [best(), best(25), best(15), best(5)] == [20, 10, None, None]


def test_two_prompts_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 prompts"):
        Panel(PROMPTS[:1], Actor(), None, None, PanelOptions(), looks=1, folder=tmp_path)  # type: ignore[arg-type]
