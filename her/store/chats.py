"""Store conversations and their trees of turns. Nothing that a rating may refer to is ever overwritten.

A conversation is a tree by `parent_id`. Its head is the node shown last, and the path from a root to the head is what is
on the screen. Siblings are swipes: alternatives at one place.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from her.errors import InputError, NotFound
from her.store.core import Core, add_tombstones, node_in, nodes_of, now, owned, touch
from her.store.node_rows import insert_edit, insert_generation, insert_nodes, node_row
from her.store.records import Conversation, Draft, Generation, Node, Origin, PathNode, Rewritten, Summary
from her.store.tables import conversations, generations, nodes, visitors
from her.types import Turn, new_id

Named = Callable[[str, Turn], str]
RECENT = 10_000
"""Newest turns among which those without a reply are looked for at a start: more than are ever being answered at once."""


class Chats(Core):
    """Conversations of all visitors. Methods take the visitor first and raise NotFound for what this visitor does not own."""

    def ensure_visitor(self, visitor_id: str) -> None:
        """Register a visitor (SHA-256 of their token); idempotent."""
        known = select(visitors.c.id).where(visitors.c.id == visitor_id)
        with self.reading() as connection:  # nearly always known: do not wait for the lock of the writer
            if connection.execute(known).first():
                return
        with self.writing() as connection:
            if not connection.execute(known).first():
                connection.execute(insert(visitors).values(id=visitor_id, created_at=now()))

    def create_conversation(
        self,
        visitor_id: str,
        draft: Draft,
        first_turns: Sequence[tuple[Turn, Origin]] = (),
        alternatives: Sequence[Turn] = (),
        most: int = 0,
    ) -> Conversation:
        """Create a chat that opens with `first_turns`, each below the one before; the head is the last of them.

        Args:
            visitor_id: owner, registered if new.
            draft: fields of the chat.
            first_turns: opening, greeting or turns of a book.
            alternatives: siblings of the last first turn, such as the other greetings.
            most: chats that the visitor may have; 0 for any number.

        Raises:
            InputError: the visitor has as many.
        """
        self.ensure_visitor(visitor_id)
        at, conversation_id = now(), new_id()
        head = first_turns[-1][0].id if first_turns else None
        above = first_turns[-2][0].id if len(first_turns) > 1 else None
        origin: Origin = first_turns[-1][1] if first_turns else "greeting"
        rows = _chain(conversation_id, first_turns, at)
        rows += [node_row(conversation_id, above, turn, origin, at) for turn in alternatives]
        with self.writing() as connection:
            _require_room(connection, visitor_id, most)
            connection.execute(insert(conversations).values(_conversation_row(conversation_id, visitor_id, draft, head, at)))
            insert_nodes(connection, rows)
        return self.conversation(visitor_id, conversation_id)

    def conversations(self, visitor_id: str, limit: int = 200) -> tuple[Summary, ...]:
        """Return the visitor's chats, the last used first."""
        turns = (
            select(func.count())
            .where(nodes.c.conversation_id == conversations.c.id, nodes.c.deleted_at.is_(None))
            .scalar_subquery()
        )
        names = ("id", "title", "persona_id", "speaker", "language", "created_at", "updated_at")
        last = select(nodes.c.turn).where(nodes.c.id == conversations.c.head_id).scalar_subquery()
        query = (
            select(*(conversations.c[name] for name in names), turns.label("turns"), last.label("last"))
            .where(conversations.c.visitor_id == visitor_id, conversations.c.deleted_at.is_(None))
            .order_by(conversations.c.updated_at.desc(), conversations.c.created_at.desc(), conversations.c.id)
            .limit(limit)
        )
        with self.reading() as connection:
            return tuple(Summary(**row._mapping) for row in connection.execute(query))

    def conversation(self, visitor_id: str, conversation_id: str) -> Conversation:
        """Return the chat's record, without its turns."""
        with self.reading() as connection:
            return _conversation(owned(connection, visitor_id, conversation_id))

    def path(self, visitor_id: str, conversation_id: str) -> tuple[PathNode, ...]:
        """Return the nodes on the screen, root to head, each with its place among its swipes."""
        with self.reading() as connection:
            head = owned(connection, visitor_id, conversation_id).head_id
            parents = _skeleton(connection, conversation_id)
            children = _by_parent(parents)
            path = _path_to(parents, head)
            # Filtered here: a path may have more nodes than a statement takes variables.
            shown = set(path)
            rows = {row.id: row for row in connection.execute(_with_generation(conversation_id)) if row.id in shown}
        return tuple(_path_node(rows[node_id], children[parents[node_id]]) for node_id in path)

    def node(self, visitor_id: str, conversation_id: str, node_id: str) -> Node:
        """Return one turn of the chat."""
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            return node_record(node_in(connection, conversation_id, node_id))

    def siblings(self, visitor_id: str, conversation_id: str, node_id: str) -> tuple[Node, ...]:
        """Return the node and its swipes, oldest first."""
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            parent = node_in(connection, conversation_id, node_id).parent_id
            query = nodes_of(conversation_id).where(nodes.c.parent_id.is_not_distinct_from(parent), nodes.c.origin != "planted")
            return tuple(node_record(row) for row in connection.execute(query.order_by(nodes.c.seq)))

    def leaf_of(self, visitor_id: str, conversation_id: str, node_id: str) -> str:
        """Return the end of the newest continuation of a node: the new head when a visitor swipes back to the node."""
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            node_in(connection, conversation_id, node_id)
            children = _by_parent(_skeleton(connection, conversation_id))
        while below := children.get(node_id):
            node_id = below[-1]  # the newest
        return node_id

    def generation(self, visitor_id: str, conversation_id: str, generation_id: str) -> Generation:
        """Return the record of a call: one of this chat, or one behind a turn that `branch` copied here."""
        used = select(nodes.c.id).where(nodes.c.conversation_id == conversation_id, nodes.c.generation_id == generation_id)
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            row = connection.execute(select(generations).where(generations.c.id == generation_id)).one_or_none()
            if row is None or (row.conversation_id != conversation_id and not connection.execute(used).first()):
                raise NotFound(f"there is no record {generation_id[:40]!r} in this chat; reload the page")
            return generation_record(row)

    def add_turn(
        self,
        visitor_id: str,
        conversation_id: str,
        parent_id: str | None,
        turn: Turn,
        origin: Origin,
        *,
        generation: Generation | None = None,
        edit_of: str | None = None,
        rewritten: Rewritten | None = None,
        move_head: bool = True,
    ) -> Node:
        """Add a turn below `parent_id` (None: a new root), with its generation and the new head, in one transaction.

        Args:
            visitor_id: owner of the chat.
            conversation_id: the chat.
            parent_id: node above, or None.
            turn: the turn; its id becomes the node's.
            origin: how the turn came about.
            generation: the call that made it; `conversation_id`, `parent_id` and `node_id` are filled in here.
            edit_of: node from whose text this one was made.
            rewritten: the part of `edit_of` that a person rewrote before the model went on: it is kept as an edit for training.
            move_head: show the turn at once.

        Raises:
            NotFound: chat, parent or `edit_of` is not the visitor's.
            InputError: a turn with this id exists.
        """
        at = now()
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            for node_id in {parent_id, edit_of} - {None}:
                node_in(connection, conversation_id, str(node_id))
            row = node_row(conversation_id, parent_id, turn, origin, at)
            if generation is not None:
                place = {"conversation_id": conversation_id, "parent_id": parent_id, "node_id": turn.id}
                insert_generation(connection, generation.model_copy(update=place))
                row["generation_id"] = generation.id
            insert_nodes(connection, [row | {"edit_of": edit_of}])
            if rewritten is not None and edit_of is not None:
                insert_edit(connection, visitor_id, conversation_id, (edit_of, turn.id), at, rewritten)
            touch(connection, conversation_id, at, **({"head_id": turn.id} if move_head else {}))
        return _node_of(row | {"edit_of": edit_of})

    def record_failure(self, visitor_id: str, generation: Generation) -> None:
        """Keep a generation that made no turn; the chat stays as it was."""
        with self.writing() as connection:
            owned(connection, visitor_id, generation.conversation_id)
            if generation.parent_id is not None:
                node_in(connection, generation.conversation_id, generation.parent_id)
            # The generation may have been meant for a node; as a failed one it has none.
            insert_generation(connection, generation.model_copy(update={"node_id": None}))

    def add_edit(self, visitor_id: str, conversation_id: str, original_id: str, turn: Turn, *, move_head: bool = True) -> Node:
        """Add a rewritten turn as a sibling of the original; for a turn of the model, also an edit for training."""
        at = now()
        with self.writing() as connection:
            chat = _conversation(owned(connection, visitor_id, conversation_id))
            original = node_in(connection, conversation_id, original_id)
            row = node_row(conversation_id, original.parent_id, turn, "edit", at) | {"edit_of": original_id}
            insert_nodes(connection, [row])
            if chat.plays(original.turn.speaker):  # a rewritten line of the visitor teaches the model nothing
                insert_edit(connection, visitor_id, conversation_id, (original_id, turn.id), at)
            touch(connection, conversation_id, at, **({"head_id": turn.id} if move_head else {}))
        return _node_of(row)

    def move_head(self, visitor_id: str, conversation_id: str, node_id: str) -> None:
        """Show the path that ends at this node."""
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            node_in(connection, conversation_id, node_id)
            touch(connection, conversation_id, now(), head_id=node_id)

    def rename(self, visitor_id: str, conversation_id: str, title: str) -> None:
        """Change the title of the chat."""
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            touch(connection, conversation_id, now(), title=title)

    def delete_turn(self, visitor_id: str, conversation_id: str, node_id: str) -> None:
        """Hide a turn and all turns below it, here and in exports; a head among them moves to the turn's parent."""
        at = now()
        with self.writing() as connection:
            head = owned(connection, visitor_id, conversation_id).head_id
            parent = node_in(connection, conversation_id, node_id).parent_id
            deleted = _with_descendants(_by_parent(_skeleton(connection, conversation_id, planted=True)), node_id)
            for start in range(0, len(deleted), 500):  # SQLite takes 32,766 variables in one statement, old versions 999
                some = deleted[start : start + 500]
                connection.execute(update(nodes).where(nodes.c.id.in_(some)).values(deleted_at=at))
            add_tombstones(connection, "node", deleted, f"deleted with turn {node_id}", at)
            touch(connection, conversation_id, at, **({"head_id": parent} if head in set(deleted) else {}))

    def delete_conversation(self, visitor_id: str, conversation_id: str) -> None:
        """Hide the whole chat, here and in exports."""
        at = now()
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            add_tombstones(connection, "conversation", [conversation_id], "deleted by its visitor", at)
            touch(connection, conversation_id, at, deleted_at=at)

    def show_unanswered(self) -> int:
        """Show messages whose reply was lost when the server was killed; return how many. Called before anything runs.

        A message is on disk before its reply, and the path moves only together with the reply. So the newest turn of a chat that
        is the visitor's own and is not shown has lost its reply.
        """
        last = select(func.max(nodes.c.seq)).scalar_subquery()
        newest = (
            select(func.max(nodes.c.seq))
            .where(nodes.c.deleted_at.is_(None), nodes.c.seq > last - RECENT)
            .group_by(nodes.c.conversation_id)
        )
        query = (
            select(nodes, conversations.c.visitor_name)
            .join(conversations, conversations.c.id == nodes.c.conversation_id)
            .where(
                nodes.c.seq.in_(newest),
                nodes.c.origin.in_(("visitor", "edit")),
                conversations.c.head_id.is_distinct_from(nodes.c.id),
                conversations.c.deleted_at.is_(None),
            )
        )
        with self.writing() as connection:
            found = [row for row in connection.execute(query) if row.turn.speaker == row.visitor_name]
            for row in found:
                change = update(conversations).where(conversations.c.id == row.conversation_id)
                connection.execute(change.values(head_id=row.id))
        return len(found)

    def branch(
        self, visitor_id: str, conversation_id: str, node_id: str, most: int = 0, named: Named | None = None
    ) -> Conversation:
        """Create a chat with a copy of the path from the root to this node: new ids, the same content and generations.

        Args:
            most: as in `create_conversation`, which raises the same.
            named: gives the new title by the old one and the last turn of the copy; None keeps the old title.
        """
        at, branch_id = now(), new_id()
        with self.writing() as connection:
            _require_room(connection, visitor_id, most)
            source = _conversation(owned(connection, visitor_id, conversation_id))
            node_in(connection, conversation_id, node_id)
            path = _path_to(_skeleton(connection, conversation_id), node_id)
            shown = set(path)
            rows = {row.id: row for row in connection.execute(nodes_of(conversation_id)) if row.id in shown}
            copies = _copies(branch_id, [rows[node] for node in path], at)
            draft = Draft(**{name: getattr(source, name) for name in Draft.model_fields})
            row = _conversation_row(branch_id, visitor_id, draft, copies[-1]["id"], at)
            row |= {"branch_of": conversation_id, "branch_node": node_id}
            row |= {"title": named(source.title, rows[node_id].turn)} if named else {}
            connection.execute(insert(conversations).values(row))
            insert_nodes(connection, copies)
        return self.conversation(visitor_id, branch_id)


