"""Migrations from inside the program: upgrade, see whether that is needed, and check that models and migrations agree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from app.embedded import ensure_database
from app.errors import AppError
from app.settings import ROOT

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


class Drift(AppError):
    """Models and migrations disagree."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, on ``connection`` instead of the configured database where one is given."""
    from alembic.config import Config

    made = Config(toml_file=ROOT / "pyproject.toml")
    if connection is not None:
        made.attributes["connection"] = connection
    return made


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest schema. Two at once wait for each other."""
    from alembic import command
    from sqlalchemy import text

    from app.db import make_engine

    engine = make_engine(url)
    with engine.connect() as guard, engine.connect() as connection:
        # a lock of the session, on a connection of its own: it outlives the transactions of the migrations
        guard.execute(text("SELECT pg_advisory_lock(hashtext('corral.migrations'))"))
        if current(connection) != heads():
            connection.rollback()
            command.upgrade(config(connection), "head")
    engine.dispose()


def heads() -> set[str]:
    """The newest revisions that the code knows; more than one is a mistake."""
    from alembic.script import ScriptDirectory

    return set(ScriptDirectory.from_config(config()).get_heads())


def current(connection: Connection | Session) -> set[str]:
    """The revisions that the database is at; empty for a database without tables."""
    from sqlalchemy import text

    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return set()
    return set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


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

    from app.db import make_engine

    found = heads()
    if len(found) != 1:
        raise Drift(f"There are {len(found)} newest migrations ({', '.join(sorted(found))}): set one's down_revision.")
    scratch = f"corral_check_{os.getpid()}"
    url = make_url(server_url).set(database=scratch)
    ensure_database(server_url, scratch)
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            for step, target in ((command.upgrade, "head"), (command.downgrade, "base"), (command.upgrade, "head")):
                step(config(connection), target)
                connection.commit()
            command.check(config(connection))
    except CommandError as error:
        raise Drift(f"{error} Generate a migration for it, or put the model back.") from error
    finally:
        engine.dispose()
        _drop(server_url, scratch)


def _drop(server_url: str, name: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
