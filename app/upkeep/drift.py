"""Whether models and migrations agree: ``corral db check``, in a scratch database of its own.

Alembic compares tables, columns and plain indexes. The invariants are in what it does not look at: CHECK constraints and the
conditions of partial indexes. So both ways are walked, all migrations here and the models there, and PostgreSQL says what
came of each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from app.kernel.errors import AppError
from app.services.embedded import ensure_database
from app.services.migrating import config, heads

if TYPE_CHECKING:
    from sqlalchemy import Connection

DEFINITIONS = """
    SELECT conrelid::regclass || ': ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 0
    UNION ALL
    SELECT tablename || ': ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


class Drift(AppError):
    """Models and migrations disagree."""


def check(server_url: str) -> None:
    """Walk every migration up, down and up again in a database of its own, and compare the result with the models.

    Args:
        server_url: A database of a server on which databases may be created; it is not touched itself.

    Raises:
        Drift: two heads, a migration that does not go back, or models that differ from the migrations.
    """
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy import make_url

    import app.site.tables
    from app.kernel.db import make_engine

    found = heads()
    if len(found) != 1:
        raise Drift(
            f"There are {len(found)} newest migrations ({', '.join(sorted(found))}): set the down_revision of "
            f"one to the other."
        )
    scratch = f"corral_check_{os.getpid()}"
    ensure_database(server_url, scratch)
    engine = make_engine(make_url(server_url).set(database=scratch).render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            for step, target in ((command.upgrade, "head"), (command.downgrade, "base"), (command.upgrade, "head")):
                step(config(connection), target)
                connection.commit()
            command.check(config(connection))
            migrated = _definitions(connection)
            command.downgrade(config(connection), "base")
            app.site.tables.metadata.create_all(connection)
            _compare(migrated, _definitions(connection))
    except CommandError as error:
        raise Drift(f"{error} Generate a migration for it, or revert the model.") from error
    finally:
        engine.dispose()
        drop(server_url, scratch)


def _definitions(connection: Connection) -> set[str]:
    from sqlalchemy import text

    return {line for line in connection.scalars(text(DEFINITIONS)) if not line.startswith("alembic_version:")}


def _compare(migrated: set[str], modelled: set[str]) -> None:
    if migrated != modelled:
        lines = [f"only in the migrations: {line}" for line in sorted(migrated - modelled)]
        lines += [f"only in the models: {line}" for line in sorted(modelled - migrated)]
        raise Drift("\n".join(["Constraints and indexes differ; generate a migration, or revert the model.", *lines]))


def drop(server_url: str, name: str) -> None:
    """Drop the database ``name`` of a server, whoever is connected to it."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