def _require_room(connection: Connection, visitor_id: str, most: int) -> None:
    """Refuse a visitor who has as many chats as are allowed; 0 allows any number."""
    if not most:
        return
    own = select(func.count()).where(conversations.c.visitor_id == visitor_id, conversations.c.deleted_at.is_(None))
    if (count := connection.execute(own).scalar_one()) >= most:
        raise InputError(f"you have {count} chats and at most {most} are kept; delete one that you do not need any more")


def node_record(row: Row[Any]) -> Node:
    """Return the record of a row of `nodes`."""
    return Node(**{name: getattr(row, name) for name in Node.model_fields})


def generation_record(row: Row[Any]) -> Generation:
    """Return the record of a row of `generations`."""
    return Generation(**{name: getattr(row, name) for name in Generation.model_fields})


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(**{name: getattr(row, name) for name in Conversation.model_fields})


def _node_of(row: dict[str, Any]) -> Node:
    return Node(**{name: row[name] for name in Node.model_fields})


def _path_node(row: Row[Any], swipes: list[str]) -> PathNode:
    fields = {name: getattr(row, name) for name in Node.model_fields}
    fields |= {"swipe_index": swipes.index(row.id), "swipe_count": len(swipes)}
    return PathNode(**fields, finish=row.finish, model=row.model or "")


