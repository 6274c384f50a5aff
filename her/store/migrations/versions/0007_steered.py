"""Add to an edit which part of the turn a person rewrote, where the model wrote the rest."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns; the edits that are there already are of whole turns."""
    op.add_column("edits", sa.Column("kind", sa.Text(), nullable=False, server_default=""))
    op.add_column("edits", sa.Column("place", sa.Integer(), nullable=False, server_default="0"))
