"""A teacher that speaks the OpenAI protocol over HTTP, for tests of synthesis: it answers by rule, and as a test spoils it.

with teaching() as server:                          # good answers
    with teaching(spoil) as server:                 # spoil(task, asked, answer) -> text, for chosen questions
        server.questions("rewrite_plan")            # the payloads it was sent
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
from her.types import CastMember, Message, Scenario, Turn
from pipelines.synthesize.models import Models
from pipelines.synthesize.options import CallOptions, SynthesisOptions
from tests.servers import ModelServer, Script

Spoil = Callable[[str, dict[str, Any], str], str]
"""Task (`play` for a live prompt), payload (the request for `play`) and the right answer -> what is sent."""


class TeachingServer(ModelServer):
    """A ModelServer that knows what it was asked."""

    @property
    def spec(self) -> str:
        """How a run names it."""
        return f"openai:{self.url}#{self.script.model}"

    def questions(self, task: str) -> list[dict[str, Any]]:
        """The payloads of one task, in order."""
        return [payload_of(body) for body in self.chats if task_of(body) == task]


def task_of(body: dict[str, Any]) -> str:
    """The task of a request; `play` for a live prompt."""
    first = str(body["messages"][0]["content"])
    return first.removeprefix("Task: ").split("\n")[0] if first.startswith("Task: ") else "play"


def payload_of(body: dict[str, Any]) -> dict[str, Any]:
    """The payload of a request; for a live prompt the request itself."""
    if task_of(body) == "play":
        return body
    return json.loads(next(each["content"] for each in body["messages"] if each["role"] == "user"))


@contextmanager
def teaching(spoil: Spoil | None = None, **script: Any) -> Iterator[TeachingServer]:
    """The server, running; `script` as in tests/servers.py."""

    def text(body: dict[str, Any]) -> str:
        messages = [Message(role=each["role"], content=str(each["content"])) for each in body["messages"]]
        thinking, said = write_answer(messages)
        right = f"<think>{thinking}</think>{said}" if thinking else said
        return spoil(task_of(body), payload_of(body), right) if spoil else right

    with TeachingServer(Script(text=text, model="teacher", **script)) as server:
        yield server


@contextmanager
def ledger_of(folder: Path) -> Iterator[Ledger]:
    """A ledger in a folder of the test."""
    with Ledger(folder / "calls.sqlite3") as ledger:
        yield ledger


def models_of(server: TeachingServer, ledger: Ledger, **calls: Any) -> Models:
    """The door that stages ask through, with this server as its only endpoint."""
    asking = CallOptions(**{"retries": 1, "patience": 0.3, **calls})
    options = SynthesisOptions(scenes=(Path("unused"),), endpoints=(server.spec,), calls=asking)
    return Models(options, ledger)


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
    """A scene of Othello with thoughts, acts, an environment, and a source that goes on after it."""
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
