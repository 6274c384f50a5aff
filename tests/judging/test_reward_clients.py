"""her/judging/reward_clients.py against servers that answer, fail, stall, or answer for somebody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from her.errors import BackendError, InputError
from her.format import parse
from her.judging.groups import Group, GroupDesign, judge_group
from her.judging.reward_clients import RewardClient, ScalarJudge, ServiceJudge
from her.judging.service import RewardService, ScoreRequest
from her.types import Message
from tests.judging.test_groups import NumberJudge

PROMPT = (Message(role="user", content="Tom: How many?"),)
GROUP = Group("g", PROMPT, (parse("Mara: 3", "Mara"), None, parse("Mara: 1", "Mara")))


@asynccontextmanager
async def served(answer: Callable[[dict[str, Any]], Any]) -> AsyncIterator[str]:
    """Serve one function of the request's body at any path."""

    async def handle(request: web.Request) -> web.Response:
        found = answer(await request.json())
        found = await found if asyncio.iscoroutine(found) else found
        if isinstance(found, web.Response):
            return found
        return web.Response(text=found if isinstance(found, str) else json.dumps(found))

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_service_judges_those_that_are_there_and_says_why() -> None:
    service = RewardService(lambda group: judge_group(NumberJudge(), group, GroupDesign()), deadline=10)

    async def score(body: dict[str, Any]) -> Any:
        return await service.score(ScoreRequest.model_validate_json(json.dumps(body)))

    async with served(score) as url:
        found = await ServiceJudge(url)(GROUP)
        again = await ServiceJudge(url)(GROUP)
    first, missing, third = found.rewards
    assert missing is None and first is not None and third is not None and first > 0 > third
    assert found.failed == 0 and again == found and service.counts["groups"] == 1
    assert {(each.first, each.second) for each in found.judgements} <= {(0, 2), (2, 0)} and found.judgements
    assert all(each.verdict for each in found.judgements)


def right(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"group": body["group"], "index": body["index"], "reward": 0.5, "group_rewards": [0.5, 0.5], "missing": 0}
    return {**fields, **changes}


@pytest.mark.parametrize(
    "changes", [{"group": "another"}, {"index": 7}, {"group_rewards": [0.1, 0.2, 0.3]}, {"group_rewards": []}]
)
async def test_an_answer_for_another_group_is_refused(changes: dict[str, Any]) -> None:
    async with served(lambda body: right(body, **changes)) as url:
        with pytest.raises(InputError, match="another group"):
            await ServiceJudge(url)(GROUP)


@pytest.mark.parametrize("reward", ["NaN", "Infinity", '"0.3"', "true", "null"])
async def test_a_reward_that_is_no_number_is_missing(reward: str) -> None:
    async with served(lambda body: json.dumps(right(body, reward=0.25)).replace("0.25", reward)) as url:
        found = await ServiceJudge(url)(GROUP)
    assert found.rewards == (None, None, None) and found.failed == 2


@pytest.mark.parametrize(
    ("answer", "error", "words", "deadline"),
    [
        (lambda body: web.Response(status=503, text="busy"), BackendError, "503", 30),
        (lambda body: web.Response(text="<html>"), BackendError, "no JSON object", 30),
        (lambda body: web.Response(status=401, text='{"error": "send the token"}'), InputError, "send the token", 30),
        (lambda body: asyncio.sleep(0.4), BackendError, "does not answer", 0.15),
    ],
    ids=["down", "html", "refused", "stalled"],
)
async def test_a_server_that_fails_says_so(answer: Any, error: type[Exception], words: str, deadline: float) -> None:
    async with served(answer) as url:
        with pytest.raises(error, match=words):
            await ServiceJudge(url, deadline=deadline)(GROUP)


async def test_a_server_that_is_away_is_unreachable() -> None:
    with pytest.raises(BackendError) as caught:
        await ServiceJudge("http://127.0.0.1:9", deadline=1)(GROUP)
    assert caught.value.reason == "unreachable"
    assert RewardClient("http://x/").url == "http://x"


async def test_scores_of_a_scalar_model_become_rewards_within_the_group() -> None:
    def score(body: dict[str, Any]) -> dict[str, Any]:
        return {"data": [{"index": at, "score": float(text[-1])} for at, text in enumerate(body["candidates"])]}

    async with served(score) as url:
        found = await ScalarJudge(url)(GROUP)
    first, missing, third = found.rewards
    assert missing is None and first is not None and third is not None
    assert first == pytest.approx(-third) and 0.7 < first < 0.8  # twice the probability of 2 logits, less one
    async with served(lambda body: {"data": [{"index": 5, "score": 1.0}]}) as url:
        with pytest.raises(InputError, match="other candidates"):
            await ScalarJudge(url)(GROUP)
