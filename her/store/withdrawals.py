"""Delete the rows of people who withdrew, and read all rows of one person.

A tombstone alone keeps what it names out of every export (her/store/exports.py). The rows go as well when a person asks for it,
and where the database is kept outside this machine, whose copies have to lose them too.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, Text, delete, false, literal, or_, select, type_coerce, union

from her.store.core import Core
from her.store.segments import TABLES
from her.store.tables import JsonColumn, ballots, conversations, generations, nodes, outbox, tombstones, visitors, votes

NOT_TOLD: Mapping[str, frozenset[str]] = {
    # The prompts repeat the turns; the rest is the operator's: addresses of servers, and who wrote what before a blind vote.
    "generations": frozenset(("messages", "spec", "model", "revision", "sampling", "seed", "error")),
    "nodes": frozenset(("origin",)),  # it names the turns that were planted to be bad
}
"""Columns that are not in the file of a person's own rows, by table."""
BALLOT_TOLD = frozenset(("id", "conversation_id", "a_id", "b_id", "first", "created_at"))
"""Columns of a ballot that are: the others would tell which side was planted, or which arm wrote it."""


def has_withdrawn(store: Core, after: int, through: int) -> bool:
    """Return whether somebody withdrew everything, by the entries of the outbox above `after` and up to `through`."""
    both = outbox.join(tombstones, outbox.c.row_id == tombstones.c.id)
    query = select(outbox.c.seq).select_from(both).where(outbox.c.table_name == "tombstones", tombstones.c.kind == "visitor")
    with store.reading() as connection:
        return connection.execute(query.where(outbox.c.seq > after, outbox.c.seq <= through).limit(1)).first() is not None


def erase_withdrawn(store: Core) -> int:
    """Delete all rows of people who withdrew, and votes of others on their chats; the tombstones stay. Return the number."""
    people = select(tombstones.c.target_id).where(tombstones.c.kind == "visitor")
    with store.writing() as connection:
        # Each table before those that it refers to.
        statements = [delete(table).where(rows_of(table, people)) for table in reversed(TABLES.values())]
        return sum(connection.execute(statement).rowcount for statement in statements)


def withdrawn_visitors(store: Core) -> frozenset[str]:
    """Return the ids of the people who withdrew everything."""
    with store.reading() as connection:
        query = select(tombstones.c.target_id).where(tombstones.c.kind == "visitor")
        return frozenset(connection.execute(query).scalars())


def rows_of(table: Table, people: Select[Any]) -> ColumnElement[bool]:
    """Return the condition for the rows of some people: their own, and those of others about their chats."""
    chats = select(conversations.c.id).where(conversations.c.visitor_id.in_(people))
    asked = select(ballots.c.id).where(ballots.c.visitor_id.in_(people) | ballots.c.conversation_id.in_(chats))
    if table is visitors:
        return visitors.c.id.in_(people)
    owners = {"visitor_id": people, "conversation_id": chats, "ballot_id": asked}
    # Tombstones have none of these columns: they stay.
    return or_(false(), *(table.c[name].in_(ids) for name, ids in owners.items() if name in table.c))


def personal_rows(store: Core, visitor_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row about one person by table, oldest first, without ids of visitors and the columns in NOT_TOLD."""
    person = select(literal(visitor_id))
    found: dict[str, list[dict[str, Any]]] = {}
    with store.reading() as connection:
        for name, table in TABLES.items():
            told = [column for column in table.c if _is_told(column)]
            packed = {column.name for column in told if isinstance(column.type, JsonColumn)}
            columns = [type_coerce(column, Text).label(column.name) if column.name in packed else column for column in told]
            first = next(table.c[key] for key in ("seq", "created_at", "started_at") if key in table.c)
            rows = connection.execute(select(*columns).where(_about(table, person)).order_by(first)).mappings()
            found[name] = [{key: json.loads(row[key]) if key in packed and row[key] else row[key] for key in row} for row in rows]
    return found


def _about(table: Table, person: Select[Any]) -> ColumnElement[bool]:
    """Return the condition for the rows that one person made; what others think of their chats is not theirs to read."""
    if table is tombstones:
        named = (TABLES[name] for name in ("visitors", "conversations", "nodes", "ratings", "votes"))
        return or_(*(tombstones.c.target_id.in_(select(each.c.id).where(_about(each, person))) for each in named))
    own = table.c.visitor_id.in_(person) if "visitor_id" in table.c else rows_of(table, person)
    if table is nodes:
        return own & nodes.c.id.not_in(_waiting())
    return own & or_(table.c.node_id.is_(None), table.c.node_id.not_in(_waiting())) if table is generations else own


def _waiting() -> Select[Any]:
    """Return the query of replies that wait for a blind vote: beside the open ballot they would tell who wrote what."""
    answered = select(votes.c.ballot_id)
    open_ones = ballots.c.id.not_in(answered) & ballots.c.skipped_at.is_(None)
    sides = (select(side).where(open_ones) for side in (ballots.c.a_id, ballots.c.b_id))
    return select(union(*sides).subquery().c[0])


def _is_told(column: Column[Any]) -> bool:
    table = column.table
    if table is ballots:
        return column.name in BALLOT_TOLD
    identifies = column.name in ("seq", "visitor_id") or (table is visitors and column.name == "id")
    return not identifies and column.name not in NOT_TOLD.get(getattr(table, "name", ""), ())
