"""Store blind votes: a ballot is two replies as they are shown to one visitor, a vote is the answer. Rows are only added.

A ballot has one vote at most, because the page shows who wrote what afterwards. Two visitors whose ballots have the same two
nodes vote on the same pair.
"""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, bindparam, insert, select, update

from her.errors import InputError, NotFound
from her.store.core import Core, add_tombstones, no_chat, no_turn, now
from her.store.records import Ballot, ShownArm, Side, Vote, Voted
from her.store.tables import ballots, conversations, generations, nodes, tombstones, votes
from her.types import new_id


class Votes(Core):
    """Ballots and votes. Methods take the visitor first and raise NotFound for what this visitor was not asked."""

    def add_ballot(
        self,
        visitor_id: str,
        conversation_id: str,
        shown: tuple[str, str],
        *,
        worse_id: str | None = None,
        arms: tuple[ShownArm, ShownArm] | None = None,
    ) -> Ballot:
        """Save that two replies are shown to a visitor. The caller decides who is asked: the chat may be another visitor's.

        Args:
            visitor_id: who is asked; registered.
            conversation_id: chat of the replies.
            shown: nodes, the one that is shown first or on the left first.
            worse_id: node among them that was planted to be bad.
            arms: arms that wrote them, in the same order.

        Raises:
            InputError: they are no two whole replies at one place, or `worse_id` is not among them.
            NotFound: chat or node is absent or deleted.
        """
        ballot = new_ballot(visitor_id, conversation_id, shown, worse_id, arms)
        with self.writing() as connection:
            insert_ballot(connection, ballot)
        return ballot

    def repeat_ballot(self, visitor_id: str, ballot_id: str) -> Ballot:
        """Save that the replies of an answered ballot are shown again with sides swapped.

        Raises:
            InputError: the ballot was not answered, is a repeat or a catch pair, or was repeated before.
            NotFound: there is no such ballot of this visitor, or a reply was deleted.
        """
        again = select(ballots.c.id).where(ballots.c.repeat_of == ballot_id)
        with self.writing() as connection:
            row = asked_ballot(connection, visitor_id, ballot_id)
            if row.repeat_of is not None or row.worse is not None or connection.execute(again).first():
                raise InputError(f"the ballot {ballot_id[:40]!r} is a check or was repeated before; repeat another one")
            if row.vote_id is None:
                raise InputError(f"the ballot {ballot_id[:40]!r} was not answered; only answered ones are repeated")
            swapped: Side = "b" if row.first == "a" else "a"
            changes = {"id": new_id(), "first": swapped, "repeat_of": ballot_id, "skipped_at": None, "created_at": now()}
            ballot = ballot_record(row).model_copy(update=changes)
            insert_ballot(connection, ballot)
        return ballot

    def vote(self, visitor_id: str, ballot_id: str, vote: Vote, *, go_on: bool = False) -> int:
        """Save the answer to a ballot. Check it first with `her.judging.chips.check_vote`, which knows the principles.

        The same vote sent again is saved once. With `go_on` the chat goes on with the winner, in the same transaction; with
        the one that was shown first after a tie. "Both bad" leaves that to `ShownPairs.go_on`.

        Returns:
            The time of saving (UTC, ms). The vote is on disk when this returns.

        Raises:
            InputError: the ballot has another vote, or another vote has this id.
            NotFound: there is no such ballot of this visitor, or a reply was deleted.
        """
        at = now()
        values = {name: getattr(vote, name) for name in Vote.model_fields}
        with self.writing() as connection:
            row = asked_ballot(connection, visitor_id, ballot_id)
            if row.vote_id is not None:
                if vote_record(row) == vote:
                    return int(row.voted_at)
                raise InputError("this pair has your vote already, and a second one would not be blind; go on with the next")
            _check_pair(connection, row.conversation_id, (row.a_id, row.b_id))
            if connection.execute(_vote_id(), {"vote": vote.id}).first():
                raise InputError(f"the id {vote.id!r} belongs to another vote; send a new random one")
            ids = {"visitor_id": visitor_id, "ballot_id": ballot_id, "created_at": at}
            connection.execute(_insert_vote(), values | ids)
            if go_on and vote.winner != "both_bad":
                show_side(connection, ballot_record(row), row.first if vote.winner == "tie" else vote.winner)
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


def new_ballot(
    visitor_id: str,
    conversation_id: str,
    shown: tuple[str, str],
    worse_id: str | None,
    arms: tuple[ShownArm, ShownArm] | None,
) -> Ballot:
    """Return the ballot on two nodes, the one that is shown first first; the arms are in the same order.

    Raises:
        InputError: `worse_id` is not among them.
    """
    a_id, b_id = sorted(shown)
    if worse_id is not None and worse_id not in shown:
        raise InputError(f"the planted turn {worse_id[:40]!r} is not one of the two that are shown; name one of them")
    worse: Side | None = None if worse_id is None else "a" if worse_id == a_id else "b"
    return Ballot(
        visitor_id=visitor_id,
        conversation_id=conversation_id,
        a_id=a_id,
        b_id=b_id,
        first="a" if shown[0] == a_id else "b",
        worse=worse,
        arms=arms if arms is None or shown[0] == a_id else (arms[1], arms[0]),
        created_at=now(),
    )


