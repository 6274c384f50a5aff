"""Add scenes of several characters: how a conversation is played, and the character that a rating is for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; conversations and ratings that are there already are of one character."""
    op.add_column("conversations", sa.Column("ensemble", sa.Text(), nullable=True))
    op.add_column("ratings", sa.Column("character", sa.Text(), nullable=False, server_default=""))
