"""Alembic's entry: runs the migrations on the connection that ``Database`` hands in."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from tidegate.store.sql.tables import metadata


def _migrate() -> None:
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


_migrate()
