"""Delete the rows of people who withdrew, where the database is kept outside this machine and its copies have to lose them too.

Elsewhere a tombstone is enough: exports leave out what it names (her/store/exports.py).
"""

from sqlalchemy import delete, select

from her.store.core import Core
from her.store.tables import (
    ballots,
    choices,
    conversations,
    edits,
    generations,
    nodes,
    outbox,
    ratings,
    tombstones,
    visitors,
    votes,
)


def has_withdrawn(store: Core, after: int, through: int) -> bool:
    """Return whether somebody withdrew everything, by the entries of the outbox above `after` and up to `through`."""
    both = outbox.join(tombstones, outbox.c.row_id == tombstones.c.id)
    query = select(outbox.c.seq).select_from(both).where(outbox.c.table_name == "tombstones", tombstones.c.kind == "visitor")
    with store.reading() as connection:
        return connection.execute(query.where(outbox.c.seq > after, outbox.c.seq <= through).limit(1)).first() is not None


def erase_withdrawn(store: Core) -> int:
    """Delete all rows of people who withdrew, and votes of others on their chats; the tombstones stay. Return the number."""
    people = select(tombstones.c.target_id).where(tombstones.c.kind == "visitor")
    chats = select(conversations.c.id).where(conversations.c.visitor_id.in_(people))
    asked = select(ballots.c.id).where(ballots.c.visitor_id.in_(people) | ballots.c.conversation_id.in_(chats))
    removed = [votes.c.visitor_id.in_(people) | votes.c.ballot_id.in_(asked), ballots.c.id.in_(asked)]
    removed += [table.c.visitor_id.in_(people) | table.c.conversation_id.in_(chats) for table in (edits, choices, ratings)]
    removed += [table.c.conversation_id.in_(chats) for table in (nodes, generations)]
    removed += [conversations.c.visitor_id.in_(people), visitors.c.id.in_(people)]
    order = (votes, ballots, edits, choices, ratings, nodes, generations, conversations, visitors)
    with store.writing() as connection:
        statements = (delete(table).where(where) for table, where in zip(order, removed, strict=True))
        return sum(connection.execute(statement).rowcount for statement in statements)
