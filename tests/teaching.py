"""A rule-based teacher behind an HTTP server that speaks the OpenAI protocol, and a scene of Othello, for tests of synthesis.

    with teaching() as server:                          # every answer is valid
    with teaching(spoil) as server:                     # spoil(task, payload, answer) -> the text that is sent
        server.questions("rewrite_plan")                # the payloads of the requests

`improved` takes the scene through one stage against such a server.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from her.backends.teacher import write_answer
from her.characters.coser import BookScene
from her.format import parse
from her.inference.caller import Ledger
from her.inference.options import CallOptions
from her.types import CastMember, Message, Sampling, Scenario, Turn
from pipelines.synthesize.callers import StageCallers
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import SettingOptions, StageOptions
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.questions import Asker, StageContext
from pipelines.synthesize.stages.stage_table import Improve
from tests.servers import ModelServer, Script

Spoil = Callable[[str, dict[str, Any], str], str]
"""Task (`play` for a live prompt), payload (the request for `play`) and the valid answer -> the text that is sent."""
COLD = StageOptions(sampling=Sampling(temperature=0.5, seed=1), settings=SettingOptions(most=2))


class TeachingServer(ModelServer):
    """A ModelServer that knows the tasks and payloads of its requests."""

    @property
    def spec(self) -> str:
        """Return the backend spec of this server."""
        return f"openai:{self.url}#{self.script.model}"

    def questions(self, task: str) -> list[dict[str, Any]]:
        """Return the payloads of one task, in order."""
        return [payload_of(body) for body in self.chats if task_of(body) == task]


def task_of(body: dict[str, Any]) -> str:
    """Return the task of a request; `play` for a live prompt."""
    first = str(body["messages"][0]["content"])
    return first.removeprefix("Task: ").split("\n")[0] if first.startswith("Task: ") else "play"


def payload_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a request; for a live prompt the request itself."""
    if task_of(body) == "play":
        return body
    payload: dict[str, Any] = json.loads(next(each["content"] for each in body["messages"] if each["role"] == "user"))
    return payload


@contextmanager
def teaching(spoil: Spoil | None = None, **script: Any) -> Iterator[TeachingServer]:
    """Run the server; `script` as in tests/servers.py."""

    def text(body: dict[str, Any]) -> str:
        messages = [Message(role=each["role"], content=str(each["content"])) for each in body["messages"]]
        thinking, reply = write_answer(messages)
        valid = f"<think>{thinking}</think>{reply}" if thinking else reply
        return spoil(task_of(body), payload_of(body), valid) if spoil else valid

    with TeachingServer(Script(text=text, model="teacher", **script)) as server:
        yield server


def answering(task: str, change: Callable[[dict[str, Any], dict[str, Any], int], Any]) -> Spoil:
    """Return a spoiler of the answers to one task: change(payload, answer, number of earlier answers)."""
    count = 0

    def spoil(asked_task: str, payload: dict[str, Any], valid: str) -> str:
        nonlocal count
        if asked_task != task:
            return valid
        changed = change(payload, json.loads(valid), count)
        count += 1
        return changed if isinstance(changed, str) else json.dumps(changed)

    return spoil


@contextmanager
def ledger_of(folder: Path) -> Iterator[Ledger]:
    """Open a ledger in a folder of the test."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        yield ledger


def callers_of(server: TeachingServer, ledger: Ledger, **calls: Any) -> StageCallers:
    """Return callers with this server as their only endpoint.

    A failed call is not retried: the backoff of a real run would make every test with a bad server seconds long.
    """
    options = CallOptions(**{"retries": 0, "patience": 0.3, **calls})
    return StageCallers(SynthesisOptions(scenes=(Path("unused"),), endpoints=(server.spec,), calls=options), ledger)


def context_of(asker: Asker, options: StageOptions = COLD) -> StageContext:
    """Return the context of a stage with fresh notes."""
    return StageContext(asker, options, Notes())


async def improved(
    improve: Improve, folder: Path, spoil: Spoil | None = None, scene: BookScene | None = None, **script: Any
) -> tuple[BookScene, Notes, TeachingServer]:
    """Take a scene (`a_scene()` by default) through one stage; return it, the notes and the server that was asked."""
    with teaching(spoil, **script) as server, ledger_of(folder) as ledger:
        async with callers_of(server, ledger) as callers:
            context = context_of(callers)
            after = await improve(scene or a_scene(), context)
    return after, context.notes, server


IAGO = "Iago wants Othello to doubt his wife without being told to."
OTHELLO = "Othello wants to go on loving Desdemona in peace."
LINES = (
    ("Environment", "The sea is loud beyond the garden wall."),
    ("Iago", "[Now the net closes around Cassio.] Ha! I like not that."),
    ("Othello", "[I saw somebody slip away.] (turns round) What dost thou say?"),
    ("Iago", "[He bites, I must feed him slowly.] Nothing, my lord; or if, I know not what."),
    ("Othello", "Was not that Cassio parted from my wife?"),
    ("Iago", "[Let me sound unwilling.] Cassio, my lord? No, sure, I cannot think it."),
    ("Othello", "[I trust him, and yet I ask.] I do believe 'twas he."),
    ("Iago", "Did Michael Cassio, when you wooed my lady, know of your love?"),
    ("Othello", "[I wonder why that matters.] He did, from first to last. Why dost thou ask?"),
)
PASSAGE = (
    "Cassio had been put out of his place the night before, for a brawl that Iago had arranged in the castle of Cyprus. "
    "Now Othello walked in the garden with Iago at his side. The sea is loud beyond the garden wall. "
    "Ha! I like not that. What dost thou say? Nothing, my lord; or if, I know not what. Was not that Cassio parted from my wife? "
    "Cassio, my lord? No, sure, I cannot think it. I do believe 'twas he. "
    "Did Michael Cassio, when you wooed my lady, know of your love? He did, from first to last. Why dost thou ask? "
    "Afterwards Othello strangled Desdemona upon her bed, and learned too late that the handkerchief was stolen."
)


def a_scene(lines: tuple[tuple[str, str], ...] = LINES, passage: str = PASSAGE) -> BookScene:
    """Return a scene of Othello with thoughts, actions, an environment, and a source that continues after it."""
    turns = tuple(
        Turn(id=f"{number:032x}", speaker=speaker, parts=parse(text, speaker, notation="coser").parts, raw=text)
        for number, (speaker, text) in enumerate(lines, 10)
    )
    return BookScene(
        id="5ce0e" + "0" * 27,
        book="Othello",
        plot=3,
        conversation=0,
        scenario=Scenario(id="5e771", source="Othello", setting="Othello and Iago walk in the garden of the castle."),
        cast=(
            CastMember(name="Iago", profile="Othello's ancient, called honest by everybody.", motivation=IAGO),
            CastMember(name="Othello", profile="General of Venice, a Moor.", motivation=OTHELLO),
        ),
        major=("Iago",),
        turns=turns,
        passage=passage,
    )
