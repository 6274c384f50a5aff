"""her/judging/service.py over HTTP: complete, partial, repeated, late and hostile groups."""

import asyncio
from typing import Any

import httpx
import pytest

from her.judging.groups import Group, GroupDesign, GroupRewards, judge_group
from her.judging.service import MOST_BYTES, RewardService
from tests.judging.test_groups import NumberJudge


def body(index: int, number: int, group: str = "g", size: int = 3, **fields: Any) -> dict[str, Any]:
    prompt = [{"role": "system", "content": "You are Mara."}, {"role": "user", "content": "Tom: How many?"}]
    return {
        "group": group,
        "index": index,
        "size": size,
        "prompt": prompt,
        "text": f"Mara: {number}",
        "speaker": "Mara",
        **fields,
    }


class Service:
    """A service over a judge of numbers, and a client of it."""

    def __init__(self, judge: NumberJudge | None = None, deadline: float = 60) -> None:
        self.judge = judge or NumberJudge()
        self.service = RewardService(lambda group: judge_group(self.judge, group, GroupDesign()), deadline=deadline)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.service.app()), base_url="http://reward")

    async def post(self, *bodies: dict[str, Any]) -> list[httpx.Response]:
        return list(await asyncio.gather(*(self.client.post("/score", json=each) for each in bodies)))

    async def metrics(self) -> dict[str, int]:
        found: dict[str, int] = (await self.client.get("/metrics")).json()
        return found


async def test_every_candidate_of_a_group_gets_its_reward() -> None:
    service = Service()
    answers = [answer.json() for answer in await service.post(body(0, 3), body(1, 1), body(2, 2))]
    rewards = [answer["reward"] for answer in answers]
    assert rewards[0] > rewards[2] > rewards[1]
    assert all(answer["group_rewards"] == rewards and answer["missing"] == 0 for answer in answers)
    assert await service.metrics() == {
        "groups": 1, "candidates": 3, "judgements": 6, "failed_judgements": 0, "partial_groups": 0, "open_groups": 0
    }  # fmt: skip


async def test_posting_again_gives_the_same_answer_and_asks_nothing() -> None:
    service = Service()
    first = [answer.json() for answer in await service.post(body(0, 3), body(1, 1), body(2, 2), body(0, 3))]
    asked = len(service.judge.asked)
    (again,) = await service.post(body(1, 1))
    assert first[0] == first[3] and again.json() == first[1] and len(service.judge.asked) == asked
    assert (await service.metrics())["candidates"] == 3


async def test_a_group_that_never_completes_is_judged_at_its_deadline() -> None:
    service = Service(deadline=0.4)
    answers = [answer.json() for answer in await service.post(body(0, 3), body(2, 2))]
    assert answers[0]["reward"] > answers[1]["reward"]
    assert answers[0]["group_rewards"][1] is None and answers[0]["missing"] == 1
    (late,) = await service.post(body(1, 9))
    assert late.json()["reward"] is None and late.json()["filled"] == pytest.approx(0)


async def test_a_slow_judge_does_not_hold_an_answer_beyond_the_deadline() -> None:
    async def never(group: Group) -> GroupRewards:
        await asyncio.Event().wait()
        raise AssertionError

    service = Service()
    service.service = RewardService(never, deadline=0.2)
    service.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=service.service.app()), base_url="http://reward")
    (answer,) = await service.post(body(0, 1, size=1))
    found = {name: answer.json()[name] for name in ("reward", "filled", "group_rewards", "missing", "judgements")}
    assert found == {"reward": None, "filled": 0.0, "group_rewards": [None], "missing": 1, "judgements": []}


async def test_a_client_that_leaves_takes_no_group_with_it() -> None:
    service = Service()
    first = asyncio.create_task(service.client.post("/score", json=body(0, 3, size=2)))
    while (await service.metrics())["open_groups"] == 0:
        await asyncio.sleep(0)
    first.cancel()
    (answer,) = await service.post(body(1, 1, size=2))
    assert answer.json()["missing"] == 0


@pytest.mark.parametrize(
    ("bad", "status", "sentence"),
    [
        (body(3, 1), 409, "index 3 is outside a group of 3"),
        (body(0, 4), 409, "candidate 0 of group 'g' was posted with another text"),
        (body(1, 1, size=4), 409, "was opened with another prompt, size or speaker"),
        (body(1, 1, speaker="Tom"), 409, "was opened with another prompt, size or speaker"),
        (body(-1, 1), 422, "field 'index'"),
        (body(0, 1, group=""), 422, "field 'group'"),
        (body(0, 1, prompt=[]), 422, "field 'prompt'"),
        (body(0, 1, extra=1), 422, "field 'extra'"),
        ({}, 422, "field 'group'"),
    ],
    ids=["index", "other text", "other size", "other speaker", "negative", "no id", "no prompt", "unknown field", "nothing"],
)
async def test_a_request_that_does_not_fit_is_refused(bad: dict[str, Any], status: int, sentence: str) -> None:
    service = Service()
    opened = asyncio.create_task(service.client.post("/score", json=body(0, 3)))
    while (await service.metrics())["open_groups"] == 0:
        await asyncio.sleep(0)
    (answer,) = await service.post(bad)
    assert answer.status_code == status and sentence in answer.json()["error"]
    await service.post(body(1, 1), body(2, 2))
    assert (await opened).json()["missing"] == 0


async def test_a_body_that_is_too_large_or_no_json_is_refused() -> None:
    service = Service()
    large = await service.client.post("/score", content=b"x" * (MOST_BYTES + 1))
    assert large.status_code == 413 and "bytes" in large.json()["error"]
    for broken in (b"", b"{", b"[]"):
        answer = await service.client.post("/score", content=broken)
        error = answer.json()["error"]
        assert answer.status_code == 422 and error.startswith("the body: ") and "with group, index, size, prompt" in error
    assert (await service.client.get("/health")).json() == {"status": "ok"}


async def test_siblings_without_an_index_are_told_apart_by_their_keys_and_a_malformed_one_gets_the_worst() -> None:
    service = Service()
    plan = "<system_thinking>Count.</system_thinking>"
    numbers = {"a": 3, "b": 9, "c": 3}
    bodies = [{**body(0, number, key=key, gate=True), "index": None} for key, number in numbers.items()]
    for at in (0, 2):
        bodies[at]["text"] = plan + bodies[at]["text"]
    answers = [answer.json() for answer in await service.post(*bodies, bodies[0])]
    assert sorted(answer["index"] for answer in answers[:3]) == [0, 1, 2] and answers[3] == answers[0]
    assert [answer["fault"] for answer in answers] == ["", "plan_missing", "", ""]
    assert answers[1]["reward"] == -1.0 and answers[0]["reward"] == answers[2]["reward"] == 0.0
    cut = await service.post(*(body(index, 3, "cut", 2, gate=True, plans=False, finished=bool(index)) for index in (0, 1)))
    assert cut[0].json()["fault"] == "truncated"


async def test_a_candidate_without_index_and_key_is_refused() -> None:
    (answer,) = await Service().post({**body(0, 1), "index": None})
    assert answer.status_code == 422 and "neither an index nor a key" in answer.json()["error"]
