"""Add what a playtest knows of a person: what they agreed to, and the missions that they were given."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("consents", "assignments")


def upgrade() -> None:
    """Create the tables, and their triggers for the outbox (0004_outbox.py says why they are for SQLite alone)."""
    op.create_table(
        "consents",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("playtest", sa.Text(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("text_sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_consents"),
        sa.UniqueConstraint("id", name="uq_consents_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_consents_visitor_id"),
    )
    op.create_index("ix_consents_visitor", "consents", ["visitor_id", "playtest"])
    op.create_table(
        "assignments",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("playtest", sa.Text(), nullable=False),
        sa.Column("mission", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_assignments"),
        sa.UniqueConstraint("id", name="uq_assignments_id"),
        sa.ForeignKeyConstraint(["visitor_id"], ["visitors.id"], name="fk_assignments_visitor_id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_assignments_conversation_id"),
    )
    op.create_index("ix_assignments_mission", "assignments", ["playtest", "mission"])
    op.create_index("ix_assignments_visitor", "assignments", ["visitor_id", "seq"])
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                op.execute(
                    f"CREATE TRIGGER outbox_{table}_{event.lower()} AFTER {event} ON {table} "
                    "WHEN EXISTS (SELECT 1 FROM durable) "
                    f"BEGIN INSERT INTO outbox (table_name, row_id) VALUES ('{table}', {row}.id); END"
                )
