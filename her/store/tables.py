"""Define the tables in SQLAlchemy Core. Rows never change, except a conversation's head and title, the deletion times, the time
at which a ballot was skipped, and how far a person is with a mission.

`seq` grows with every row and tells which of two rows of one millisecond is newer. A change here needs a migration
(migrations/versions/); tests/store/test_opening.py compares the two. `her.store.segments` deletes rows of withdrawn people.
"""

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, SmallInteger, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from her.errors import InputError, StoreError
from her.store.records import Ensemble, Seen, ShownArm
from her.types import CastMember, Message, Sampling, Scenario, Turn, Winner


# Building an adapter takes 0.1 to 1 ms, using it for a row 0.02 ms.
@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class JsonColumn(TypeDecorator[Any]):
    """A typed value as JSON text: exact, and safe for NUL, which PostgreSQL refuses in plain text."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the JSON of `value`; InputError if it has a lone surrogate."""
        if value is None:
            return None
        try:
            return _adapter(self.kind).dump_json(value).decode()
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise InputError(f"a text cannot be stored: {error}; send valid Unicode") from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the value; StoreError if the row was changed by another program."""
        if value is None:
            return None
        try:
            return _adapter(self.kind).validate_json(value)
        except ValidationError as error:
            raise StoreError(f"a stored row cannot be read: {value[:80]!r} does not fit {self.kind}") from error


class PlainColumn(TypeDecorator[str]):
    """A person's short text, readable in any database browser; NUL and lone surrogates are refused on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return `value`; InputError for text that not every database can hold."""
        if value is None:
            return None
        if "\x00" in value:
            raise InputError(f"a text holds a NUL character at position {value.index(chr(0))}; remove it")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            where = f"half a character (a lone surrogate) at position {error.start}"
            raise InputError(f"a text has {where}; send valid Unicode") from error
        return value


class IdColumn(TypeDecorator[str]):
    """An id or a keyword of the program; a text that cannot be one matches no row instead of raising a database error."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return `value` with characters that no database can hold escaped."""
        return None if value is None else value.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\0")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key() -> Column[Any]:
    return Column("id", IdColumn, primary_key=True)


def _seq() -> list[Column[Any]]:
    return [
        # SQLite numbers rows itself only in a column of type INTEGER.
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("id", IdColumn, nullable=False, unique=True),
    ]


def _at(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable)


def _to(name: str, target: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, IdColumn, ForeignKey(target), nullable=nullable)


visitors = Table("visitors", metadata, _key(), _at("created_at"))

conversations = Table(
    "conversations",
    metadata,
    _key(),
    _to("visitor_id", "visitors.id"),
    Column("title", PlainColumn, nullable=False),
    Column("persona_id", PlainColumn, nullable=False),
    Column("language", IdColumn, nullable=False),
    Column("visitor_name", PlainColumn, nullable=False),
    Column("speaker", PlainColumn, nullable=False),
    Column("scenario", JsonColumn(Scenario), nullable=False),
    Column("cast", JsonColumn(tuple[CastMember, ...]), nullable=False),
    Column("ensemble", JsonColumn(Ensemble)),
    Column("head_id", IdColumn),  # no foreign key: nodes refer to conversations, and SQLite cannot add one afterwards
    _to("branch_of", "conversations.id", nullable=True),
    Column("branch_node", IdColumn),
    _at("created_at"),
    _at("updated_at"),
    _at("deleted_at", nullable=True),
    Index("ix_conversations_visitor", "visitor_id", "updated_at"),
)

nodes = Table(
    "nodes",
    metadata,
    *_seq(),
    _to("conversation_id", "conversations.id"),
    _to("parent_id", "nodes.id", nullable=True),
    Column("turn", JsonColumn(Turn), nullable=False),
    Column("origin", IdColumn, nullable=False),
    _to("generation_id", "generations.id", nullable=True),
    _to("edit_of", "nodes.id", nullable=True),
    _at("created_at"),
    _at("deleted_at", nullable=True),
    Index("ix_nodes_conversation", "conversation_id", "parent_id"),
)

generations = Table(
    "generations",
    metadata,
    _key(),
    _to("conversation_id", "conversations.id"),
    Column("parent_id", IdColumn),
    Column("node_id", IdColumn),  # no foreign keys to nodes: those point here, and are written after
    Column("prompt_sha256", IdColumn, nullable=False),
    Column("messages", JsonColumn(tuple[Message, ...]), nullable=False),
    Column("sampling", JsonColumn(Sampling), nullable=False),
    Column("seed", BigInteger),
    Column("spec", PlainColumn, nullable=False),
    Column("model", PlainColumn, nullable=False),
    Column("revision", PlainColumn, nullable=False),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("finish", IdColumn, nullable=False),
    Column("error_reason", IdColumn),
    Column("error", JsonColumn(str), nullable=False),
    Column("raw", JsonColumn(str), nullable=False),
    Column("reasoning", JsonColumn(str), nullable=False),
    _at("started_at"),
    _at("first_token_at", nullable=True),
    _at("ended_at"),
    Index("ix_generations_conversation", "conversation_id"),
)

