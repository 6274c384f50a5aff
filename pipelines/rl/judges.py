"""Build the one reward function of a run: served judges and reward models, or a planted reward whose truth is known."""

from collections.abc import Callable, Iterable

from her.judging.groups import Group, GroupRewards
from her.types import Turn
from her.words import words
from pipelines.rl.judge_sources import open_judges
from pipelines.rl.reward import GroupReward, WeightedJudge
from pipelines.rl.reward_options import RolloutRewardOptions

FULL_LENGTH = 40
"""Words of speech with which a planted reward for short answers is at its lowest."""


def build_reward(
    settings: RolloutRewardOptions, size: int, stop: int, watch: Iterable[Callable[..., object]] = ()
) -> GroupReward:
    """Return the one reward function of a run.

    Args:
        size: answers of a group.
        stop: token that ends an answer.
        watch: called with every judged group, such as the replay.
    """
    if settings.planted:
        judges = [WeightedJudge("paper", PlantedJudge(settings.planted), name="planted")]
    else:
        judges = open_judges(settings)
    return GroupReward(judges, settings, size=size, stop=stop, watch=watch)


class PlantedJudge:
    """Judge whose reward, from -1 to 1, follows from the answer alone; for tests and benchmarks, where truth must be known."""

    def __init__(self, kind: str) -> None:
        self._measure = PLANTED[kind]

    async def __call__(self, group: Group) -> GroupRewards:
        """Return the rewards of a group."""
        rewards = tuple(None if turn is None else self._measure(turn) for turn in group.candidates)
        return GroupRewards(rewards, len(rewards), 0)


def _shortness(turn: Turn) -> float:
    return 1 - 2 * min(1.0, len(words(turn.text("speech"))) / FULL_LENGTH)


PLANTED: dict[str, Callable[[Turn], float]] = {
    "short": _shortness,
    "long": lambda turn: -_shortness(turn),
    "questions": lambda turn: 1.0 if "?" in turn.text("speech") or "？" in turn.text("speech") else -1.0,
}