def insert_ballot(connection: Connection, ballot: Ballot) -> None:
    """Insert a ballot on two replies that can be compared; raises as `Votes.add_ballot`."""
    _check_pair(connection, ballot.conversation_id, (ballot.a_id, ballot.b_id))
    row = {name: getattr(ballot, name) for name in Ballot.model_fields}
    connection.execute(_insert_ballot(), row)


def show_side(connection: Connection, ballot: Ballot, side: Side) -> bool:
    """Go on with a reply of a pair that waits at the end of its chat; with the other one where it was planted to be bad.

    Returns:
        Whether it did: a repeat changes no chat, and a chat that has gone on already stays as it is.
    """
    if ballot.repeat_of is not None:
        return False
    chosen = ballot.node(side if side != ballot.worse else "b" if side == "a" else "a")
    above = select(nodes.c.parent_id).where(nodes.c.id == chosen).scalar_subquery()
    waits = conversations.c.head_id.is_not_distinct_from(above)
    mine = (conversations.c.id == ballot.conversation_id) & (conversations.c.visitor_id == ballot.visitor_id)
    changes = {"head_id": chosen, "updated_at": now()}
    return connection.execute(update(conversations).where(mine, waits).values(changes)).rowcount > 0


def _check_pair(connection: Connection, conversation_id: str, shown: tuple[str, str]) -> None:
    """Refuse what cannot be voted on: absent or deleted, at two places, or a side that failed or was stopped."""
    rows = {row.id: row for row in connection.execute(_sides(), {"chat": conversation_id, "shown": shown})}
    if not rows and not connection.execute(_live_chat(), {"chat": conversation_id}).first():
        raise no_chat(conversation_id)
    for missing in (node_id for node_id in shown if node_id not in rows):
        raise no_turn(missing)
    first, second = (rows[node_id] for node_id in shown)
    if first.id == second.id or first.parent_id != second.parent_id:
        raise InputError("a vote needs two different replies at one place of a chat; give two swipes")
    for row in (first, second):
        if row.finish in ("stopped", "failed"):
            raise InputError(f"the reply {row.id[:40]!r} is not whole (generation {row.finish}); ask for another before the vote")


@cache
def _sides() -> Select[Any]:
    """Return the query of the live replies of a live chat; cached, since building it takes longer than running it."""
    here = nodes.join(conversations, nodes.c.conversation_id == conversations.c.id)
    both = here.outerjoin(generations, nodes.c.generation_id == generations.c.id)
    live = nodes.c.deleted_at.is_(None) & conversations.c.deleted_at.is_(None)
    query = select(nodes.c.id, nodes.c.parent_id, generations.c.finish).select_from(both)
    return query.where(nodes.c.conversation_id == bindparam("chat"), nodes.c.id.in_(bindparam("shown", expanding=True)), live)


@cache
def _live_chat() -> Select[Any]:
    live = conversations.c.deleted_at.is_(None)
    return select(conversations.c.id).where(conversations.c.id == bindparam("chat"), live)


def asked_ballot(connection: Connection, visitor_id: str, ballot_id: str) -> Row[Any]:
    """Return the row of a ballot, with its vote if there is one; NotFound if this visitor was not asked."""
    row = connection.execute(_ballot_query(), {"ballot": ballot_id, "visitor": visitor_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no ballot {ballot_id[:40]!r} here; reload the page")
    return row


@cache
def _ballot_query() -> Select[Any]:
    columns = [ballots, *vote_columns(), votes.c.created_at.label("voted_at")]
    query = select(*columns).select_from(ballots.outerjoin(votes, votes.c.ballot_id == ballots.c.id))
    return query.where(ballots.c.id == bindparam("ballot"), ballots.c.visitor_id == bindparam("visitor"))


@cache
def _insert_ballot() -> Insert:
    return insert(ballots)


@cache
def _vote_id() -> Select[Any]:
    return select(votes.c.id).where(votes.c.id == bindparam("vote"))


@cache
def _insert_vote() -> Insert:
    return insert(votes)


def vote_columns() -> list[Any]:
    """Return the columns of a vote, under names that no column of `ballots` has."""
    return [votes.c[name].label(f"vote_{name}") for name in Vote.model_fields]


def vote_record(row: Row[Any]) -> Vote:
    """Return the vote of a row with the columns of `vote_columns`."""
    return Vote(**{name: getattr(row, f"vote_{name}") for name in Vote.model_fields})


def voted_record(row: Row[Any]) -> Voted:
    """Return the record of a row with the columns of `ballots` and `vote_columns`."""
    return Voted(ballot=ballot_record(row), vote=None if row.vote_id is None else vote_record(row))


def ballot_record(row: Row[Any]) -> Ballot:
    """Return the record of a row of `ballots`."""
    return Ballot(**{name: getattr(row, name) for name in Ballot.model_fields})
