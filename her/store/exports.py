"""Read what the exports are made of, as a stream in one transaction, without what has a tombstone.

The prompt of a reply is that of its generation; the prompt of an edited reply is that of the turn it was made from.
"""

from collections.abc import Collection, Iterator
from functools import cache, lru_cache, partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from her.store.chats import generation_record, node_record
from her.store.core import Core
from her.store.feedback import choice_record, newest, rated_record
from her.store.pseudonyms import pseudonym
from her.store.records import Ballot, Choice, Generation, Node, Rated, Rewritten, TombstoneKind, Vote
from her.store.stand_ins import STAND_IN, StandIn, stand_in
from her.store.tables import (
    assignments,
    ballots,
    choices,
    conversations,
    edits,
    generations,
    nodes,
    ratings,
    tombstones,
    visitors,
    votes,
)
from her.store.votes import vote_columns, voted_record
from her.types import Language, Message, Value

BATCH = 200
"""Rows that are fetched together."""


class ExportFilter(Value):
    """Limits of an export; an empty field limits nothing.

    Args:
        since: first moment, in milliseconds since 1970; `until` the first moment after.
        personas: ids of personas; a chat without one, such as a scene of a book, has the empty id.
        raters: made-up names of people (her/store/pseudonyms.py).
        missions: ids of missions of a playtest; only chats in which one of them was played.
        dimension: of the rubric; ratings without stars in it and votes without a winner in it are left out.
    """

    since: int | None = None
    until: int | None = None
    personas: tuple[str, ...] = ()
    raters: tuple[str, ...] = ()
    missions: tuple[str, ...] = ()
    dimension: str = ""


EVERYTHING = ExportFilter()


class ExportedReply(Value):
    """A turn with the call that its text comes from; None for a written greeting or a turn of a book.

    Args:
        steered: that call went on from a beginning that a person had rewritten.
    """

    node: Node
    generation: Generation | None
    steered: bool = False

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Return the messages that it answers, without the beginning of the answer and the request to go on from it."""
        if self.generation is None:
            return ()
        messages = self.generation.messages
        asked = self.steered and len(messages) > 1 and messages[-1].role == "user" and messages[-2].role == "assistant"
        return messages[:-2] if asked else self.generation.prompt

    @property
    def edited(self) -> bool:
        """Tell whether a person wrote this text."""
        return self.node.origin == "edit"


class RatedReply(Value):
    """A rating that counts; `reply` is None if it is for a whole chat."""

    rated: Rated
    persona_id: str
    language: Language
    speaker: str
    reply: ExportedReply | None


class EditedReply(Value):
    """A reply of the model and the text that a person made of it.

    Args:
        rewritten: the one part that the person rewrote; the model wrote what follows it. None for a text that is the person's.
    """

    id: str
    visitor_id: str
    conversation_id: str
    persona_id: str
    original: ExportedReply
    edited: ExportedReply
    rewritten: Rewritten | None = None
    created_at: int


class ChosenReply(Value):
    """A kept reply and the swipes it was preferred to."""

    choice: Choice
    persona_id: str
    chosen: ExportedReply
    alternatives: tuple[ExportedReply, ...]


class VotedPair(Value):
    """A vote with the two replies that it compares."""

    ballot: Ballot
    vote: Vote
    persona_id: str
    language: Language
    a: ExportedReply
    b: ExportedReply
    created_at: int


def old_dimensions(store: Core, rubric: str) -> tuple[str, ...]:
    """Return the dimensions that have stars by other versions of the rubric, sorted."""
    query = select(ratings.c.stars).where(ratings.c.rubric != rubric).distinct()
    with store.reading() as connection:
        return tuple(sorted({name for stars in connection.execute(query).scalars() for name in stars}))


def rated_replies(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[RatedReply]:
    """Yield the ratings that count and are not withdrawn; those of one visitor on the swipes of one place are neighbours."""
    columns = (ratings, conversations.c.persona_id, conversations.c.language, conversations.c.speaker, nodes.c.parent_id)
    joined = ratings.join(conversations, ratings.c.conversation_id == conversations.c.id)
    joined = joined.outerjoin(nodes, ratings.c.node_id == nodes.c.id)
    # Preferences between swipes are read from neighbours, in one pass and bounded memory.
    order = (ratings.c.visitor_id, ratings.c.conversation_id, nodes.c.parent_id, ratings.c.seq)
    query = select(*columns).select_from(joined).where(*counting(), *selected(store, only, ratings))
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(query.order_by(*order)):
            rated = rated_record(row)
            if not rated.rating.empty:
                reply = reply_of(connection, rated.node_id) if rated.node_id else None
                # In a scene the model plays several, so the rated turn or the rating itself names the character.
                speaker = rated.character or (reply.node.turn.speaker if reply else row.speaker)
                about = {"persona_id": row.persona_id, "language": row.language, "speaker": speaker}
                yield RatedReply(rated=rated, reply=reply, **about)


def edited_replies(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[EditedReply]:
    """Yield the edits of the model's replies, oldest first; they say nothing of a dimension."""
    if only.dimension:
        return
    query = select(edits, conversations.c.persona_id).join(conversations, edits.c.conversation_id == conversations.c.id)
    query = query.where(live(edits), kept("node", edits.c.original_id), kept("node", edits.c.edited_id))
    query = query.where(*selected(store, only, edits))
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(query.order_by(edits.c.seq)):
            yield EditedReply(
                id=row.id,
                visitor_id=row.visitor_id,
                conversation_id=row.conversation_id,
                persona_id=row.persona_id,
                original=reply_of(connection, row.original_id),
                edited=reply_of(connection, row.edited_id),
                rewritten=Rewritten(kind=row.kind, place=row.place) if row.kind else None,
                created_at=row.created_at,
            )


