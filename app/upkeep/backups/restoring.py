"""``corral restore``: a backup into an empty database and a data folder, all of it or nothing.

1. The backup is read to its end and found sound; nothing was touched.
2. The database is empty and nobody is connected; the files have their places.
3. A schema ``corral_restore`` says that a restore has begun. Until it is gone, nothing starts on this database.
4. Tables by the migrations up to the backup's, all rows and files, then the migrations since.
5. What fails is taken out again. What was killed is taken out by the next restore.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.kernel.errors import BadInput, CannotStart, Conflict
from app.kernel.failpoints import failpoint
from app.services import migrating
from app.upkeep.backups import rows
from app.upkeep.backups.archive import FILES, ROWS, Backup, Contents, Told, opened
from app.upkeep.backups.files import Placing
from app.upkeep.backups.making import HERE

if TYPE_CHECKING:
    from app.upkeep.backups.rows import Connected

_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'corral%'
"""
_OURS = """
    SELECT format('DROP TABLE %I.%I CASCADE', 'public', relname) FROM pg_class c
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', p.oid::regprocedure) FROM pg_proc p
     WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
_STEP = 1024 * 1024


@dataclass(frozen=True)
class Restored:
    """What was restored."""

    contents: Contents
    left_out: list[str]
    """Tables of the backup that are not Corral's."""
    began_again: bool
    """Whether what a killed restore had left was removed first."""


@contextmanager
def sound(file: Path, data_dir: Path, told: Told = lambda _: None) -> Iterator[Backup]:
    """The backup at ``file``, read to its end and found sound; ``-`` is standard input, kept below ``data_dir`` meanwhile.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    if file != HERE:
        if not file.is_file():
            raise BadInput(f"There is no file {file}.")
        with file.open("rb") as stream, opened(stream, told) as backup:
            yield backup
        return
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=data_dir) as kept:
        while data := sys.stdin.buffer.read(_STEP):
            kept.write(data)
        kept.flush()
        with opened(kept, told) as backup:
            yield backup


def restore(url: str, backup: Backup, data_dir: Path) -> Restored:
    """Put ``backup`` into the database at ``url`` and into ``data_dir``, and bring it to this release.

    Raises:
        BadInput: the database is not empty, or the backup is of a newer release.
        Conflict: somebody is connected, or the data folder holds something else.
        CannotStart: PostgreSQL refused something. In every case nothing of the backup stays.
    """
    _see_release(backup.contents)
    placing = Placing(backup.contents, data_dir)
    with rows.plain(url) as connection, _words():
        began_again = _take(connection)
        try:
            left_out = _load(url, connection, backup, placing)
            migrate(url, "head")
        except BaseException:
            placing.undo()
            _clear(connection)
            raise
        connection.execute("DROP SCHEMA corral_restore CASCADE")
        connection.execute("ANALYZE")
    return Restored(backup.contents, left_out, began_again)


def migrate(url: str, revision: str) -> None:
    """The database at ``url`` to ``revision``; whoever calls this holds the lock of the migrations."""
    from alembic import command

    from app.kernel.db import make_engine

    engine = make_engine(url, idle_seconds=0)
    try:
        with engine.connect() as connection:
            command.upgrade(migrating.config(connection), revision)
    finally:
        engine.dispose()


def _see_release(contents: Contents) -> None:
    from alembic.script import ScriptDirectory

    known = {each.revision for each in ScriptDirectory.from_config(migrating.config()).walk_revisions()}
    if contents.revision not in known:
        raise BadInput(
            f"This backup was made by a newer Corral (its tables are at {contents.revision}, which this one does not know): "
            "upgrade Corral, then restore."
        )


def _take(connection: Connected) -> bool:
    """Mark the database as being restored; whether a restore had been killed here.

    The lock of the migrations is held until the connection ends.
    """
    locked = connection.execute("SELECT pg_try_advisory_lock(hashtext('corral.migrations'))").fetchone()
    others = connection.execute(_OTHERS).fetchone()
    if locked != (True,) or others != (0,):
        raise Conflict("Corral is connected to this database: stop it, or the other restore, and try again.")
    killed = connection.execute("SELECT to_regnamespace('corral_restore') IS NOT NULL").fetchone() == (True,)
    if killed:
        _clear(connection)
    if connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() != (0,):
        raise BadInput(
            "This database is not empty, and a backup is restored into an empty one only: choose another --data-dir or "
            "database."
        )
    connection.execute("CREATE SCHEMA corral_restore")
    return killed


def _clear(connection: Connected) -> None:
    """Empty a database that a restore had for itself, and take its mark away."""
    if connection.info.transaction_status:
        connection.rollback()
    with connection.transaction():
        for (statement,) in connection.execute(_OURS).fetchall():
            connection.execute(str(statement))
        connection.execute("DROP SCHEMA IF EXISTS corral_restore CASCADE")


def _load(url: str, connection: Connected, backup: Backup, placing: Placing) -> list[str]:
    migrate(url, backup.contents.revision)
    with connection.transaction():
        loading = rows.Loading(connection, backup)
        loading.begin()
        loading.parts(backup.members(ROWS))
        failpoint("restore.rows")
        placing.put(backup.members(FILES))
        loading.end()
    failpoint("restore.loaded")
    return loading.strange


@contextmanager
def _words() -> Iterator[None]:
    """PostgreSQL's own words in a sentence, where it refuses."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (psycopg.Error, DBAPIError) as error:
        said = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
        raise CannotStart(f"PostgreSQL refused a part of the backup, and nothing of it stays: {said[0]}") from error
