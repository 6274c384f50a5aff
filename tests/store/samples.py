"""Chats for the tests of the store and of what is made from it."""

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from her.feedback.rubric import RUBRIC
from her.store import Conversation, Draft, Finish, Generation, Node, Rating, Seen, Store
from her.types import CastMember, Message, Part, Sampling, Scenario, Turn

ANNE, BEN = "a" * 64, "b" * 64
DRAFT = Draft(
    title="On the ramparts",
    persona_id="iago",
    visitor_name="Cassio",
    speaker="Iago",
    scenario=Scenario(id="s1", place="the ramparts of Cyprus"),
    cast=(CastMember(name="Iago", profile="An ensign."), CastMember(name="Cassio")),
)
PROMPT = (Message(role="system", content="Play Iago."), Message(role="user", content="Cassio: Good evening."))


def turn(text: str, speaker: str = "Iago", plan: str = "") -> Turn:
    """A spoken turn, with a plan if wanted."""
    parts = [Part(kind="system_thinking", text=plan)] if plan else []
    return Turn(speaker=speaker, parts=(*parts, Part(kind="speech", text=text)), raw=text)


def generation(finish: Finish = "stop", prompt: tuple[Message, ...] = PROMPT, **fields: object) -> Generation:
    """The record of a call; `add_turn` fills in where it belongs."""
    values: dict[str, object] = {
        "conversation_id": "",
        "parent_id": None,
        "messages": prompt,
        "sampling": Sampling(seed=7),
        "seed": 7,
        "spec": "scripted:",
        "model": "scripted",
        "revision": "r1",
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "finish": finish,
        "raw": "What, man?",
        "started_at": 1,
        "first_token_at": 2,
        "ended_at": 3,
    }
    return Generation(**(values | fields))


@cache
def empty_database() -> bytes:
    """A database just made, so that only tests of the making wait for it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "her.sqlite3"
        Store(f"sqlite:///{file}").close()
        return file.read_bytes()


def sql(file: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Go behind the store's back, with its own SQLite library: the rows of the last statement."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def opened(folder: Path) -> Store:
    """A store in this folder."""
    file = folder / "her.sqlite3"
    if not file.exists():
        file.write_bytes(empty_database())
    return Store(f"sqlite:///{file}")


def greeted(store: Store, visitor_id: str = ANNE) -> tuple[Conversation, Node]:
    """A chat with a greeting and the visitor's line: the chat and the node to reply to."""
    chat = store.create_conversation(visitor_id, DRAFT, [(turn("Who goes there?"), "greeting")])
    asked = store.add_turn(visitor_id, chat.id, chat.head_id, turn("Good evening.", "Cassio"), "visitor")
    return chat, asked


def reply(store: Store, asked: Node, text: str, finish: Finish = "stop", plan: str = "", visitor_id: str = ANNE) -> Node:
    """A model's reply below this node."""
    record = generation(finish, raw=text)
    return store.add_turn(visitor_id, asked.conversation_id, asked.id, turn(text, plan=plan), "model", generation=record)


def rating(thumb: int | None = None, stars: dict[str, int] | None = None, **fields: object) -> Rating:
    """A rating under the rubric of today."""
    return Rating(rubric=RUBRIC.version, thumb=thumb, stars=stars or {}, **fields)


SEEN = Seen(system_thinking=True, opened=("role_thinking",), swipe_index=1, swipe_count=3, layout="narrow", dwell_ms=4200)
