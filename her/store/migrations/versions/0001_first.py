"""Create the first tables: visitors, conversations, generations, nodes, ratings, choices, edits, tombstones."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _visitors()
    _conversations()
    _generations()
    _nodes()
    _ratings()
    _choices()
    _edits()
    _tombstones()


def _visitors() -> None:
    op.create_table(
        "visitors",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_visitors"),
    )


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("persona_id", sa.Text(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("visitor_name", sa.Text(), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("scenario", sa.Text(), nullable=False),
        sa.Column("cast", sa.Text(), nullable=False),
        sa.Column("head_id", sa.String(), nullable=True),
        sa.Column("branch_of", sa.String(), nullable=True),
        sa.Column("branch_node", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["branch_of"], ["conversations.id"], name="fk_conversations_branch_of"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_conversations_visitor_id"),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_visitor", "conversations", ["visitor_id", "updated_at"])


def _generations() -> None:
    op.create_table(
        "generations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("node_id", sa.String(), nullable=True),
        sa.Column("prompt_sha256", sa.String(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("sampling", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("finish", sa.String(), nullable=False),
        sa.Column("error_reason", sa.String(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("reasoning", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("first_token_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_generations_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
    )
    op.create_index("ix_generations_conversation", "generations", ["conversation_id"])


def _nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("generation_id", sa.String(), nullable=True),
        sa.Column("edit_of", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_nodes_conversation_id"),
        sa.ForeignKeyConstraint(["edit_of"], ["nodes.id"], name="fk_nodes_edit_of"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_nodes_generation_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["nodes.id"], name="fk_nodes_parent_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_nodes"),
        sa.UniqueConstraint("id", name="uq_nodes_id"),
    )
    op.create_index("ix_nodes_conversation", "nodes", ["conversation_id", "parent_id"])


def _ratings() -> None:
    op.create_table(
        "ratings",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=True),
        sa.Column("rubric", sa.String(), nullable=False),
        sa.Column("thumb", sa.SmallInteger(), nullable=True),
        sa.Column("stars", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_ratings_conversation_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_ratings_node_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_ratings_visitor_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_ratings"),
        sa.UniqueConstraint("id", name="uq_ratings_id"),
    )
    op.create_index("ix_ratings_target", "ratings", ["conversation_id", "visitor_id", "node_id", "seq"])


def _choices() -> None:
    op.create_table(
        "choices",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("chosen_id", sa.String(), nullable=False),
        sa.Column("alternatives", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["chosen_id"], ["nodes.id"], name="fk_choices_chosen_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_choices_conversation_id"),
        sa.ForeignKeyConstraint(["parent_id"], ["nodes.id"], name="fk_choices_parent_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_choices_visitor_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_choices"),
        sa.UniqueConstraint("id", name="uq_choices_id"),
    )
    op.create_index("ix_choices_target", "choices", ["conversation_id", "visitor_id", "parent_id", "seq"])


def _edits() -> None:
    op.create_table(
        "edits",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("original_id", sa.String(), nullable=False),
        sa.Column("edited_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_edits_conversation_id"),
        sa.ForeignKeyConstraint(["edited_id"], ["nodes.id"], name="fk_edits_edited_id"),
        sa.ForeignKeyConstraint(["original_id"], ["nodes.id"], name="fk_edits_original_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_edits_visitor_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_edits"),
        sa.UniqueConstraint("id", name="uq_edits_id"),
    )


def _tombstones() -> None:
    op.create_table(
        "tombstones",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_tombstones"),
        sa.UniqueConstraint("id", name="uq_tombstones_id"),
    )
    op.create_index("ix_tombstones_target", "tombstones", ["kind", "target_id"])
