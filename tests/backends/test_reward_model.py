"""her/backends/reward_model.py: scores over HTTP from the server of this project, and every answer that is no score."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from her.backends.reward_model import RewardModelBackend
from her.errors import BackendError
from her.judging.reward_models import app
from her.types import Message, Sampling

ASKED = (Message(role="user", content="Tom: Hello."), Message(role="assistant", content="Mara: Hello, Tom."))


class Letters:
    """A reward model that counts letters, below zero for a rude turn."""

    name = "letters"

    def render(self, messages: Sequence[Message]) -> str:
        return messages[-1].content

    def score(self, texts: Sequence[str]) -> list[float]:
        return [-3.5 if "Go" in text else len(text) / 4 for text in texts]


@asynccontextmanager
async def serving(served: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(served, port=0, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


async def said(address: str, *messages: Message) -> str:
    backend = RewardModelBackend(address)
    try:
        return (await backend.complete(messages or ASKED, Sampling())).text
    finally:
        await backend.close()


async def test_the_answer_is_the_raw_score() -> None:
    async with serving(app(Letters())) as address:
        assert await said(address) == "Score: 4.25"
        assert await said(f"{address}/classify#letters", ASKED[0], Message(role="assistant", content="Go.")) == "Score: -3.5"
        backend = RewardModelBackend(f"{address}#letters")
        assert backend.describe().model == "letters" and "for a greeting" in await backend.check()
        await backend.close()


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (404, {}, "not_found"),
        (500, {}, "server_error"),
        (422, {"error": "too long"}, "bad_request"),
        (200, {"data": []}, "invalid_reply"),
        (200, {"data": [{"probs": [0.1, 0.9]}]}, "invalid_reply"),
        (200, {"data": [{"probs": ["high"]}]}, "invalid_reply"),
        (200, {"data": [{"probs": ["nan"]}]}, "invalid_reply"),
    ],
    ids=["no such path", "broken", "refused", "nothing", "a classifier of two", "a word", "not a number"],
)
async def test_what_is_no_score_is_an_error(status: int, content: Any, reason: str) -> None:
    async def answer(request: Any) -> JSONResponse:
        return JSONResponse(content, status)

    async with serving(Starlette(routes=[Route("/classify", answer, methods=["POST"])])) as address:
        with pytest.raises(BackendError) as caught:
            await said(address)
    assert caught.value.reason == reason


async def test_a_server_that_is_away_is_named_unreachable() -> None:
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        await said("http://127.0.0.1:9")
    assert caught.value.reason == "unreachable"
