"""Undo deletions: what was hidden is shown again, and its tombstones go, so that exports have it again."""

from sqlalchemy import Connection, delete, select, update

from her.errors import InputError
from her.store.core import Core, no_chat, no_turn, now, owned, touch
from her.store.tables import conversations, nodes, tombstones

SOME = 500
"""Ids in one statement: SQLite takes 32,766 variables, old versions 999."""


class Undo(Core):
    """Deletions of turns and chats, undone by their visitor within some seconds."""

    def restore_turn(self, visitor_id: str, conversation_id: str, node_id: str, seconds: int) -> None:
        """Bring back a turn and what was deleted with it; NotFound when nothing was deleted with it within `seconds`."""
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            deleted = _dead(connection, "node", f"deleted with turn {node_id}", now() - 1000 * seconds)
            known = select(nodes.c.parent_id).where(nodes.c.id == node_id, nodes.c.conversation_id == conversation_id)
            row = connection.execute(known).one_or_none()
            if row is None or node_id not in deleted.values():
                raise no_turn(node_id)
            gone = select(nodes.c.id).where(nodes.c.id == row.parent_id, nodes.c.deleted_at.is_not(None))
            if connection.execute(gone).first():
                raise InputError("the turn above this one is deleted as well; bring that one back first")
            ids, targets = list(deleted), list(deleted.values())
            for start in range(0, len(ids), SOME):
                shown = update(nodes).where(nodes.c.id.in_(targets[start : start + SOME])).values(deleted_at=None)
                connection.execute(shown)
                connection.execute(delete(tombstones).where(tombstones.c.id.in_(ids[start : start + SOME])))
            touch(connection, conversation_id, now())

    def restore_conversation(self, visitor_id: str, conversation_id: str, seconds: int) -> None:
        """Bring back a chat; NotFound when the visitor deleted none of this id within `seconds`."""
        own = select(conversations.c.id).where(conversations.c.id == conversation_id, conversations.c.visitor_id == visitor_id)
        with self.writing() as connection:
            deleted = _dead(connection, "conversation", "deleted by its visitor", now() - 1000 * seconds, conversation_id)
            if not deleted or connection.execute(own).first() is None:
                raise no_chat(conversation_id)
            connection.execute(delete(tombstones).where(tombstones.c.id.in_(list(deleted))))
            touch(connection, conversation_id, now(), deleted_at=None)


def _dead(connection: Connection, kind: str, reason: str, since: int, target: str = "") -> dict[str, str]:
    """Return the targets of tombstones by the tombstones' ids."""
    query = select(tombstones.c.id, tombstones.c.target_id).where(
        tombstones.c.kind == kind, tombstones.c.reason == reason, tombstones.c.created_at >= since
    )
    query = query.where(tombstones.c.target_id == target) if target else query
    return {row.id: row.target_id for row in connection.execute(query)}