def chosen_replies(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[ChosenReply]:
    """Yield the choice that counts at each place, oldest first; deleted alternatives are left out. None for a dimension."""
    if only.dimension:
        return
    place = (choices.c.visitor_id, choices.c.conversation_id, choices.c.parent_id)
    last = select(func.max(choices.c.seq)).group_by(*place)
    query = select(choices, conversations.c.persona_id)
    query = query.join(conversations, choices.c.conversation_id == conversations.c.id)
    query = query.where(
        choices.c.seq.in_(last), live(choices), kept("node", choices.c.chosen_id), *selected(store, only, choices)
    )
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(query.order_by(choices.c.seq)):
            choice = choice_record(row)
            present = select(nodes.c.id).where(nodes.c.id.in_(choice.alternatives), kept("node", nodes.c.id))
            # A query each: choices are few, and a join would repeat their JSON for every alternative.
            others = connection.execute(present.order_by(nodes.c.seq)).scalars().all()
            yield ChosenReply(
                choice=choice,
                persona_id=row.persona_id,
                chosen=reply_of(connection, choice.chosen_id),
                alternatives=tuple(reply_of(connection, node_id) for node_id in others),
            )


def stars_given(store: Core) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield visitor and stars of each rating that counts and is not withdrawn, without the turns, for statistics of raters."""
    query = select(ratings.c.visitor_id, ratings.c.stars).where(*counting()).order_by(ratings.c.seq)
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(query):
            if row.stars:
                yield row.visitor_id, row.stars


def votes_cast(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[tuple[Ballot, Vote]]:
    """Yield the votes without the replies, oldest first."""
    with store.reading() as connection:
        for row in connection.execution_options(yield_per=BATCH).execute(_votes(store, only)):
            voted = voted_record(row)
            assert voted.vote is not None
            yield voted.ballot, voted.vote


def voted_pairs(store: Core, only: ExportFilter = EVERYTHING) -> Iterator[VotedPair]:
    """Yield the votes with their replies, oldest first."""
    with store.reading() as connection:
        # Raters vote on the same pairs, so the replies read last are often the next ones as well.
        reply = lru_cache(maxsize=BATCH)(partial(reply_of, connection))
        for row in connection.execution_options(yield_per=BATCH).execute(_votes(store, only)):
            voted = voted_record(row)
            assert voted.vote is not None
            yield VotedPair(
                ballot=voted.ballot,
                vote=voted.vote,
                persona_id=row.persona_id,
                language=row.language,
                a=reply(row.a_id),
                b=reply(row.b_id),
                created_at=row.voted_at,
            )


def _votes(store: Core, only: ExportFilter) -> Select[Any]:
    """Return the query of votes; the chat may be another visitor's, whose withdrawal takes the vote out as well."""
    joined = ballots.join(votes, votes.c.ballot_id == ballots.c.id)
    joined = joined.join(conversations, ballots.c.conversation_id == conversations.c.id)
    columns = [ballots, *vote_columns(), votes.c.created_at.label("voted_at")]
    query = select(*columns, conversations.c.persona_id, conversations.c.language).select_from(joined)
    query = query.where(live(ballots), kept("visitor", conversations.c.visitor_id), kept("vote", votes.c.id))
    query = query.where(kept("node", ballots.c.a_id), kept("node", ballots.c.b_id), *selected(store, only, votes))
    return query.order_by(votes.c.seq)


def totals(store: Core) -> dict[str, Any]:
    """Return the numbers of rows without a tombstone; generations by how they ended."""
    present = [kept("conversation", conversations.c.id), kept("visitor", conversations.c.visitor_id)]
    chats = conversations.c.id.in_(select(conversations.c.id).where(*present))
    finishes = (
        select(generations.c.finish, func.count().label("number")).group_by(generations.c.finish).order_by(generations.c.finish)
    )
    finishes = finishes.join(conversations, generations.c.conversation_id == conversations.c.id).where(chats)
    turns = select(func.count()).select_from(nodes.join(conversations, nodes.c.conversation_id == conversations.c.id))
    people = select(func.count()).select_from(visitors).where(kept("visitor", visitors.c.id))
    with store.reading() as connection:
        return {
            "visitors": connection.execute(people).scalar_one(),
            "conversations": connection.execute(select(func.count()).select_from(conversations).where(chats)).scalar_one(),
            "turns": connection.execute(turns.where(chats, kept("node", nodes.c.id))).scalar_one(),
            "generations": {row.finish: row.number for row in connection.execute(finishes)},
            "rating_rows": connection.execute(select(func.count()).select_from(ratings).where(live(ratings))).scalar_one(),
        }


def kept(kind: TombstoneKind, target: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a row has no tombstone of this kind; a rating of a whole chat has no node to check."""
    tombstone = and_(tombstones.c.kind == kind, tombstones.c.target_id == target)
    return or_(target.is_(None), ~exists(select(tombstones.c.seq).where(tombstone)))


def counting() -> list[ColumnElement[bool]]:
    """Return the conditions of a rating that counts: the newest of its target, and nothing it refers to is withdrawn."""
    return [live(ratings), kept("rating", ratings.c.id), ratings.c.seq.in_(newest()), kept("node", ratings.c.node_id)]


def selected(store: Core, only: ExportFilter, table: Any) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter on rows of a table with a visitor and a time, in a query with `conversations`."""
    found = [table.c.created_at >= only.since] if only.since is not None else []
    found += [table.c.created_at < only.until] if only.until is not None else []
    found += [conversations.c.persona_id.in_(only.personas)] if only.personas else []
    found += [table.c.visitor_id.in_(_ids_of(store, only.raters))] if only.raters else []
    played = select(assignments.c.conversation_id).where(assignments.c.mission.in_(only.missions))
    found += [conversations.c.id.in_(played)] if only.missions else []
    return found


def _ids_of(store: Core, names: Collection[str]) -> list[str]:
    """Return the ids of the visitors with these made-up names; a name cannot be turned back, so each visitor's is made."""
    with store.reading() as connection:
        everybody = connection.execute(select(visitors.c.id)).scalars()
        return [visitor_id for visitor_id in everybody if pseudonym(visitor_id) in names]


def live(table: Any) -> ColumnElement[bool]:
    """Return the condition that the person and the chat of a row are not withdrawn."""
    return and_(kept("visitor", table.c.visitor_id), kept("conversation", table.c.conversation_id))


def reply_of(connection: Connection, node_id: str) -> ExportedReply:
    """Return a turn and its call with a stand-in for the visitor's own name."""
    row = connection.execute(_node(), {"node": node_id}).one()
    made = _made_by_model(connection, row)
    node, generation = node_record(row), None
    if made is not None:
        generation = generation_record(connection.execute(_generation(), {"generation": made.generation_id}).one())
    if name := stand_in_of(connection, row.conversation_id):
        node = node.model_copy(update={"turn": name.turn(node.turn)})
        generation = generation and name.generation(generation)
    return ExportedReply(node=node, generation=generation, steered=made is not None and made.origin == "steer")


def stand_in_of(connection: Connection, conversation_id: str) -> StandIn | None:
    """Return the replacement of the visitor's own name in a chat; None where they gave none."""
    name = connection.execute(_visitor_name(), {"chat": conversation_id}).scalar_one()
    if not name or name in STAND_IN.values():  # most visitors give none, and reading the cast takes longer than all the rest
        return None
    chat = connection.execute(_chat(), {"chat": conversation_id}).one()
    return stand_in(name, chat.cast, chat.scenario, chat.language)


def _made_by_model(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    """Return the node itself, or the node that its text was made from, whichever a model wrote; None where a person did."""
    # An edit may be made from an edit; the chain ends, since `edit_of` names an older node.
    while row.generation_id is None and row.edit_of is not None:
        row = connection.execute(_node(), {"node": row.edit_of}).one()
    return None if row.generation_id is None else row


# Cached, since building a query takes longer than running it, and an export runs two for every reply.
@cache
def _node() -> Select[Any]:
    return select(nodes).where(nodes.c.id == bindparam("node"))


@cache
def _chat() -> Select[Any]:
    columns = (conversations.c[name] for name in ("cast", "scenario", "language"))
    return select(*columns).where(conversations.c.id == bindparam("chat"))


@cache
def _visitor_name() -> Select[Any]:
    return select(conversations.c.visitor_name).where(conversations.c.id == bindparam("chat"))


@cache
def _generation() -> Select[Any]:
    return select(generations).where(generations.c.id == bindparam("generation"))
