"""Store blind votes: a ballot is two replies as they are shown to one visitor, a vote is the answer. Rows are only added.

A ballot has one vote at most, because the page shows who wrote what afterwards. Two visitors whose ballots have the same two
nodes vote on the same pair.
"""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from her.errors import InputError, NotFound
from her.store.core import Core, add_tombstones, no_chat, node_in, now
from her.store.records import Ballot, Side, Vote, Voted
from her.store.tables import ballots, conversations, generations, tombstones, votes
from her.types import new_id


class Votes(Core):
    """Ballots and votes. Methods take the visitor first and raise NotFound for what this visitor was not asked."""

    def add_ballot(self, visitor_id: str, conversation_id: str, shown: tuple[str, str], *, worse_id: str | None = None) -> Ballot:
        """Save that two replies are shown to a visitor. The caller decides who is asked: the chat may be another visitor's.

        Args:
            visitor_id: who is asked; registered.
            conversation_id: chat of the replies.
            shown: nodes, the one that is shown first or on the left first.
            worse_id: node among them that was planted to be bad.

        Raises:
            InputError: they are no two whole replies at one place, or `worse_id` is not among them.
            NotFound: chat or node is absent or deleted.
        """
        a_id, b_id = sorted(shown)
        if worse_id is not None and worse_id not in shown:
            raise InputError(f"the planted turn {worse_id[:40]!r} is not one of the two that are shown; name one of them")
        worse: Side | None = None if worse_id is None else "a" if worse_id == a_id else "b"
        ballot = Ballot(
            visitor_id=visitor_id,
            conversation_id=conversation_id,
            a_id=a_id,
            b_id=b_id,
            first="a" if shown[0] == a_id else "b",
            worse=worse,
            created_at=now(),
        )
        with self.writing() as connection:
            _check_pair(connection, conversation_id, shown)
            connection.execute(insert(ballots).values(ballot.model_dump()))
        return ballot

    def repeat_ballot(self, visitor_id: str, ballot_id: str) -> Ballot:
        """Save that the replies of an answered ballot are shown again with sides swapped.

        Raises:
            InputError: the ballot was not answered, is a repeat or a catch pair, or was repeated before.
            NotFound: there is no such ballot of this visitor, or a reply was deleted.
        """
        again = select(ballots.c.id).where(ballots.c.repeat_of == ballot_id)
        with self.writing() as connection:
            row = _ballot_row(connection, visitor_id, ballot_id)
            if row.repeat_of is not None or row.worse is not None or connection.execute(again).first():
                raise InputError(f"the ballot {ballot_id[:40]!r} is a check or was repeated before; repeat another one")
            if _vote_row(connection, ballot_id) is None:
                raise InputError(f"the ballot {ballot_id[:40]!r} was not answered; only answered ones are repeated")
            _check_pair(connection, row.conversation_id, (row.a_id, row.b_id))
            swapped: Side = "b" if row.first == "a" else "a"
            changes = {"id": new_id(), "first": swapped, "repeat_of": ballot_id, "created_at": now()}
            ballot = _ballot(row).model_copy(update=changes)
            connection.execute(insert(ballots).values(ballot.model_dump()))
        return ballot

    def vote(self, visitor_id: str, ballot_id: str, vote: Vote) -> int:
        """Save the answer to a ballot. Check it first with `her.judging.chips.check_vote`, which knows the principles.

        The same vote sent again is saved once.

        Returns:
            The time of saving (UTC, ms). The vote is on disk when this returns.

        Raises:
            InputError: the ballot has another vote, or another vote has this id.
            NotFound: there is no such ballot of this visitor, or a reply was deleted.
        """
        at = now()
        values = {name: getattr(vote, name) for name in Vote.model_fields}
        with self.writing() as connection:
            row = _ballot_row(connection, visitor_id, ballot_id)
            if earlier := _vote_row(connection, ballot_id):
                if vote_record(earlier) == vote:
                    return int(earlier.created_at)
                raise InputError("this pair has your vote already, and a second one would not be blind; go on with the next")
            for node_id in (row.a_id, row.b_id):
                node_in(connection, row.conversation_id, node_id)
            if connection.execute(select(votes.c.id).where(votes.c.id == vote.id)).first():
                raise InputError(f"the id {vote.id!r} belongs to another vote; send a new random one")
            connection.execute(insert(votes).values(**values, visitor_id=visitor_id, ballot_id=ballot_id, created_at=at))
        return at

    def ballots(self, visitor_id: str) -> tuple[Voted, ...]:
        """Return all ballots of a visitor with their votes, oldest first, without withdrawn votes."""
        withdrawn = select(tombstones.c.target_id).where(tombstones.c.kind == "vote")
        answered = (votes.c.ballot_id == ballots.c.id) & votes.c.id.not_in(withdrawn)
        query = select(ballots, *vote_columns()).select_from(ballots.outerjoin(votes, answered))
        with self.reading() as connection:
            rows = connection.execute(query.where(ballots.c.visitor_id == visitor_id).order_by(ballots.c.seq))
            return tuple(voted_record(row) for row in rows)

    def withdraw_vote(self, visitor_id: str, vote_id: str, reason: str = "withdrawn") -> None:
        """Leave one vote out of every export."""
        mine = select(votes.c.id).where(votes.c.id == vote_id, votes.c.visitor_id == visitor_id)
        with self.writing() as connection:
            if not connection.execute(mine).first():
                raise NotFound(f"there is no vote {vote_id[:40]!r} here; reload the page")
            add_tombstones(connection, "vote", [vote_id], reason, now())


