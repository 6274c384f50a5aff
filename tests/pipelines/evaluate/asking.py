"""Shared by the tests of evaluate: an asker that answers from a function and keeps what it was asked; a case; a whole simulation.

asker = FakeAsker(lambda role, call: "text")        # or a Reply with a failure, a finish, a reasoning
played = await play(asker, a_case())
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from her.characters.coser import read_content
from her.inference.caller import Call
from her.tokens import estimate_tokens
from pipelines.evaluate.cases import ActingCase
from pipelines.evaluate.judgements import TITLES
from pipelines.evaluate.options import EvaluateOptions
from pipelines.evaluate.protocols import PROTOCOLS, ActingProtocol
from pipelines.evaluate.scripted_scene import scripted_answer
from pipelines.evaluate.simulation import Played, PlayStage, simulate
from tests.pipelines.evaluate.cases import case


@dataclass
class Reply:
    text: str = ""
    reason: str = ""
    truncated: bool = False
    reasoning: str = ""
    entry: Any = None
    choices: tuple[Any, ...] = ()

    @property
    def error(self) -> str:
        return f"the call failed: {self.reason}" if self.reason else ""


class FakeAsker:
    def __init__(self, answer: Callable[[str, Call], "str | Reply"], context: int = 100_000) -> None:
        self._answer, self._context = answer, context
        self.asked: list[tuple[str, Call]] = []

    def context(self, role: str) -> int:
        return self._context

    def count(self, role: str, messages) -> int:
        return estimate_tokens(messages)

    async def ask(self, role: str, call: Call) -> Reply:
        self.asked.append((role, call))
        answer = self._answer(role, call)
        return answer if isinstance(answer, Reply) else Reply(answer)

    def of(self, role: str) -> list[Call]:
        """Return the calls to a role, in order."""
        return [call for asked, call in self.asked if asked == role]


def scripted(role: str, call: Call) -> str:
    return scripted_answer(call.messages)


def acting(*lines: str, then: str = "The end."):
    """Return an answerer whose actor says these lines in turn; every other role is scripted."""
    rest = list(lines)

    def answer(role: str, call: Call) -> str:
        if role == "actor":
            return rest.pop(0) if rest else then
        return scripted(role, call)

    return answer


def a_case(**changes: Any) -> ActingCase:
    scene = read_content([case(**changes)], "x").scenes[0]
    return ActingCase(key=f"{scene.book}-{scene.plot}-{scene.conversation}", scene=scene)


def options(protocol: str = "corrected", **changes: Any) -> EvaluateOptions:
    return EvaluateOptions(**{"cases": (Path("cases.json"),), "scripted": True, "protocol": protocol, **changes})


async def play(asker: FakeAsker, played: ActingCase, chosen: EvaluateOptions | None = None, run: int = 0) -> Played:
    return await simulate(played, run, PlayStage(chosen or options(rounds=6), asker, "actor-model", "key"))


def flaws(dimension: str, *severities: Any, **more: Any) -> str:
    listed = [{"instance": "x", "type": "y", "severity": severity, **more} for severity in severities]
    return json.dumps({TITLES[dimension]: {"flaws": listed}})


def dimension_of(call: Call) -> str:
    first = call.messages[0].content.split("\n")[0]
    return next(dimension for dimension, title in TITLES.items() if title in first)


def protocol(name: str = "corrected", **changes: Any) -> ActingProtocol:
    return PROTOCOLS[name].model_copy(update=changes)
