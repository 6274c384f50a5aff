"""Lose the machine of a playground between pushes, and rebuild 200,000 events from the data set on a local Hub.

    python -m benchmarks.space_rebuild

Twenty machines in a row write and push, in between the line is cut at any request, and each machine is lost at another point.
Whatever its page called safe must be on the next one. Then 200,000 rows, written by 40 pushes, are rebuilt on an empty disk.
Uploads over Xet and the time of a real network are not measured.
"""

import itertools
import logging
import os
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import func, insert, select

from benchmarks.report import report
from benchmarks.store import open_chat, stored
from her.errors import HerError
from her.feedback.rubric import RUBRIC
from her.store import Rating, Seen, Store
from her.store.segments import TABLES, waiting
from her.store.tables import generations, nodes, ratings
from her.types import Message, Part, Sampling, Turn, new_id
from tests.hub import WRITER, Hub, running_hub

EVENTS, PUSHES, LOSSES, BAR_S = 200_000, 40, 20, 60.0
VISITOR = "a" * 64


def start(disk: Path, name: str) -> tuple[Store, Any]:
    """Open a store on this disk and keep it in a data set, as the playground does."""
    from her.deploy.hub.durable import DurableRatings

    disk.mkdir(exist_ok=True)
    store = Store(f"sqlite:///{disk / 'her.sqlite3'}")
    kept = DurableRatings(store, name)
    kept.open()
    return store, kept


def lose_machines(hub: Hub, folder: Path) -> dict[str, int]:
    """Lose LOSSES machines; return what was called safe and is missing, and how often the line was cut before or after."""
    chance, numbers = random.Random(7), itertools.count()
    safe: set[str] = set()
    cuts = missing = twice = 0
    for number in range(LOSSES + 1):
        store, kept = start(folder / f"disk{number}", "ada/lost")
        there = stored(folder / f"disk{number}" / "her.sqlite3")
        missing += len(safe - there)
        chat, turn = open_chat(store, VISITOR)
        written: dict[str, float] = {}
        for _ in range(chance.randint(1, 4)):
            for _ in range(chance.randint(1, 5)):
                comment = f"rating {next(numbers)}"
                store.rate(VISITOR, chat, turn, Rating(rubric=RUBRIC.version, thumb=1, comment=comment))
                written[comment] = time.monotonic()
            if chance.random() < 0.6:
                hub.cut(chance.randint(1, 6), chance.choice(["before", "middle", "after"]))
            with suppress(HerError):
                kept.push()
            cuts += hub.down
            hub.mend()
            asked = time.monotonic()
            known = kept.safety()  # what the page is told
            safe |= {comment for comment, at in written.items() if not known.waiting or at <= asked - known.age}
        with store.reading() as connection:
            rows = connection.execute(select(func.count(), func.count(ratings.c.id.distinct())).select_from(ratings)).one()
        twice += rows[0] - rows[1]
        store.close()  # and its disk is never looked at again
    return {"lost": missing, "twice": twice, "called_safe": len(safe), "cuts": cuts, "machines": LOSSES}


def write_events(store: Store, count: int) -> None:
    """Write rows of a chat: replies with their calls, and ratings of them."""
    chat, turn = open_chat(store, VISITOR)
    prompt = (Message(role="system", content="Play Iago. " * 60), Message(role="user", content="Good evening. " * 20))
    call = {"conversation_id": chat, "prompt_sha256": "0" * 64, "messages": prompt, "sampling": Sampling(), "spec": "scripted:"}
    call |= {"model": "m", "revision": "", "finish": "stop", "error": "", "raw": "What, man? " * 30, "reasoning": ""}
    call |= {"started_at": 1, "ended_at": 2}
    replies, calls, rated = [], [], []
    for number in range(count // 5):
        identity = new_id()
        reply = Turn(speaker="Iago", parts=(Part(kind="speech", text="What, man? " * 30),))
        calls.append({**call, "id": identity})
        place = {"id": reply.id, "conversation_id": chat, "parent_id": turn, "turn": reply}
        replies.append({**place, "origin": "model", "generation_id": identity, "created_at": 3})
        values = {"visitor_id": VISITOR, "conversation_id": chat, "node_id": reply.id, "rubric": RUBRIC.version, "thumb": 1}
        values |= {"stars": {"voice": 4}, "tags": (), "comment": f"{number}", "seen": Seen(), "character": ""}
        rated += [{**values, "id": new_id(), "created_at": 4} for _ in range(3)]
    with store.writing() as connection:
        for table, rows in ((generations, calls), (nodes, replies), (ratings, rated)):
            connection.execute(insert(table), rows)


def row_counts(store: Store) -> dict[str, int]:
    with store.reading() as connection:
        tables = TABLES.items()
        return {name: connection.execute(select(func.count()).select_from(table)).scalar_one() for name, table in tables}


def rebuild(folder: Path) -> dict[str, Any]:
    store, kept = start(folder / "first", "ada/large")
    slowest = 0.0
    for _ in range(PUSHES):
        write_events(store, EVENTS // PUSHES)
        began = time.perf_counter()
        kept.push()
        slowest = max(slowest, time.perf_counter() - began)
    before, unsent = row_counts(store), waiting(store)
    store.close()
    began, worked = time.perf_counter(), time.process_time()
    again, _ = start(folder / "second", "ada/large")
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    same = row_counts(again) == before and not unsent
    again.close()
    return {
        "events": sum(before.values()),
        "rebuild_s": round(seconds, 1),
        "rebuild_processor_s": round(processor, 1),
        "slowest_push_s": round(slowest, 1),
        "same": same,
    }


def main() -> None:
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, running_hub(Path(folder) / "hub") as hub:
        # Read once by huggingface_hub, which is imported later.
        os.environ |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        os.environ |= {"HF_HOME": f"{folder}/hf", "HER_HOME": f"{folder}/home", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with mock.patch("huggingface_hub.utils._http.time.sleep"):  # the client waits 23 s until it gives up
            lost = lose_machines(hub, Path(folder))
        large = rebuild(Path(folder))
    passed = not lost["lost"] and not lost["twice"] and lost["cuts"] > 0 and large["same"] and large["events"] >= EVENTS
    bar = {"rebuild_s": BAR_S, "events": EVENTS, "lost": 0, "twice": 0}
    report("space_rebuild", bar, {**lost, **large}, passed and large["rebuild_s"] <= BAR_S)


if __name__ == "__main__":
    main()
