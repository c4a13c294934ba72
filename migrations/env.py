"""Alembic environment: one head, one transaction a revision, and timeouts so that a migration never queues traffic."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from app.kernel.db import make_engine
from app.kernel.settings import get_settings
from app.site.tables import metadata

LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "60s"


def run(connection: Connection) -> None:
    """Upgrade or downgrade on ``connection``. A lock that is not had in four seconds fails instead of blocking readers."""
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if context.is_offline_mode():
    context.configure(url=get_settings().database_url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif given is not None:
    run(given)
else:
    engine = make_engine(get_settings().database_url)
    try:
        with engine.connect() as own:
            run(own)
    finally:
        engine.dispose()
