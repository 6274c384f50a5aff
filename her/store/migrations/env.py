"""Run the migrations; Alembic executes this file with the connection that her/store/opening.py configured."""

from alembic import context
from sqlalchemy import Connection

from her.store.tables import metadata


def run(connection: Connection) -> None:
    """Upgrade in the caller's transaction, so that a kill during the migration leaves the old tables."""
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic runs this file
    run(context.config.attributes["connection"])
