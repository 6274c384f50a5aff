"""Open the served sources of a reward: clients of `her serve reward` and `her serve scores`."""

import asyncio
import logging
from collections.abc import Sequence

from her import paths
from her.errors import BackendError, InputError
from her.judging.reward_clients import ScalarJudge, ServiceJudge
from her.runs.open_run import RunStopped
from pipelines.rl.prompts import RolloutPrompt, parse_trained_on, refuse_trained
from pipelines.rl.reward import WeightedJudge
from pipelines.rl.reward_options import RewardSourceOptions, RolloutRewardOptions

log = logging.getLogger(__name__)
PATIENCE = 60
"""Seconds for the manifest of a served model."""


def open_judges(settings: RolloutRewardOptions) -> list[WeightedJudge]:
    """Return a judge for each source; the token comes from HER_REWARD_TOKEN.

    Raises:
        InputError: the reward is planted, so there is no server.
    """
    if settings.planted:
        raise InputError(f"reward.planted='{settings.planted}' has no server; give reward.sources")
    return [_served(source, settings.deadline, number) for number, source in enumerate(settings.sources)]


def refuse_trained_prompts(settings: RolloutRewardOptions, prompts: Sequence[RolloutPrompt]) -> None:
    """Refuse prompts that a served scalar reward model was trained on, by the manifest that its server has.

    Raises:
        InputError: with the conversations.
        RunStopped: a server does not answer.
    """
    for source in settings.sources:
        if source.kind != "scalar":
            continue
        try:
            manifest = asyncio.run(ScalarJudge(source.url, paths.reward_token(), PATIENCE).manifest())
        except BackendError as error:
            raise RunStopped(f"{error}; start it with `her serve scores RUN`, and start this run again") from error
        if manifest is None:
            log.warning(
                "the server at %s does not know what its model was trained on; name the folder of its run in "
                "prompts.reward_models, so that no prompt is rewarded for what the model remembers",
                source.url,
            )
        else:
            refuse_trained(prompts, parse_trained_on(manifest, source.url), source.url)


def _served(source: RewardSourceOptions, deadline: float, number: int) -> WeightedJudge:
    client = ScalarJudge if source.kind == "scalar" else ServiceJudge
    name = f"{source.kind}-{number}"
    return WeightedJudge(source.kind, client(source.url, paths.reward_token(), deadline), source.weight, name)
