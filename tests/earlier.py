"""A database of its own as an earlier release left it, for the tests of one migration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url

from app.kernel.db import make_engine
from app.services.embedded import ensure_database
from app.services.migrating import config
from app.upkeep.drift import drop


@contextmanager
def before(server_url: str, migration: str) -> Iterator[Connection]:
    """Migrated to just below ``migration``, and dropped at the end."""
    name = f"corral_before_{migration}_{os.getpid()}"
    ensure_database(server_url, name)
    engine = make_engine(make_url(server_url).set(database=name).render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            below = ScriptDirectory.from_config(config()).get_revision(migration).down_revision
            command.upgrade(config(connection), str(below))
            yield connection
    finally:
        engine.dispose()
        drop(server_url, name)
