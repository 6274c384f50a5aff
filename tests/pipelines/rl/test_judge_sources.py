"""pipelines/rl/judge_sources.py: a served reward model that was trained on the prompts is refused by its own manifest."""

import asyncio
import logging

import pytest

from her.errors import InputError
from her.judging.reward_models import app
from her.runs.open_run import RunStopped
from her.types import Message
from pipelines.reward.report import RewardManifest
from pipelines.rl.judge_sources import refuse_trained_prompts
from pipelines.rl.prompts import RolloutPrompt
from pipelines.rl.reward_options import RewardSourceOptions, RolloutRewardOptions
from tests.backends.test_reward_model import Letters, serving

PROMPTS = [
    RolloutPrompt(
        id=f"{number}", messages=(Message(role="user", content=f"{number}"),), speaker="Mara", conversation=f"chat {number}"
    )
    for number in range(4)
]


def manifest(*trained: str) -> bytes:
    return RewardManifest(run="r", base="", trained=trained, held_out=()).model_dump_json().encode()


async def refuse(address: str, kind: str = "scalar") -> None:
    settings = RolloutRewardOptions(sources=(RewardSourceOptions(kind=kind, url=address),))  # type: ignore[arg-type]
    await asyncio.to_thread(refuse_trained_prompts, settings, PROMPTS)


async def test_the_server_of_a_model_knows_what_it_was_trained_on() -> None:
    async with serving(app(Letters(), manifest("chat 2"))) as address:
        with pytest.raises(InputError, match=f"reward model '{address}' .chat 2: conversation 'chat 2' was trained on"):
            await refuse(address)
    async with serving(app(Letters(), manifest("chat 9"))) as address:
        await refuse(address)


async def test_what_a_server_does_not_know_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app(Letters())) as address:
        with caplog.at_level(logging.WARNING):
            await refuse(address)
        assert "name the folder of its run in prompts.reward_models" in caplog.text
        await refuse("http://127.0.0.1:9", kind="pairwise")  # a judge was trained elsewhere
    with pytest.raises(RunStopped, match="does not answer .*her serve scores RUN"):
        await refuse("http://127.0.0.1:9")
    async with serving(app(Letters(), b"{}")) as address:
        with pytest.raises(InputError, match="is not the manifest of a reward run"):
            await refuse(address)