def _check_pair(connection: Connection, conversation_id: str, shown: tuple[str, str]) -> None:
    """Refuse what cannot be voted on: absent or deleted, at two places, or a side that failed or was stopped."""
    live = select(conversations.c.id).where(conversations.c.id == conversation_id, conversations.c.deleted_at.is_(None))
    if not connection.execute(live).first():
        raise no_chat(conversation_id)
    first, second = (node_in(connection, conversation_id, node_id) for node_id in shown)
    if first.id == second.id or first.parent_id != second.parent_id:
        raise InputError("a vote needs two different replies at one place of a chat; give two swipes")
    for row in (first, second):
        finish = connection.execute(select(generations.c.finish).where(generations.c.id == row.generation_id)).scalar()
        if finish in ("stopped", "failed"):
            raise InputError(f"the reply {row.id[:40]!r} is not whole (generation {finish}); ask for another before the vote")


def _ballot_row(connection: Connection, visitor_id: str, ballot_id: str) -> Row[Any]:
    """Return the row of a ballot whose chat is not deleted."""
    both = ballots.join(conversations, ballots.c.conversation_id == conversations.c.id)
    mine = (ballots.c.id == ballot_id) & (ballots.c.visitor_id == visitor_id) & conversations.c.deleted_at.is_(None)
    row = connection.execute(select(ballots).select_from(both).where(mine)).one_or_none()
    if row is None:
        raise NotFound(f"there is no ballot {ballot_id[:40]!r} here; reload the page")
    return row


def _vote_row(connection: Connection, ballot_id: str) -> Row[Any] | None:
    columns = [*vote_columns(), votes.c.created_at]
    return connection.execute(select(*columns).where(votes.c.ballot_id == ballot_id)).one_or_none()


def vote_columns() -> list[Any]:
    """Return the columns of a vote, under names that no column of `ballots` has."""
    return [votes.c[name].label(f"vote_{name}") for name in Vote.model_fields]


def vote_record(row: Row[Any]) -> Vote:
    """Return the record of a row with `vote_columns`."""
    return Vote(**{name: getattr(row, f"vote_{name}") for name in Vote.model_fields})


def voted_record(row: Row[Any]) -> Voted:
    """Return the record of a row with the columns of `ballots` and `vote_columns`."""
    return Voted(ballot=_ballot(row), vote=None if row.vote_id is None else vote_record(row))


def _ballot(row: Row[Any]) -> Ballot:
    return Ballot(**{name: getattr(row, name) for name in Ballot.model_fields})
