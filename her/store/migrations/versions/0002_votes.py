"""Create the tables of blind votes: ballots, votes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _ballots()
    _votes()


def _ballots() -> None:
    op.create_table(
        "ballots",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("a_id", sa.String(), nullable=False),
        sa.Column("b_id", sa.String(), nullable=False),
        sa.Column("first", sa.String(), nullable=False),
        sa.Column("worse", sa.String(), nullable=True),
        sa.Column("repeat_of", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["a_id"], ["nodes.id"], name="fk_ballots_a_id"),
        sa.ForeignKeyConstraint(["b_id"], ["nodes.id"], name="fk_ballots_b_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_ballots_conversation_id"),
        sa.ForeignKeyConstraint(["repeat_of"], ["ballots.id"], name="fk_ballots_repeat_of"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_ballots_visitor_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_ballots"),
        sa.UniqueConstraint("id", name="uq_ballots_id"),
    )
    op.create_index("ix_ballots_visitor", "ballots", ["visitor_id", "seq"])


def _votes() -> None:
    op.create_table(
        "votes",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("ballot_id", sa.String(), nullable=False),
        sa.Column("winner", sa.String(), nullable=False),
        sa.Column("dimensions", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("principles", sa.String(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["ballot_id"], ["ballots.id"], name="fk_votes_ballot_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_votes_visitor_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_votes"),
        sa.UniqueConstraint("ballot_id", name="uq_votes_ballot_id"),
        sa.UniqueConstraint("id", name="uq_votes_id"),
    )
