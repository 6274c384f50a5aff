"""Store what people think of turns: ratings, choices among swipes, withdrawals. Rows are only added; the newest counts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Row, Select, bindparam, func, insert, select

from her.errors import InputError, NotFound
from her.store.core import Core, add_tombstones, no_chat, no_turn, node_in, nodes_of, now, owned
from her.store.records import Choice, Rated, Rating, Seen
from her.store.tables import choices, conversations, nodes, ratings, tombstones
from her.types import new_id

RECENT = 20
"""Newest ratings of one turn that are looked through for a newer act of the same browser."""


class Feedback(Core):
    """Ratings and choices. Methods take the visitor first and raise NotFound for what this visitor does not own."""

    def rate(self, visitor_id: str, conversation_id: str, node_id: str | None, rating: Rating, character: str = "") -> int:
        """Save a rating of a turn, or of the whole chat with `node_id` None; an empty rating withdraws the earlier one.

        Check it first with `her.feedback.rubric.check_rating`, which knows the rubric. With a `character` the rating of the chat
        is for how this member of the cast was played.

        A rating that is sent again, or comes after a newer one of the same browser (`Seen.act`), adds nothing.

        Returns:
            The time of saving (UTC, ms). The rating is on disk when this returns.
        """
        at = now()
        values = {name: getattr(rating, name) for name in Rating.model_fields}
        ids = {"id": new_id(), "visitor_id": visitor_id, "conversation_id": conversation_id, "node_id": node_id}
        ids["character"] = character
        with self.reading() as connection:  # before the lock, so that the only writer just writes
            target = {"visitor": visitor_id, "chat": conversation_id, "node": node_id}
            row = connection.execute(_target(), target).one_or_none()
        if row is None:
            raise no_chat(conversation_id)
        if node_id is not None and row.node is None:
            raise no_turn(node_id)
        with self.writing() as connection:
            # Read under the lock, since the older of two requests may be on its way at the same time.
            if rating.seen.act and (saved := _saved_before(connection, ids, rating.seen)):
                return saved
            connection.execute(_insert_rating(), ids | values | {"created_at": at})
        return at

    def ratings(self, visitor_id: str, conversation_id: str) -> dict[str | None, Rated]:
        """Return the visitor's rating that counts for each node (None: the whole chat), without withdrawn ones."""
        mine = (ratings.c.visitor_id == visitor_id) & (ratings.c.conversation_id == conversation_id)
        query = select(ratings).where(mine, ratings.c.seq.in_(newest(mine))).order_by(ratings.c.seq)
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            rated = [rated_record(row) for row in connection.execute(query)]
        return {item.node_id: item for item in rated if not item.rating.empty and not item.character}

    def character_ratings(self, visitor_id: str, conversation_id: str) -> dict[str, Rated]:
        """Return the visitor's rating that counts for each character of a scene, without withdrawn ones."""
        mine = (ratings.c.visitor_id == visitor_id) & (ratings.c.conversation_id == conversation_id) & (ratings.c.character != "")
        query = select(ratings).where(mine, ratings.c.seq.in_(newest(mine))).order_by(ratings.c.seq)
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            rated = [rated_record(row) for row in connection.execute(query)]
        return {item.character: item for item in rated if not item.rating.empty}

    def add_choice(
        self,
        visitor_id: str,
        conversation_id: str,
        chosen_id: str,
        seen: Seen | None = None,
        alternatives: Sequence[str] | None = None,
    ) -> Choice:
        """Save that a reply was kept over its swipes; a later choice at the same place replaces it.

        Args:
            visitor_id: owner of the chat.
            conversation_id: the chat.
            chosen_id: node that was kept.
            seen: what the visitor saw.
            alternatives: the other swipes; None for all of them.

        Raises:
            InputError: there is no other swipe.
            NotFound: an alternative is not a swipe of the chosen node.
        """
        # Read and written in one transaction: a swipe that is deleted meanwhile cannot be recorded as rejected.
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            parent = node_in(connection, conversation_id, chosen_id).parent_id
            here = nodes.c.parent_id.is_not_distinct_from(parent) & (nodes.c.origin != "planted")
            query = nodes_of(conversation_id).where(here).order_by(nodes.c.seq)
            others = [row for row in connection.execute(query.with_only_columns(nodes.c.id)).scalars() if row != chosen_id]
            for stranger in set(alternatives or ()) - set(others):
                raise NotFound(f"the turn {stranger[:40]!r} is no swipe of the one kept; reload the page")
            rejected = others if alternatives is None else [node_id for node_id in others if node_id in set(alternatives)]
            if not rejected:
                raise InputError("there is only one reply here; ask for another before keeping one")
            choice = Choice(
                id=new_id(),
                visitor_id=visitor_id,
                conversation_id=conversation_id,
                parent_id=parent,
                chosen_id=chosen_id,
                alternatives=tuple(rejected),
                seen=seen or Seen(),
                created_at=now(),
            )
            connection.execute(insert(choices).values({name: getattr(choice, name) for name in Choice.model_fields}))
        return choice

    def choices(self, visitor_id: str, conversation_id: str) -> dict[str | None, Choice]:
        """Return the choice that counts at each place, by parent node."""
        query = select(choices).where(choices.c.visitor_id == visitor_id, choices.c.conversation_id == conversation_id)
        with self.reading() as connection:
            owned(connection, visitor_id, conversation_id)
            records = [choice_record(row) for row in connection.execute(query.order_by(choices.c.seq))]
        return {choice.parent_id: choice for choice in records}  # the newest of a place comes last

    def withdraw_visitor(self, visitor_id: str, reason: str = "consent withdrawn") -> None:
        """Leave all that this visitor wrote and rated out of every export from now on."""
        with self.writing() as connection:
            add_tombstones(connection, "visitor", [visitor_id], reason, now())

    def withdrawals_since(self, at: int) -> int:
        """Return how many ratings, votes and people were withdrawn after this moment, in milliseconds since 1970."""
        query = select(func.count()).select_from(tombstones).where(tombstones.c.created_at > at)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def withdrawn_ids(self) -> frozenset[str]:
        """Return the ids of all people, ratings, votes, conversations and turns that were withdrawn or deleted."""
        with self.reading() as connection:
            return frozenset(connection.execute(select(tombstones.c.target_id)).scalars())

    def withdraw_rating(self, visitor_id: str, rating_id: str, reason: str = "withdrawn") -> None:
        """Leave one rating out of every export."""
        mine = select(ratings.c.id).where(ratings.c.id == rating_id, ratings.c.visitor_id == visitor_id)
        with self.writing() as connection:
            if not connection.execute(mine).first():
                raise NotFound(f"there is no rating {rating_id[:40]!r} here; reload the page")
            add_tombstones(connection, "rating", [rating_id], reason, now())


