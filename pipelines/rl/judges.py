"""Open the sources of a run's reward: served judges and reward models, or a planted reward whose truth is known."""

from collections.abc import Callable, Iterable

from her import paths
from her.judging.groups import Group, GroupRewards
from her.judging.reward_clients import ScalarJudge, ServiceJudge
from her.types import Turn
from pipelines.rl.options import RlOptions
from pipelines.rl.reward import GroupReward, WeightedJudge
from pipelines.rl.reward_options import RewardSourceOptions
from pipelines.rl.shaping import words

FULL_LENGTH = 40
"""Words of speech with which a planted reward for short answers is at its lowest."""


def build_reward(options: RlOptions, stop: int, watch: Iterable[Callable[..., object]] = ()) -> GroupReward:
    """Return the one reward function of a run.

    Args:
        stop: token that ends an answer.
        watch: called with every judged group, such as the replay.
    """
    settings = options.reward
    if settings is None:
        raise ValueError("the settings have no reward")
    if settings.planted:
        judges = [WeightedJudge("paper", PlantedJudge(settings.planted), name="planted")]
    else:
        judges = [_served(source, settings.deadline, number) for number, source in enumerate(settings.sources)]
    return GroupReward(judges, settings, size=options.rollout.answers, stop=stop, watch=watch)


def _served(source: RewardSourceOptions, deadline: float, number: int) -> WeightedJudge:
    client = ScalarJudge if source.kind == "scalar" else ServiceJudge
    return WeightedJudge(
        source.kind, client(source.url, paths.reward_token(), deadline), source.weight, f"{source.kind}-{number}"
    )


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
