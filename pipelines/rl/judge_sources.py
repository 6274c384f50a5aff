"""Open the served sources of a reward: clients of `her serve reward` and `her serve scores`."""

from her import paths
from her.errors import InputError
from her.judging.reward_clients import ScalarJudge, ServiceJudge
from pipelines.rl.reward import WeightedJudge
from pipelines.rl.reward_options import RewardSourceOptions, RolloutRewardOptions


def open_judges(settings: RolloutRewardOptions) -> list[WeightedJudge]:
    """Return a judge for each source; the token comes from HER_REWARD_TOKEN.

    Raises:
        InputError: the reward is planted, so there is no server.
    """
    if settings.planted:
        raise InputError(f"reward.planted='{settings.planted}' has no server; give reward.sources")
    return [_served(source, settings.deadline, number) for number, source in enumerate(settings.sources)]


def _served(source: RewardSourceOptions, deadline: float, number: int) -> WeightedJudge:
    client = ScalarJudge if source.kind == "scalar" else ServiceJudge
    name = f"{source.kind}-{number}"
    return WeightedJudge(source.kind, client(source.url, paths.reward_token(), deadline), source.weight, name)
