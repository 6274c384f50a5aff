"""Add the outbox of changes that wait to be kept outside this machine, and the triggers that write it.

A trigger notes only which row changed, so a column that is added later needs no new trigger. A migration that builds a table
anew (Alembic's batch mode) drops its triggers and has to create them again. Nothing is noted until `durable` has a row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "visitors",
    "conversations",
    "generations",
    "nodes",
    "ratings",
    "choices",
    "edits",
    "ballots",
    "votes",
    "tombstones",
)


def upgrade() -> None:
    """Create the tables; the triggers are for SQLite, since a database server has copies of its own."""
    op.create_table(
        "outbox",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("row_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sqlite_autoincrement=True,  # a number that was confirmed once is never given again
    )
    op.create_table(
        "durable",
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("kept", sa.String(), nullable=False),
        sa.Column("sending", sa.String(), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository", name="pk_durable"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                op.execute(
                    f"CREATE TRIGGER outbox_{table}_{event.lower()} AFTER {event} ON {table} "
                    "WHEN EXISTS (SELECT 1 FROM durable) "
                    f"BEGIN INSERT INTO outbox (table_name, row_id) VALUES ('{table}', {row}.id); END"
                )
