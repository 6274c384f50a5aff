"""Chats for the tests of the store and of its exports."""

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from her.feedback.rubric import RUBRIC
from her.store import Conversation, Draft, Finish, Generation, Node, Rating, Seen, Store
from her.store.records import LayerSight
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
    """Return a spoken turn, with a plan if there is one."""
    parts = [Part(kind="system_thinking", text=plan)] if plan else []
    return Turn(speaker=speaker, parts=(*parts, Part(kind="speech", text=text)), raw=text)


def generation(finish: Finish = "stop", prompt: tuple[Message, ...] = PROMPT, **fields: object) -> Generation:
    """Return the record of a call; `add_turn` fills in its place."""
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
    """Return the bytes of a new database, so that only the tests of migrations wait for one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "her.sqlite3"
        Store(f"sqlite:///{file}").close()
        return file.read_bytes()


def sql(file: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Execute statements without the store and return the rows of the last one."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def opened(folder: Path) -> Store:
    """Return a store in this folder."""
    file = folder / "her.sqlite3"
    if not file.exists():
        file.write_bytes(empty_database())
    store = Store(f"sqlite:///{file}")
    _share_statements(store)
    return store


def _share_statements(store: Store, shared: dict[str, Any] = {}) -> None:  # noqa: B006  (one for all stores)
    """Let all stores use one dialect and one cache of compiled statements.

    SQLAlchemy compiles a statement once for each engine, which is half of the time that a short test spends in its store.
    """
    dialect = shared.setdefault("dialect", store._engine.dialect)
    for engine in (store._engine, store._writing):
        engine.dialect = dialect
        engine.update_execution_options(compiled_cache=shared.setdefault("compiled", {}))


def greeted(store: Store, visitor_id: str = ANNE) -> tuple[Conversation, Node]:
    """Return a chat with a greeting and a line of the visitor, and the node of that line."""
    chat = store.create_conversation(visitor_id, DRAFT, [(turn("Who goes there?"), "greeting")])
    question = store.add_turn(visitor_id, chat.id, chat.head_id, turn("Good evening.", "Cassio"), "visitor")
    return chat, question


def reply(store: Store, question: Node, text: str, finish: Finish = "stop", plan: str = "", visitor_id: str = ANNE) -> Node:
    """Add a reply of the model below a node."""
    record = generation(finish, raw=text)
    return store.add_turn(visitor_id, question.conversation_id, question.id, turn(text, plan=plan), "model", generation=record)


def rating(thumb: int | None = None, stars: dict[str, int] | None = None, **fields: object) -> Rating:
    """Return a rating by the present rubric."""
    return Rating(rubric=RUBRIC.version, thumb=thumb, stars=stars or {}, **fields)


OPEN = LayerSight(open=True, in_view=True, ms=4_200)
SHUT = LayerSight(open=False, in_view=False, ms=300)
SEEN = Seen(
    version=2,
    system_thinking=True,
    shut=("system_thinking",),
    swipe_index=1,
    swipe_count=3,
    layout="narrow",
    sights={"turn": OPEN, "speech": OPEN, "system_thinking": SHUT},
)
