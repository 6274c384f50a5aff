"""Read what the organiser's page shows: who did what and when, comments, and each chat at the moments at which it was judged.

Nothing of withdrawn people, deleted chats and deleted turns is among it.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sqlalchemy import Connection, func, literal, select, union_all

from her.errors import NotFound
from her.store.chats import node_record
from her.store.core import Core, no_chat
from her.store.exports import BATCH, counting, kept, live
from her.store.records import Ensemble, Node, Seen
from her.store.tables import assignments, ballots, choices, conversations, nodes, ratings, tombstones, votes
from her.types import Language, Outcome

ActKind = Literal["turn", "rating", "choice", "vote"]


class RatingFact(NamedTuple):
    """A rating that counts, without its turn; `node_id` None for a whole chat or a character."""

    id: str
    visitor_id: str
    conversation_id: str
    node_id: str | None
    persona_id: str
    character: str
    thumb: int | None
    stars: dict[str, int]
    tags: tuple[str, ...]
    comment: str
    created_at: int

    @property
    def empty(self) -> bool:
        """Tell whether it says nothing, which withdraws an earlier one."""
        return self.thumb is None and not self.stars and not self.tags and not self.comment.strip()


class PersonAct(NamedTuple):
    """Something that a person did, with its time in milliseconds since 1970."""

    visitor_id: str
    kind: ActKind
    conversation_id: str
    at: int


class PersonComment(NamedTuple):
    """A comment on a turn, a chat or a vote; `moment` is the id of the rating or ballot."""

    kind: Literal["rating", "vote"]
    moment: str
    visitor_id: str
    conversation_id: str
    persona_id: str
    speaker: str
    text: str
    at: int


class JudgedChat(NamedTuple):
    """A chat in which something was judged."""

    id: str
    visitor_id: str
    persona_id: str
    speaker: str
    title: str
    language: Language
    visitor_name: str
    ensemble: Ensemble | None
    judged: int
    at: int


class JudgedMoment(NamedTuple):
    """A moment at which a person judged a turn: what they saw then, and what they said of it.

    Args:
        node_id: the turn; None for the whole chat.
        beside: the other reply of a vote.
        said: what they decided, for a vote; empty for a rating, whose facts are in `rating`.
    """

    id: str
    kind: Literal["rating", "choice", "vote"]
    node_id: str | None
    beside: str | None
    seen: Seen
    seen_beside: Seen | None
    rating: RatingFact | None
    winner: Outcome | None
    comment: str
    at: int


def rating_facts(store: Core, conversation_id: str | None = None) -> Iterator[RatingFact]:
    """Yield the ratings that count, oldest first, of all chats or of one."""
    for fact, _ in _rating_rows(store, conversation_id):
        yield fact


def _rating_rows(store: Core, conversation_id: str | None) -> Iterator[tuple[RatingFact, Seen]]:
    columns = [conversations.c.persona_id if name == "persona_id" else ratings.c[name] for name in RatingFact._fields]
    query = select(*columns, ratings.c.seen).join(conversations, ratings.c.conversation_id == conversations.c.id)
    query = query.where(*counting()).order_by(ratings.c.seq)
    if conversation_id is not None:
        query = query.where(ratings.c.conversation_id == conversation_id)
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(query):
            fact = RatingFact._make(row[:-1])
            if not fact.empty:
                yield fact, row.seen


def acts(store: Core) -> Iterator[PersonAct]:
    """Yield all that people did, oldest first: turns they wrote, ratings, replies they kept, votes."""
    in_chat = nodes.join(conversations, nodes.c.conversation_id == conversations.c.id)
    written = select(
        conversations.c.visitor_id, literal("turn").label("kind"), conversations.c.id.label("chat"), nodes.c.created_at
    )
    parts = [written.select_from(in_chat).where(nodes.c.origin == "visitor", kept("visitor", conversations.c.visitor_id))]
    parts[0] = parts[0].where(kept("conversation", conversations.c.id), kept("node", nodes.c.id))
    for kind, table in (("rating", ratings), ("choice", choices)):
        columns = (table.c.visitor_id, literal(kind).label("kind"), table.c.conversation_id.label("chat"), table.c.created_at)
        parts.append(select(*columns).where(live(table)))
    both = votes.join(ballots, votes.c.ballot_id == ballots.c.id)
    cast = select(votes.c.visitor_id, literal("vote").label("kind"), ballots.c.conversation_id.label("chat"), votes.c.created_at)
    parts.append(cast.select_from(both).where(live(ballots), kept("vote", votes.c.id)))
    everything = union_all(*parts).subquery()
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(select(everything).order_by(everything.c.created_at)):
            yield PersonAct(row.visitor_id, row.kind, row.chat, row.created_at)


def newest_comments(store: Core, most: int) -> list[PersonComment]:
    """Return the newest comments of ratings and votes, the newest first."""
    about = (conversations.c.persona_id, conversations.c.speaker)
    rated = select(ratings.c.id, ratings.c.visitor_id, ratings.c.conversation_id, *about, ratings.c.comment, ratings.c.created_at)
    rated = rated.join(conversations, ratings.c.conversation_id == conversations.c.id)
    rated = rated.where(*counting(), func.trim(ratings.c.comment) != "").order_by(ratings.c.seq.desc()).limit(most)
    columns = (ballots.c.id, votes.c.visitor_id, ballots.c.conversation_id, *about, votes.c.comment, votes.c.created_at)
    joined = votes.join(ballots, votes.c.ballot_id == ballots.c.id)
    joined = joined.join(conversations, ballots.c.conversation_id == conversations.c.id)
    cast = select(*columns).select_from(joined).where(live(ballots), kept("vote", votes.c.id), func.trim(votes.c.comment) != "")
    cast = cast.where(kept("visitor", conversations.c.visitor_id)).order_by(votes.c.seq.desc()).limit(most)
    with store.reading() as connection:
        found = [PersonComment("rating", *row) for row in connection.execute(rated)]
        found += [PersonComment("vote", *row) for row in connection.execute(cast)]
    return sorted(found, key=lambda comment: comment.at, reverse=True)[:most]


def skipped_ballots(store: Core) -> dict[str, int]:
    """Return how many comparisons each person skipped."""
    open_ones = ballots.outerjoin(votes, votes.c.ballot_id == ballots.c.id)
    query = select(ballots.c.visitor_id, func.count()).select_from(open_ones)
    query = query.where(ballots.c.skipped_at.is_not(None), votes.c.id.is_(None), live(ballots)).group_by(ballots.c.visitor_id)
    with store.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


class MissionCounts(NamedTuple):
    """People of a mission: who were given it and have not given up, began a chat, are done."""

    given: int
    begun: int
    done: int


def mission_counts(store: Core, playtest: str) -> dict[str, MissionCounts]:
    """Return the progress of each mission of a playtest that anybody was given."""
    begun, done = (func.count(column) for column in (assignments.c.conversation_id, assignments.c.done_at))
    query = select(assignments.c.mission, func.count(), begun, done).group_by(assignments.c.mission)
    query = query.where(assignments.c.playtest == playtest, assignments.c.ended_at.is_(None))
    query = query.where(kept("visitor", assignments.c.visitor_id))
    with store.reading() as connection:
        return {row[0]: MissionCounts(*row[1:]) for row in connection.execute(query)}


def judged_chats(store: Core, most: int) -> list[JudgedChat]:
    """Return the chats in which something was judged, the newest first."""
    parts = [select(table.c.conversation_id.label("chat"), table.c.created_at).where(live(table)) for table in (ratings, choices)]
    both = votes.join(ballots, votes.c.ballot_id == ballots.c.id)
    cast = select(ballots.c.conversation_id.label("chat"), votes.c.created_at).select_from(both)
    judged = union_all(*parts, cast.where(live(ballots), kept("vote", votes.c.id))).subquery()
    columns = [conversations.c[name] for name in JudgedChat._fields[:-2]]
    query = select(*columns, func.count().label("judged"), func.max(judged.c.created_at).label("at"))
    query = query.select_from(conversations.join(judged, judged.c.chat == conversations.c.id)).group_by(*columns)
    query = query.where(kept("visitor", conversations.c.visitor_id), conversations.c.deleted_at.is_(None))
    with store.reading() as connection:
        return [
            JudgedChat._make(row) for row in connection.execute(query.order_by(func.max(judged.c.created_at).desc()).limit(most))
        ]


def judged_chat(store: Core, conversation_id: str) -> JudgedChat:
    """Return one chat; NotFound where it is absent, deleted or of a person who withdrew."""
    columns = [conversations.c[name] for name in JudgedChat._fields[:-2]]
    query = select(*columns, literal(0), conversations.c.updated_at).where(conversations.c.id == conversation_id)
    query = query.where(kept("visitor", conversations.c.visitor_id), conversations.c.deleted_at.is_(None))
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise no_chat(conversation_id)
    return JudgedChat._make(row)


def moments(store: Core, conversation_id: str) -> list[JudgedMoment]:
    """Return the moments at which turns of a chat were judged, oldest first."""
    found = [
        JudgedMoment(fact.id, "rating", fact.node_id, None, seen, None, fact, None, fact.comment, fact.created_at)
        for fact, seen in _rating_rows(store, conversation_id)
    ]
    with store.reading() as connection:
        found += _choices(connection, conversation_id)
        found += _votes(connection, conversation_id)
    return sorted(found, key=lambda moment: moment.at)


def _choices(connection: Connection, conversation_id: str) -> Iterator[JudgedMoment]:
    query = select(choices).where(choices.c.conversation_id == conversation_id, live(choices), kept("node", choices.c.chosen_id))
    for row in connection.execute(query):
        yield JudgedMoment(row.id, "choice", row.chosen_id, None, row.seen, None, None, None, "", row.created_at)


def _votes(connection: Connection, conversation_id: str) -> Iterator[JudgedMoment]:
    """Yield the votes on a chat; the reply that was shown first comes first."""
    columns = (votes.c.id, votes.c.winner, votes.c.comment, votes.c.seen, votes.c.created_at)
    query = select(
        ballots.c.id,
        ballots.c.a_id,
        ballots.c.b_id,
        ballots.c.first,
        *(column.label(f"vote_{column.name}") for column in columns),
    )
    query = query.join(votes, votes.c.ballot_id == ballots.c.id).where(ballots.c.conversation_id == conversation_id)
    query = query.where(live(ballots), kept("vote", votes.c.id), kept("node", ballots.c.a_id), kept("node", ballots.c.b_id))
    for row in connection.execute(query):
        pair, seen, winner = (row.a_id, row.b_id), row.vote_seen, row.vote_winner
        if row.first == "b":  # in the order in which they stood on the screen
            pair, seen = pair[::-1], seen[::-1]
            winner = {"a": "b", "b": "a"}.get(winner, winner)
        yield JudgedMoment(
            row.id, "vote", pair[0], pair[1], seen[0], seen[1], None, winner, row.vote_comment, row.vote_created_at
        )


def line_to(store: Core, conversation_id: str, node_id: str | None) -> list[Node]:
    """Return the turns from the first one to a node, or to the end that is shown now for None.

    Raises:
        NotFound: the turn is not in this chat, or was deleted.
    """
    with store.reading() as connection:
        query = select(nodes).where(nodes.c.conversation_id == conversation_id, kept("node", nodes.c.id))
        found = {row.id: node_record(row) for row in connection.execute(query)}
        head = select(conversations.c.head_id).where(conversations.c.id == conversation_id)
        place = node_id or connection.execute(head).scalar()
    line: list[Node] = []
    while place is not None:
        if place not in found:
            raise NotFound(f"there is no turn {place[:40]!r} in this chat; it was deleted")
        line.append(found[place])
        place = found[place].parent_id
    return line[::-1]


def mark(store: Core) -> tuple[int, ...]:
    """Return numbers that change whenever something is rated, voted on, written or withdrawn."""
    tables = (ratings, choices, votes, ballots, nodes, tombstones)
    with store.reading() as connection:
        return tuple(connection.execute(select(func.coalesce(func.max(table.c.seq), 0))).scalar_one() for table in tables)
