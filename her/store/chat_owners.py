"""Read whose chats are, what their visitors say of themselves, what people agreed to, and every id of a row.

Exports that strangers may read replace and leave out these (her/feedback/public_rows.py).
"""

from collections.abc import Iterator

from sqlalchemy import func, select

from her.store.core import Core
from her.store.stand_ins import is_personal
from her.store.tables import ballots, consents, conversations, edits, nodes, ratings, visitors, votes
from her.types import Language, Value


class ChatOwner(Value):
    """A chat's owner.

    Args:
        about: what the visitor says of themselves; empty where they play a character that somebody else wrote.
    """

    conversation_id: str
    visitor_id: str
    language: Language
    about: str


def chat_owners(store: Core) -> Iterator[ChatOwner]:
    """Yield the owner of every chat."""
    table = conversations.c
    columns = (table.id, table.visitor_id, table.visitor_name, table.language, table.cast)
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=200).execute(select(*columns)):
            about = next((member.profile for member in row.cast if member.name == row.visitor_name), "")
            mine = is_personal(row.visitor_name, row.cast)
            yield ChatOwner(
                conversation_id=row.id, visitor_id=row.visitor_id, language=row.language, about=about.strip() if mine else ""
            )


def consents_given(store: Core) -> dict[tuple[str, str], int]:
    """Return how many people agreed to each version of a playtest's text, by playtest and version."""
    people = func.count(consents.c.visitor_id.distinct())
    query = select(consents.c.playtest, consents.c.version, people).group_by(consents.c.playtest, consents.c.version)
    with store.reading() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def visitor_ids(store: Core) -> frozenset[str]:
    """Return the ids of all visitors."""
    with store.reading() as connection:
        return frozenset(connection.execute(select(visitors.c.id)).scalars())


def row_ids(store: Core) -> frozenset[str]:
    """Return the ids of all people, chats, turns, ratings, votes, ballots and edits."""
    tables = (visitors, conversations, nodes, ratings, votes, ballots, edits)
    with store.reading() as connection:
        return frozenset(identity for table in tables for identity in connection.execute(select(table.c.id)).scalars())
