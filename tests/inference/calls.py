"""Calls, servers and limits for the tests of her/inference."""

import asyncio
import socket
from typing import Any

from pydantic import BaseModel

from her.inference.batch import ask_all
from her.inference.caller import Answer, Call, Caller, CallLimits, Ledger
from her.types import Message, Sampling
from tests.servers import ModelServer

QUICK = CallLimits(retries=2, timeout=30, backoff=0.001, cool_down=0.02, longest_cool_down=0.05, patience=30)
"""Long limits where a busy machine is slow, short pauses where the program only waits."""
CHEAP = Sampling(max_tokens=50)


class Reply(BaseModel):
    """A schema that an answer has to fit."""

    text: str
    sure: bool = True


def echo(body: dict[str, Any]) -> str:
    """Answer with the question."""
    return f"answer to {body['messages'][-1]['content']}"


def limits(**changes: Any) -> CallLimits:
    """Return QUICK with some fields changed."""
    return QUICK.model_copy(update=changes)


def call(name: str, **changes: Any) -> Call:
    """Return a call whose question is its name."""
    messages = (Message(role="system", content="Answer."), Message(role="user", content=name))
    return Call(name, changes.pop("stage", "plans"), messages, CHEAP, **changes)


def calls(number: int) -> list[Call]:
    """Return so many different calls."""
    return [call(f"t{n}", meta=n) for n in range(number)]


def spec(server: ModelServer) -> str:
    """Return the spec of a server and its model."""
    return f"openai:{server.url}#{server.script.model}"


def closed_spec() -> str:
    """Return the spec of a port at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"openai:http://127.0.0.1:{free.getsockname()[1]}/v1#test-her"


async def ask(server: ModelServer, *questions: Call, ledger: Ledger | None = None, limits: CallLimits = QUICK) -> list[Answer]:
    """Return the answers of one server, in order."""
    async with Caller([spec(server)], ledger, limits) as caller:
        return [answer async for answer in ask_all(caller, questions, ordered=True)]


async def until(condition: Any, seconds: float = 30) -> None:
    """Wait until a condition holds that another thread makes true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
