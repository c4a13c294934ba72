"""``corral backup``: rows of one moment and the files that they name, while work continues."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.kernel.errors import BadInput, CannotStart, Conflict
from app.upkeep.backups import files, rows
from app.upkeep.backups.archive import Contents, Told, Writer

if TYPE_CHECKING:
    from app.upkeep.backups.rows import Connected

HERE = Path("-")
"""Standard output or input in place of a file."""


def back_up(url: str, data_dir: Path, file: Path, *, models: bool = False, told: Told = lambda _: None) -> Contents:
    """Write the installation to ``file``, which appears only whole and is readable by its owner only.

    Args:
        url: Its database.
        data_dir: Its data folder.
        file: A new file; ``-`` is standard output.
        models: Whether converted base models are taken as well; without them the next start converts the bundled one again.
        told: Hears how many bytes were written.

    Raises:
        BadInput: the file exists, or cannot be made.
        CannotStart: the database has no tables.
        Conflict: files were removed meanwhile; run it again.
    """
    with _out(file) as out, rows.plain(url) as connection:
        # no migration changes a table half-way through; one that runs is waited for
        connection.execute("SELECT pg_advisory_lock_shared(hashtext('corral.migrations'))")
        writer = Writer(out, told)
        # rows first: what they name is sealed by then, and what comes later is not of this moment
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        revision, made_at = _moment(connection)
        tables = rows.copy_out(connection, writer)
        sequences = rows.sequences(connection)
        found = files.named(connection, data_dir, models=models)
        connection.execute("COMMIT")
        written = files.copy_out(writer, found)
        files.erased_meanwhile(connection, found)
        contents = Contents(
            corral=release(),
            revision=revision,
            made_at=made_at,
            tables=tables,
            sequences=sequences,
            files=written,
            damaged=found.damaged,
        )
        writer.close(contents)
    return contents


def release() -> str:
    """The version of this Corral, as far as it was installed as a package."""
    try:
        return version("corral")
    except PackageNotFoundError:
        return "unknown"


def _moment(connection: Connected) -> tuple[str, str]:
    exists = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL").fetchone()
    if exists != (True,):
        raise CannotStart("This database has no tables yet: there is nothing to back up.")
    found = connection.execute("SELECT version_num, to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SSOF') FROM alembic_version")
    revision, made_at = found.fetchone() or ("", "")
    return str(revision), str(made_at)


@contextmanager
def _out(file: Path) -> Iterator[IO[bytes]]:
    """Where to write: a draft beside ``file`` that takes its name at the end, and is gone where the block fails."""
    if file == HERE:
        yield sys.stdout.buffer
        return
    draft = file.with_name(f".{file.name}.part")
    if file.exists():
        raise BadInput(f"{file} exists: choose another name.")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY, 0o600)
    except OSError as error:
        raise BadInput(f"{file} cannot be created ({error.strerror}): choose another name.") from error
    with os.fdopen(descriptor, "wb") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"Another backup is being written to {file}: wait for it.") from error
        out.truncate()  # what a killed one had written
        try:
            yield out
            out.flush()
            os.fsync(out.fileno())
            draft.rename(file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
            raise
