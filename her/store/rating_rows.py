"""Read ratings for an export as their rows hold them: JSON columns stay text, so that a million are exported in a minute."""

from collections.abc import Iterator
from functools import lru_cache, partial
from json.encoder import encode_basestring
from typing import NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, Integer, String, select, type_coerce

from her.store.core import Core
from her.store.exports import BATCH, EVERYTHING, ExportFilter, counting, reply_of, selected, stand_in_of
from her.store.records import Rating
from her.store.stand_ins import StandIn
from her.store.tables import JsonColumn, conversations, generations, nodes, ratings
from her.types import Message, Sampling, Turn

_STARTS_MESSAGE = '{"role":"'
"""Start of a message in stored JSON; inside a text its quotes have backslashes, so it is found nowhere else."""


class StoredRating(NamedTuple):
    """A rating that counts as its row holds it, with the reply and the call; columns with JSON are texts, not parsed.

    None in the columns of a reply or a call where there is none. `messages` are without the beginning of a continued reply.
    """

    visitor_id: str
    conversation_id: str
    persona_id: str
    language: str
    speaker: str
    character: str
    rubric: str
    thumb: int | None
    stars: str
    tags: str
    comment: str
    seen: str
    created_at: int
    origin: str | None
    turn: str | None
    messages: str | None
    model: str | None
    revision: str | None
    sampling: str | None
    finish: str | None


def stored_ratings(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[StoredRating]:
    """Yield the ratings that count and are not withdrawn, oldest first, as texts: a million of them is exported in a minute."""
    joined = ratings.join(conversations, ratings.c.conversation_id == conversations.c.id)
    joined = joined.outerjoin(nodes, ratings.c.node_id == nodes.c.id).outerjoin(
        generations, nodes.c.generation_id == generations.c.id
    )
    of_rating = ("visitor_id", "conversation_id", "character", *Rating.model_fields, "created_at")
    of_call = ("messages", "model", "revision", "sampling", "finish")
    columns = {name: ratings.c[name] for name in of_rating}
    columns |= {name: conversations.c[name] for name in ("persona_id", "language", "speaker")}
    columns |= {name: nodes.c[name] for name in ("origin", "turn")} | {name: generations.c[name] for name in of_call}
    plain = [type_coerce(columns[name], Integer if name in ("thumb", "created_at") else String) for name in StoredRating._fields]
    place = (nodes.c.generation_id, nodes.c.edit_of, ratings.c.node_id, conversations.c.visitor_name)
    query = select(*plain, *place).select_from(joined)
    query = query.where(*counting(), *selected(store, only, ratings)).order_by(ratings.c.seq)
    size = len(StoredRating._fields)
    with store.reading() as connection:
        # One chat after the other is rated, so its name is needed for some rows in a row.
        name_of = lru_cache(maxsize=BATCH)(partial(stand_in_of, connection))
        for row in connection.execution_options(yield_per=5 * BATCH).execute(query):
            found = StoredRating._make(row[:size])
            generation_id, edit_of = row.generation_id, row.edit_of
            if generation_id is None and edit_of is not None:
                found = _with_call_of(connection, found, str(row.node_id))
            if found.messages:
                found = found._replace(messages=_answered(found.messages))
            if row.turn and row.visitor_name and (name := name_of(row.conversation_id)):
                found = _without_name(found, name)
            yield found


def _without_name(found: StoredRating, name: StandIn) -> StoredRating:
    """Return a rating with a stand-in for the visitor's own name in its turn and in the messages."""
    turn = name.turn(Turn.model_validate_json(found.turn or "")).model_dump_json()
    if not found.messages:
        return found._replace(turn=turn)
    messages = [_message(name, each["role"], each["content"]) for each in from_json(found.messages)]
    return found._replace(turn=turn, messages=f"[{','.join(messages)}]")


@lru_cache(maxsize=4096)
def _message(name: StandIn, role: str, content: str) -> str:
    """Return the JSON of a message with the name replaced; the messages of a history come again in every later prompt."""
    return f'{{"role":"{role}","content":{encode_basestring(name.text(content))}}}'


def _with_call_of(connection: Connection, found: StoredRating, node_id: str) -> StoredRating:
    """Return an edited reply with the call that its text was made from."""
    call = reply_of(connection, node_id).generation
    if call is None:
        return found
    messages = JsonColumn(tuple[Message, ...]).process_bind_param(call.messages, connection.dialect)
    sampling = JsonColumn(Sampling).process_bind_param(call.sampling, connection.dialect)
    return found._replace(model=call.model, revision=call.revision, finish=call.finish, messages=messages, sampling=sampling)


def _answered(messages: str) -> str:
    """Return the JSON of the messages up to the reply, as `Generation.prompt`."""
    last = messages.rfind(_STARTS_MESSAGE)
    if not messages.startswith("assistant", last + len(_STARTS_MESSAGE)):
        return messages
    return messages[:last].rstrip(", ") + "]"
