"""Migrations from inside the program: upgrade, and see whether that is needed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from app.kernel.errors import CannotStart
from app.kernel.settings import ROOT

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

UNFINISHED = (
    "A restore into this database was stopped half-way: run `corral restore` again, with this backup or another; it removes "
    "first what is there."
)


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, on ``connection`` instead of the configured database where one is given."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    if connection is not None:
        made.attributes["connection"] = connection
    return made


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest schema. Two at once wait for each other.

    Raises:
        CannotStart: a restore into it was killed.
    """
    from alembic import command
    from sqlalchemy import text

    from app.kernel.db import make_engine

    engine = make_engine(url, idle_seconds=0)  # the guard below waits in a transaction while tables are changed
    try:
        with engine.connect() as guard, engine.connect() as connection:
            # a lock of the session, on a connection of its own: it outlives the transactions of the migrations
            guard.execute(text("SELECT pg_advisory_lock(hashtext('corral.migrations'))"))
            try:
                if connection.execute(text("SELECT to_regnamespace('corral_restore') IS NOT NULL")).scalar():
                    raise CannotStart(UNFINISHED)
                if current(connection) != heads():
                    connection.rollback()
                    command.upgrade(config(connection), "head")
            finally:
                guard.execute(text("SELECT pg_advisory_unlock(hashtext('corral.migrations'))"))
    finally:
        engine.dispose()


def heads() -> set[str]:
    """The newest revisions that the code knows; more than one is a mistake."""
    from alembic.script import ScriptDirectory

    return set(ScriptDirectory.from_config(config()).get_heads())


def is_known(revisions: Collection[str]) -> bool:
    """Whether the code has a migration of each of these names; where not, a newer release made them."""
    from alembic.script import ScriptDirectory

    ours = {each.revision for each in ScriptDirectory.from_config(config()).walk_revisions()}
    return set(revisions) <= ours


def current(connection: Connection | Session) -> set[str]:
    """The revisions that the database is at; empty for a database without tables."""
    from sqlalchemy import text

    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return set()
    return set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
