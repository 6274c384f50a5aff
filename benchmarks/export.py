"""Export a million ratings to Parquet. Run: `python -m benchmarks.export [RATINGS]`

The database is filled with sqlite3 beforehand, outside the measured time: 20 rated replies in each chat, half of the visitors
with a name of their own, which an export replaces; a prompt has a persona of 1,200 letters and the last six turns. Measured is
`her ratings export` in a process of its own, from start to end, with the most memory that the system saw it use. The rows of the
file are counted afterwards. Prints one JSON object.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.report import report
from her.store import Generation, Node, Rating, Seen, Store
from her.types import CastMember, Message, Part, Sampling, Scenario, Turn

RATINGS, EACH, PEOPLE = 1_000_000, 20, 1_000
BAR = {"wall_s": 60.0, "memory_mb": 500.0}
PROFILE = "You are Iago, ensign to Othello. " + "He smiles at those whom he means to ruin, and they thank him for it. " * 17
LINES = [f"I am not what I am, number {number}; put money in thy purse, and follow thou the wars." for number in range(40)]
Rows = dict[str, list[tuple[object, ...]]]


def fill(file: Path, ratings: int) -> None:
    """Write the database."""
    Store(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -64000"):
            connection.execute(f"PRAGMA {pragma}")
        people = [(f"{number:064x}", 0) for number in range(PEOPLE)]
        connection.executemany("INSERT INTO visitors (id, created_at) VALUES (?, ?)", people)
        chance = random.Random(0)
        for start in range(0, ratings // EACH, 500):
            for table, columns, rows in _batches(range(start, min(start + 500, ratings // EACH)), chance):
                places = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
        connection.commit()


def _batches(chats: range, chance: random.Random) -> Iterator[tuple[str, list[str], list[tuple[object, ...]]]]:
    tables: dict[str, list[dict[str, object]]] = {name: [] for name in ("conversations", "generations", "nodes", "ratings")}
    for number in chats:
        _chat(number, tables, chance)
    for name, rows in tables.items():
        yield name, list(rows[0]), [tuple(row.values()) for row in rows]


def _chat(number: int, tables: dict[str, list[dict[str, object]]], chance: random.Random) -> None:
    chat, visitor = f"{number:032x}", f"{number % PEOPLE:064x}"
    name = "Mara Voss" if number % 2 else ""
    cast = [CastMember(name="Iago", persona="iago").model_dump(), CastMember(name=name or "Visitor").model_dump()]
    about = {"title": "", "persona_id": "iago", "language": "en", "visitor_name": name, "speaker": "Iago"}
    about |= {"scenario": Scenario(id="s").model_dump_json(), "cast": json.dumps(cast)}
    tables["conversations"].append({"id": chat, "visitor_id": visitor, **about, "created_at": 0, "updated_at": 0})
    history: list[Message] = []
    for place in range(EACH):
        history.append(Message(role="user", content=f"{name or 'Visitor'}: {chance.choice(LINES)} {chance.choice(LINES)}"))
        prompt = (Message(role="system", content=PROFILE), *history[-11:])
        _reply(chat, visitor, f"{number:024x}{place:08x}", prompt, tables, chance)
        history.append(Message(role="assistant", content=f"Iago: {chance.choice(LINES)}"))


def _reply(
    chat: str,
    visitor: str,
    node: str,
    prompt: tuple[Message, ...],
    tables: dict[str, list[dict[str, object]]],
    chance: random.Random,
) -> None:
    said = chance.choice(LINES)
    parts = (Part(kind="system_thinking", text=said), Part(kind="role_thinking", text=said), Part(kind="speech", text=said))
    turn = Turn(id=node, speaker="Iago", parts=parts, raw=said * 3)
    call = Generation(
        id=f"g{node}", conversation_id=chat, parent_id=None, node_id=node, messages=prompt, sampling=Sampling(seed=7), seed=7,
        spec="openai:x", model="m", finish="stop", raw=turn.raw, started_at=1, ended_at=2,
    )  # fmt: skip
    own = call.model_dump(exclude={"messages", "sampling", "error", "raw", "reasoning", "error_reason"})
    texts = {"messages": json.dumps([each.model_dump() for each in prompt], separators=(",", ":"))}
    texts |= {"sampling": call.sampling.model_dump_json(), "error": '""', "raw": json.dumps(call.raw), "reasoning": '""'}
    tables["generations"].append(own | texts | {"prompt_sha256": "0"})
    row = Node(id=node, conversation_id=chat, parent_id=None, turn=turn, origin="model", generation_id=call.id, created_at=0)
    tables["nodes"].append(row.model_dump(exclude={"turn"}) | {"turn": turn.model_dump_json()})
    stars = {"voice": chance.randint(1, 5), "engaging": chance.randint(1, 5)}
    rating = Rating(rubric="2026-11", thumb=1, stars=stars, comment="", seen=Seen(role_thinking=True))
    given = {"id": f"r{node}", "visitor_id": visitor, "conversation_id": chat, "node_id": node, "rubric": rating.rubric}
    given |= {"thumb": 1, "stars": json.dumps(stars), "tags": "[]", "comment": "", "seen": rating.seen.model_dump_json()}
    tables["ratings"].append(given | {"created_at": 1_795_000_000_000})


def export(file: Path, out: Path) -> dict[str, float]:
    """Run the command; return seconds, processor seconds and the most memory in MB (10^6 bytes)."""
    command = [sys.executable, "-m", "her.cli", "ratings", "export", "--format", "jsonl", "--out", str(out)]
    environment = {**os.environ, "HER_DATABASE_URL": f"sqlite:///{file}"}
    began = time.perf_counter()
    started = subprocess.Popen(command, env=environment)
    _, status, used = os.wait4(started.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return {
        "wall_s": round(seconds, 1),
        "processor_s": round(used.ru_utime + used.ru_stime, 1),
        "memory_mb": round(used.ru_maxrss * 1024 / 1e6, 1),
    }


def main() -> None:
    """Measure and print."""
    from pyarrow import parquet

    ratings = int(sys.argv[1]) if len(sys.argv) > 1 else RATINGS
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "her.sqlite3", Path(folder) / "ratings.parquet"
        fill(file, ratings)
        measured = export(file, out)
        measured |= {"rows": parquet.read_metadata(out).num_rows, "database_gb": round(file.stat().st_size / 1e9, 2)}
        measured["file_gb"] = round(out.stat().st_size / 1e9, 2)
    ok = all(measured[name] <= limit for name, limit in BAR.items()) and measured["rows"] == ratings
    report("export", {**BAR, "rows": ratings}, measured, ok)


if __name__ == "__main__":
    main()
