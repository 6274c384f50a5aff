"""Run by Alembic with the connection that her/store/opening.py put into its configuration."""

from alembic import context
from sqlalchemy import Connection

from her.store.tables import metadata


def run(connection: Connection) -> None:
    """Upgrade in the caller's transaction, so that a kill in the middle leaves the old tables."""
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    context.run_migrations()


if context.config is not None:
    run(context.config.attributes["connection"])
