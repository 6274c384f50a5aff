"""Shared by the whole tests of evaluate: the scripted scene behind an HTTP server that speaks the OpenAI protocol.

with scene_server() as server:                       # every role is answered by rules
with scene_server(spoil, model="judge") as server:   # spoil(role, answer) -> the text that is sent
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from her.types import Message
from pipelines.evaluate.__main__ import main
from pipelines.evaluate.scripted_scene import scripted_answer
from tests.servers import ModelServer, Script


def role_of(body: dict[str, Any]) -> str:
    """Return whose answer a request asks for."""
    first = str(body["messages"][0]["content"])
    starts = {
        "You judge one": "judge",
        "You direct a": "next_speaker",
        "You say who": "next_speaker",
        "You are the narr": "environment",
    }
    return next((role for start, role in starts.items() if first.startswith(start)), "actor")


@contextmanager
def scene_server(spoil: Callable[[str, str], str] | None = None, model: str = "scene", **script: Any) -> Iterator[ModelServer]:
    def text(body: dict[str, Any]) -> str:
        answer = scripted_answer([Message(role=each["role"], content=each["content"]) for each in body["messages"]])
        return spoil(role_of(body), answer) if spoil else answer

    with ModelServer(Script(text=text, model=model, strict_model=True, **script)) as server:
        yield server


def spec(server: ModelServer, model: str = "") -> str:
    return f"openai:{server.url}#{model or server.script.model}"


def evaluate(cases: Path, actor: str, judge: str = "", **settings: Any) -> int:
    """Run an evaluation by its command line and return the exit code."""
    given = {"runs": 1, "rounds": 6, "pilot": 0, "calls.retries": 0, "calls.patience": 1, **settings}
    words = [f'cases=["{cases}"]', f'actor=["{actor}"]', f'judge=["{judge or actor}"]']
    return main([*words, *(f"{name}={value}" for name, value in given.items())])
