"""Write rows of turns and of the calls that made them; chats and pairs of replies are made of these."""

from typing import Any

from sqlalchemy import Connection, exc, insert

from her.errors import InputError
from her.store.records import Generation, Origin, Rewritten
from her.store.tables import edits, generations, nodes
from her.types import Turn, new_id


def node_row(conversation_id: str, parent_id: str | None, turn: Turn, origin: Origin, at: int) -> dict[str, Any]:
    """Return the values of a row of `nodes`."""
    return {
        "id": turn.id,
        "conversation_id": conversation_id,
        "parent_id": parent_id,
        "turn": turn,
        "origin": origin,
        "generation_id": None,
        "edit_of": None,
        "created_at": at,
    }


def insert_nodes(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert rows of `node_row`; InputError when one of their ids is taken."""
    if not rows:
        return
    try:
        connection.execute(insert(nodes), rows)
    except exc.IntegrityError as error:
        ids = ", ".join(row["id"] for row in rows[:3])
        raise InputError(f"a turn of this id exists already ({ids}); give every turn an id of its own") from error


def insert_generation(connection: Connection, generation: Generation) -> None:
    """Insert the record of a call."""
    row = {name: getattr(generation, name) for name in Generation.model_fields}
    connection.execute(insert(generations).values(**row, prompt_sha256=generation.prompt_sha256))


def insert_edit(
    connection: Connection, visitor: str, chat: str, pair: tuple[str, str], at: int, rewritten: Rewritten | None = None
) -> None:
    """Keep for training that the second node of `pair` was made from the first by hand, wholly or in the part `rewritten`."""
    ids = {"id": new_id(), "visitor_id": visitor, "conversation_id": chat}
    part = {"kind": rewritten.kind, "place": rewritten.place} if rewritten else {}
    connection.execute(insert(edits).values(**ids, original_id=pair[0], edited_id=pair[1], created_at=at, **part))