ratings = Table(
    "ratings",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    _to("conversation_id", "conversations.id"),
    _to("node_id", "nodes.id", nullable=True),
    Column("character", PlainColumn, nullable=False, server_default=""),
    Column("rubric", IdColumn, nullable=False),
    Column("thumb", SmallInteger),
    Column("stars", JsonColumn(dict[str, int]), nullable=False),
    Column("tags", JsonColumn(tuple[str, ...]), nullable=False),
    Column("comment", PlainColumn, nullable=False),
    Column("seen", JsonColumn(Seen), nullable=False),
    _at("created_at"),
    Index("ix_ratings_target", "conversation_id", "visitor_id", "node_id", "seq"),
)

choices = Table(
    "choices",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    _to("conversation_id", "conversations.id"),
    _to("parent_id", "nodes.id", nullable=True),
    _to("chosen_id", "nodes.id"),
    Column("alternatives", JsonColumn(tuple[str, ...]), nullable=False),
    Column("seen", JsonColumn(Seen), nullable=False),
    _at("created_at"),
    Index("ix_choices_target", "conversation_id", "visitor_id", "parent_id", "seq"),
)

edits = Table(
    "edits",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    _to("conversation_id", "conversations.id"),
    _to("original_id", "nodes.id"),
    _to("edited_id", "nodes.id"),
    # Of a plan or a thought that was rewritten, with the rest by the model: its kind, and its number among the parts of its kind.
    Column("kind", Text, nullable=False, server_default=""),
    Column("place", Integer, nullable=False, server_default="0"),
    _at("created_at"),
)

ballots = Table(
    "ballots",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    _to("conversation_id", "conversations.id"),
    _to("a_id", "nodes.id"),
    _to("b_id", "nodes.id"),
    Column("first", IdColumn, nullable=False),
    Column("worse", IdColumn),
    _to("repeat_of", "ballots.id", nullable=True),
    Column("arms", JsonColumn(tuple[ShownArm, ShownArm])),
    _at("skipped_at", nullable=True),
    _at("created_at"),
    Index("ix_ballots_visitor", "visitor_id", "seq"),
)

votes = Table(
    "votes",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    # Unique: the page shows who wrote what after the vote, so a second vote on the ballot would not be blind.
    Column("ballot_id", IdColumn, ForeignKey("ballots.id"), nullable=False, unique=True),
    Column("winner", IdColumn, nullable=False),
    Column("dimensions", JsonColumn(dict[str, Winner]), nullable=False),
    Column("why", JsonColumn(tuple[str, ...]), nullable=False),
    Column("principles", IdColumn, nullable=False),
    Column("comment", PlainColumn, nullable=False),
    Column("seen", JsonColumn(tuple[Seen, Seen]), nullable=False),
    _at("created_at"),
)

tombstones = Table(
    "tombstones",
    metadata,
    *_seq(),
    Column("kind", IdColumn, nullable=False),
    Column("target_id", IdColumn, nullable=False),
    Column("reason", PlainColumn, nullable=False),
    _at("created_at"),
    Index("ix_tombstones_target", "kind", "target_id"),
)

consents = Table(
    "consents",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    Column("playtest", PlainColumn, nullable=False),
    Column("version", IdColumn, nullable=False),
    Column("language", IdColumn, nullable=False),
    Column("text_sha256", IdColumn, nullable=False),
    _at("created_at"),
    Index("ix_consents_visitor", "visitor_id", "playtest"),
)
"""What people agreed to: the version, and the SHA-256 of the text that they read."""

assignments = Table(
    "assignments",
    metadata,
    *_seq(),
    _to("visitor_id", "visitors.id"),
    Column("playtest", PlainColumn, nullable=False),
    Column("mission", IdColumn, nullable=False),
    _to("conversation_id", "conversations.id", nullable=True),
    _at("created_at"),
    _at("used_at"),
    _at("done_at", nullable=True),
    _at("ended_at", nullable=True),
    Index("ix_assignments_mission", "playtest", "mission"),
    Index("ix_assignments_visitor", "visitor_id", "seq"),
)
"""Missions that people were given; `ended_at` when one was given up for another."""

outbox = Table(
    "outbox",
    metadata,
    _seq()[0],
    Column("table_name", IdColumn, nullable=False),
    Column("row_id", IdColumn, nullable=False),
    sqlite_autoincrement=True,
)
"""Rows that changed since they were last kept outside this machine, by table and id; written by triggers of SQLite."""

durable = Table(
    "durable",
    metadata,
    Column("repository", IdColumn, primary_key=True),
    Column("kept", IdColumn, nullable=False),
    Column("sending", IdColumn, nullable=False),
    Column("through", BigInteger, nullable=False),
)
"""One row where changes are kept outside, none elsewhere; `her.store.segments.Keeping` says what it holds."""