def _with_generation(conversation_id: str) -> Any:
    both = nodes.outerjoin(generations, nodes.c.generation_id == generations.c.id)
    return nodes_of(conversation_id).add_columns(generations.c.finish, generations.c.model).select_from(both)


def _conversation_row(conversation_id: str, visitor_id: str, draft: Draft, head_id: str | None, at: int) -> dict[str, Any]:
    own = {"id": conversation_id, "visitor_id": visitor_id, "head_id": head_id, "created_at": at, "updated_at": at}
    return {name: getattr(draft, name) for name in Draft.model_fields} | own


def _chain(conversation_id: str, turns: Iterable[tuple[Turn, Origin]], at: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for turn, origin in turns:
        rows.append(node_row(conversation_id, rows[-1]["id"] if rows else None, turn, origin, at))
    return rows


def _copies(branch_id: str, line: list[Row[Any]], at: int) -> list[dict[str, Any]]:
    """Rows of the same turns under new ids; `edit_of` stays with the original chat."""
    rows = _chain(branch_id, [(row.turn.model_copy(update={"id": new_id()}), row.origin) for row in line], at)
    return [copy | {"generation_id": row.generation_id, "edit_of": row.edit_of} for copy, row in zip(rows, line, strict=True)]


def _skeleton(connection: Connection, conversation_id: str, *, planted: bool = False) -> dict[str, str | None]:
    """Return the parent of every node that is not deleted, the oldest node first; a chat has a few thousand at most.

    Planted turns are only asked for where everything is meant: they are no swipes, and no path leads through them.
    """
    query = nodes_of(conversation_id) if planted else nodes_of(conversation_id).where(nodes.c.origin != "planted")
    columns = query.with_only_columns(nodes.c.id, nodes.c.parent_id).order_by(nodes.c.seq)
    return {row.id: row.parent_id for row in connection.execute(columns)}


def _by_parent(parents: dict[str, str | None]) -> dict[str | None, list[str]]:
    children: dict[str | None, list[str]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent, []).append(node_id)
    return children


def _path_to(parents: dict[str, str | None], node_id: str | None) -> list[str]:
    """Return the ids from the root to this node; empty for None and for a deleted node."""
    path: list[str] = []
    while node_id is not None and node_id in parents:
        path.append(node_id)
        node_id = parents[node_id]
    return path[::-1]


def _with_descendants(children: dict[str | None, list[str]], top: str) -> list[str]:
    node_ids = [top]
    for node_id in node_ids:  # the list grows while it is walked
        node_ids += children.get(node_id, [])
    return node_ids
