"""Add the arms that wrote the replies of a ballot, and when a ballot was skipped."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; ballots that are there already name no arms."""
    op.add_column("ballots", sa.Column("arms", sa.Text(), nullable=True))
    op.add_column("ballots", sa.Column("skipped_at", sa.BigInteger(), nullable=True))
