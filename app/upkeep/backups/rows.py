"""All rows of the database, out of one snapshot of it and into an empty one: COPY in PostgreSQL's own text format.

Any server reads what any other wrote, and no program of PostgreSQL is needed. Tables, functions and triggers are not copied: the
migrations make them (docs/decisions/0069).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any

from app.kernel.errors import BadInput, CannotStart
from app.upkeep.backups.archive import ROWS, Backup, Table, Writer

if TYPE_CHECKING:
    import psycopg

    Connected = psycopg.Connection[tuple[Any, ...]]

LEFT_OUT = ("alembic_version", "annotation_changes")
"""The migrations write the one; the other is about transactions of this one server."""
_PART = 4 * 1024 * 1024
_STEP = 1024 * 1024
# the same text for the same value, whatever the server is set to
_PLAIN = """
    SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 1;
    SET bytea_output = 'hex'; SET client_encoding = 'UTF8';
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0
"""
_COLUMNS = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attgenerated = '' AND c.relname <> ALL (%s)
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
     GROUP BY c.relname ORDER BY c.relname
"""
_KEYS = """
    SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
     WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
_MOVED = """
    SELECT setval(oid::regclass, %s, %s) FROM pg_class
     WHERE relname = %s AND relkind = 'S' AND relnamespace = 'public'::regnamespace
"""


@contextmanager
def plain(url: str) -> Iterator[Connected]:
    """A connection on which each value has one text, and which waits as long as it takes."""
    import psycopg

    with psycopg.connect(url, autocommit=True, application_name="corral backup") as connection:
        connection.execute(_PLAIN)
        yield connection


def columns(connection: Connected) -> dict[str, list[str]]:
    """The tables that are copied, with their columns in order."""
    return {str(name): list(found) for name, found in connection.execute(_COLUMNS, (list(LEFT_OUT),))}


def copy_out(connection: Connected, writer: Writer) -> dict[str, Table]:
    """Write the rows of all tables, as the connection's transaction sees them."""
    return {name: Table(found, _out(connection, writer, name, found)) for name, found in columns(connection).items()}


def _out(connection: Connected, writer: Writer, table: str, names: list[str]) -> int:
    from psycopg import sql

    part, parts, rows = bytearray(), 0, 0
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(_shape(table, names))) as copied:
            for data in copied:
                part += data
                if len(part) >= _PART:
                    parts += 1
                    writer.add(_name(table, parts), gzip.compress(part, 1, mtime=0))
                    part.clear()
        rows = cursor.rowcount
    if part:
        writer.add(_name(table, parts + 1), gzip.compress(part, 1, mtime=0))
    return rows


def _name(table: str, part: int) -> str:
    return f"{ROWS}/{table}/{part:05}.copy.gz"


def _shape(table: str, names: list[str]) -> object:
    from psycopg import sql

    listed = sql.SQL(", ").join(sql.Identifier(each) for each in names)
    return sql.SQL("{} ({})").format(sql.Identifier(table), listed)


def sequences(connection: Connected) -> dict[str, tuple[int, bool]]:
    """Where each goes on. They belong to no transaction: it is not before what the rows use."""
    from psycopg import sql

    found = {}
    for (name,) in connection.execute(
        "SELECT sequencename::text FROM pg_sequences WHERE schemaname = 'public'"
    ).fetchall():
        asked = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(str(name)))
        last, called = connection.execute(asked).fetchone() or (1, False)
        found[str(name)] = (int(str(last)), bool(called))
    return found


class Loading:
    """Rows on their way into a database that has tables and whose rows may go.

    Keys are dropped and made again over all rows, so no order of tables matters, and what points nowhere is found. Triggers rest:
    they would note, and refuse, what was noted and allowed long ago.
    """

    def __init__(self, connection: Connected, backup: Backup) -> None:
        self._connection = connection
        self._contents = backup.contents
        self._known = columns(connection)
        self.strange = sorted(set(backup.contents.tables) - set(self._known))
        """Tables of the backup that no migration makes: somebody else's, which stay out."""
        for name in set(backup.contents.tables) & set(self._known):
            further = sorted(set(backup.contents.tables[name].columns) - set(self._known[name]))
            if further:
                raise BadInput(
                    f"The table {name} of this backup has the columns {', '.join(further)}, which no migration makes: drop "
                    "them where it was made, and make another."
                )

    def begin(self) -> None:
        """Make room."""
        from psycopg import sql

        self._keys = self._connection.execute(_KEYS).fetchall()
        for table, key, _ in self._keys:
            self._connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {key}")
        for name in self._known:
            self._connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(name)))
        everything = sql.SQL(", ").join(sql.Identifier(name) for name in self._known)
        self._connection.execute(sql.SQL("TRUNCATE {}").format(everything))

    def parts(self, members: Iterator[tuple[str, IO[bytes]]]) -> None:
        """Copy in ``members``, which are parts of rows, each table's one after the other."""
        for name, parts in groupby(members, lambda member: member[0].split("/")[1]):
            if name not in self._known:
                continue
            self._one(name, parts)

    def _one(self, name: str, parts: Iterator[tuple[str, IO[bytes]]]) -> None:
        from psycopg import sql

        asked = sql.SQL("COPY {} FROM STDIN").format(_shape(name, self._contents.tables[name].columns))
        with self._connection.cursor() as cursor, cursor.copy(asked) as copied:
            for _, packed in parts:
                with gzip.GzipFile(fileobj=packed) as stream:
                    while data := stream.read(_STEP):
                        copied.write(data)

    def end(self) -> None:
        """Set sequences, put keys and triggers back, and count.

        Raises:
            CannotStart: there are not as many rows as the backup says.
        """
        from psycopg import sql

        for name, (last, called) in self._contents.sequences.items():
            self._connection.execute(_MOVED, (last, called, name))
        for name in self._known:
            self._connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(name)))
        for table, key, definition in self._keys:
            self._connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}")
        for name, table in self._contents.tables.items():
            if name in self._known:
                counted = self._connection.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
                ).fetchone()
                if counted != (table.rows,):
                    raise CannotStart(f"{name} has {counted} rows and the backup says {table.rows}: report this.")
