"""Store pairs of replies that are shown side by side in a chat, and what the chat goes on with.

While a pair waits, the head of its chat is the turn that both replies answer; the choice of a reply moves it to that one.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from her.errors import InputError
from her.store.chats import node_record
from her.store.core import Core, node_in, now, owned, touch
from her.store.node_rows import insert_generation, insert_nodes, node_row
from her.store.records import Ballot, Generation, Node, Origin, ShownArm, Side, Vote
from her.store.tables import ballots, conversations, nodes, tombstones, votes
from her.store.votes import asked_ballot, ballot_record, insert_ballot, new_ballot, show_side, vote_columns, voted_record
from her.types import Turn, Value


class PairSide(Value):
    """One of two replies that are shown side by side: the turn, the call and the arm that made it."""

    turn: Turn
    origin: Origin
    generation: Generation | None
    arm: ShownArm


class ShownPair(Value):
    """A ballot with its two replies, in the order in which they are shown, and the turn that both answer."""

    ballot: Ballot
    vote: Vote | None
    sides: tuple[Node, Node]
    above: Node | None


class ShownPairs(Core):
    """Pairs of replies. Methods take the visitor first and raise NotFound for what this visitor does not own."""

    def add_pair(self, visitor_id: str, conversation_id: str, parent_id: str | None, sides: tuple[PairSide, PairSide]) -> Ballot:
        """Save two whole replies to one turn and the ballot on them, all or nothing.

        Args:
            visitor_id: owner of the chat, who is asked.
            conversation_id: the chat.
            parent_id: turn that both answer; it becomes the head.
            sides: the one that is shown first first. One whose origin is `planted` was made bad on purpose.

        Raises:
            NotFound: chat or parent is not the visitor's.
            InputError: a turn with one of these ids exists, or a reply is not whole.
        """
        at = now()
        shown = (sides[0].turn.id, sides[1].turn.id)
        worse = next((side.turn.id for side in sides if side.origin == "planted"), None)
        ballot = new_ballot(visitor_id, conversation_id, shown, worse, (sides[0].arm, sides[1].arm))
        with self.writing() as connection:
            owned(connection, visitor_id, conversation_id)
            if parent_id is not None:
                node_in(connection, conversation_id, parent_id)
            for side in sides:
                _insert_side(connection, conversation_id, parent_id, side, at)
            insert_ballot(connection, ballot)
            touch(connection, conversation_id, at, head_id=parent_id)
        return ballot

    def waiting_pair(self, visitor_id: str, conversation_id: str) -> ShownPair | None:
        """Return the pair at the end of a chat that has not been decided; None where there is none.

        It waits for a vote, or, after the vote that both are bad, for the reply that the chat goes on with.
        """
        with self.reading() as connection:
            head = owned(connection, visitor_id, conversation_id).head_id
            here = (ballots.c.conversation_id == conversation_id) & ballots.c.repeat_of.is_(None)
            pair = _newest(connection, visitor_id, here & (votes.c.id.is_(None) | (votes.c.winner == "both_bad")))
        at_the_end = pair is not None and all(node.parent_id == head for node in pair.sides)
        return pair if at_the_end else None

    def waiting_repeat(self, visitor_id: str) -> ShownPair | None:
        """Return the pair that is shown to a visitor once more and that they have not voted on again; None for none."""
        with self.reading() as connection:
            open_one = ballots.c.repeat_of.is_not(None) & ballots.c.skipped_at.is_(None) & votes.c.id.is_(None)
            return _newest(connection, visitor_id, open_one)

    def repeatable(self, visitor_id: str) -> str | None:
        """Return the oldest answered ballot that may be shown again, but not the last one, which is still in mind."""
        again = ballots.alias()
        repeated = select(again.c.id).where(again.c.repeat_of == ballots.c.id).exists()
        withdrawn = select(tombstones.c.target_id).where(tombstones.c.kind == "vote")
        query = select(ballots.c.id).join(votes, votes.c.ballot_id == ballots.c.id)
        query = query.where(ballots.c.visitor_id == visitor_id, ballots.c.repeat_of.is_(None), ballots.c.worse.is_(None))
        query = query.where(votes.c.id.not_in(withdrawn), *_live_sides())
        with self.reading() as connection:
            last = select(votes.c.ballot_id).where(votes.c.visitor_id == visitor_id).order_by(votes.c.seq.desc()).limit(1)
            newest = connection.execute(last).scalar()
            query = query.where(~repeated, ballots.c.id != newest).order_by(ballots.c.seq).limit(1)
            found: str | None = connection.execute(query).scalar()
        return found

    def ballot(self, visitor_id: str, ballot_id: str) -> Ballot:
        """Return a ballot of this visitor."""
        with self.reading() as connection:
            return ballot_record(asked_ballot(connection, visitor_id, ballot_id))

    def go_on(self, visitor_id: str, ballot_id: str, side: Side | None) -> None:
        """Go on with a reply without a vote for it: the visitor skips the ballot, or found both bad before.

        Args:
            visitor_id: who was asked.
            ballot_id: the ballot.
            side: the reply; None only skips, which a repeat needs.

        Raises:
            InputError: the ballot has a vote for one of them, or the chat has gone on.
        """
        with self.writing() as connection:
            row = asked_ballot(connection, visitor_id, ballot_id)
            ballot = ballot_record(row)
            if row.vote_id is not None and (row.vote_winner != "both_bad" or side is None):
                raise InputError("this pair has your vote already; go on with the chat")
            if row.vote_id is None and ballot.skipped_at is None:
                connection.execute(update(ballots).where(ballots.c.id == ballot_id).values(skipped_at=now()))
            if side is not None and not show_side(connection, ballot, side):
                raise InputError("this chat has gone on already; reload the page to see it")


def _insert_side(connection: Connection, conversation_id: str, parent_id: str | None, side: PairSide, at: int) -> None:
    row = node_row(conversation_id, parent_id, side.turn, side.origin, at)
    if side.generation is not None:
        place = {"conversation_id": conversation_id, "parent_id": parent_id, "node_id": side.turn.id}
        insert_generation(connection, side.generation.model_copy(update=place))
        row["generation_id"] = side.generation.id
    insert_nodes(connection, [row])


def _newest(connection: Connection, visitor_id: str, which: ColumnElement[bool]) -> ShownPair | None:
    """Return the newest ballot of a visitor that is like this, with its replies; None where one of those was deleted."""
    query = select(ballots, *vote_columns()).select_from(ballots.outerjoin(votes, votes.c.ballot_id == ballots.c.id))
    query = query.where(ballots.c.visitor_id == visitor_id, which, *_live_sides())
    row = connection.execute(query.order_by(ballots.c.seq.desc()).limit(1)).one_or_none()
    return None if row is None else _shown_pair(connection, row)


def _shown_pair(connection: Connection, row: Row[Any]) -> ShownPair:
    voted = voted_record(row)
    first, second = (node_record(_node(connection, node_id)) for node_id in voted.ballot.shown_ids)
    above = None if first.parent_id is None else node_record(_node(connection, first.parent_id))
    return ShownPair(ballot=voted.ballot, vote=voted.vote, sides=(first, second), above=above)


def _node(connection: Connection, node_id: str) -> Row[Any]:
    return connection.execute(select(nodes).where(nodes.c.id == node_id)).one()


def _live_sides() -> list[ColumnElement[bool]]:
    """Return the conditions that chat and both replies of a ballot are there."""
    live_nodes = select(nodes.c.id).where(nodes.c.deleted_at.is_(None))
    live_chat = select(conversations.c.id).where(
        conversations.c.id == ballots.c.conversation_id, conversations.c.deleted_at.is_(None)
    )
    both = (live_nodes.where(nodes.c.id == side).exists() for side in (ballots.c.a_id, ballots.c.b_id))
    return [live_chat.exists(), *both]
