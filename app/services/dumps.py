"""The whole database as one file of SQL: how an installation moves, and how it passes a major version of PostgreSQL.

No older ``pg_restore`` reads an archive, and no other major version reads a data folder. Every server reads plain SQL, written
by the ``pg_dump`` that came with the server: PostgreSQL 17.12 keeps notes in its catalogue that 18.4 takes for settings of a
table and writes into a dump that no server reads. So only the bundled server is dumped here.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from app.kernel.errors import BadInput, CannotStart
from app.services.embedded import postgres_bin

HERE = Path("-")
"""Standard output or input in place of a file."""


def dump(url: str, file: Path) -> None:
    """Write the database at ``url`` to ``file``, as of one moment, readable by its owner only. Work continues meanwhile.

    Raises:
        BadInput: the file exists, or cannot be made.
        CannotStart: PostgreSQL refused, in its own words.
    """
    told = ("--no-owner", "--no-acl", "--exclude-table-data=annotation_changes")  # of transactions of this database
    if file == HERE:
        _run("pg_dump", url, *told)
        return
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise BadInput(f"{file} cannot be created ({error.strerror}): choose another name.") from error
    try:
        _run("pg_dump", url, *told, "--file", str(file))
    except BaseException:
        file.unlink()
        raise


def load(url: str, file: Path) -> None:
    """Read ``file`` into the empty database at ``url``: all of it or nothing.

    Raises:
        BadInput: the database has tables already, or there is no such file.
        CannotStart: PostgreSQL refused, in its own words; nothing was loaded.
    """
    import psycopg

    if file != HERE and not file.is_file():
        raise BadInput(f"There is no file {file}.")
    with psycopg.connect(url) as connection:
        taken = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    if taken and taken[0]:
        raise BadInput(
            "This database is not empty, and a dump can only be loaded into an empty one: choose another --data-dir "
            "or database."
        )
    once = ("--single-transaction", "--set", "ON_ERROR_STOP=1", "--quiet", "--no-psqlrc")
    _run("psql", url, *once, "--output", os.devnull, "--file", str(file))


def _run(program: str, url: str, *arguments: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    # in the environment, not among the arguments: those are read by everybody on the machine
    names = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
             "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}  # fmt: skip
    given = {
        names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names and value is not None
    }
    command = [str(postgres_bin(program)), "--no-password", *arguments]
    ended = subprocess.run(command, env=os.environ | given, stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
        raise CannotStart(f"{program} failed: {said[0]}")
