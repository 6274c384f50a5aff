"""her/backends/openai_abilities.py: the table of `her backends check`, of a server that can everything and of one that cannot."""

import itertools
from collections.abc import Iterator

import pytest

from her.backends.openai_abilities import Abilities
from her.backends.openai_http import OpenAIBackend
from tests.servers import ModelServer, Script

COUNTED = "one, two, three, four, five"


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


async def abilities(server: ModelServer, script: Script) -> Abilities:
    server.script = script
    server.requests.clear()
    backend = OpenAIBackend(server.url)
    found = await backend.abilities()
    await backend.close()
    return found


async def test_a_server_that_can_everything(running: ModelServer) -> None:
    choices = [("Yes", {"Yes": 0.75, "No": 0.25})]
    found = await abilities(running, Script(text=COUNTED, reasoning="I count.", choices=choices))
    assert {row.name: row.can for row in found.rows} == {
        "streaming": True,
        "reasoning field": True,
        "seed": True,
        "continue": True,
        "stop words": True,
        "log-probabilities": True,
        "context length": False,
    }
    assert found.refused == ()
    assert found.table().splitlines()[0].endswith("answers and has test-her.")


async def test_a_server_that_cannot(running: ModelServer) -> None:
    numbers = itertools.count()
    script = Script(text=lambda _: f"one {next(numbers)}", refused_field="stream_options", refuse_choices=True, usage=False)
    found = await abilities(running, script)
    can = {row.name: row.can for row in found.rows}
    assert not can["seed"] and not can["continue"] and not can["log-probabilities"]
    seen = {row.name: row.seen for row in found.rows}
    assert "different" in seen["seed"] and "begins anew" in seen["continue"] and "not counted" in seen["streaming"]
    assert found.refused == ("takes no stream_options",)
    assert "  It takes no stream_options." in found.table()
    assert len(running.chats) < 14  # short calls, and each refusal is met once