@cache
def _target() -> Select[Any]:
    """Return the query of what `rate` checks; cached, since building it takes longer than running it."""
    here = (nodes.c.id == bindparam("node")) & (nodes.c.conversation_id == conversations.c.id)
    both = conversations.outerjoin(nodes, here & nodes.c.deleted_at.is_(None))
    mine = (conversations.c.visitor_id == bindparam("visitor")) & conversations.c.deleted_at.is_(None)
    query = select(nodes.c.id.label("node")).select_from(both)
    return query.where(conversations.c.id == bindparam("chat"), mine)


def _saved_before(connection: Connection, ids: dict[str, Any], seen: Seen) -> int | None:
    """Return when this act, or a newer one of its browser, was saved for the same turn or chat; None when neither was."""
    target = {name: ids[name] for name in ("visitor_id", "conversation_id", "node_id", "character")}
    for row in connection.execute(_recent(), target):
        if row.seen.browser == seen.browser and row.seen.act >= seen.act:
            return int(row.created_at)
    return None


@cache
def _recent() -> Select[Any]:
    same = (ratings.c.visitor_id == bindparam("visitor_id")) & (ratings.c.conversation_id == bindparam("conversation_id"))
    here = ratings.c.node_id.is_not_distinct_from(bindparam("node_id")) & (ratings.c.character == bindparam("character"))
    return select(ratings.c.seen, ratings.c.created_at).where(same & here).order_by(ratings.c.seq.desc()).limit(RECENT)


@cache
def _insert_rating() -> Insert:
    return insert(ratings)


def newest(*where: ColumnElement[bool]) -> Any:
    """Return the query of the `seq` of the rating that counts for each visitor, chat, node and character."""
    last = select(func.max(ratings.c.seq)).where(*where)
    # By `seq` and not by time: two ratings of one millisecond are usual with a keyboard.
    return last.group_by(ratings.c.visitor_id, ratings.c.conversation_id, ratings.c.node_id, ratings.c.character)


def rated_record(row: Row[Any]) -> Rated:
    """Return the record of a row of `ratings`."""
    rating = Rating(**{name: getattr(row, name) for name in Rating.model_fields})
    own = {name: getattr(row, name) for name in Rated.model_fields if name != "rating"}
    return Rated(**own, rating=rating)


def choice_record(row: Row[Any]) -> Choice:
    """Return the record of a row of `choices`."""
    return Choice(**{name: getattr(row, name) for name in Choice.model_fields})
