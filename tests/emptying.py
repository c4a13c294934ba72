"""A database as it is after its first migration: no rows but the one loop, which the migration makes."""

from __future__ import annotations

from sqlalchemy import Connection, text

from app.site.tables import metadata

KEPT = frozenset({"loops"})


def empty(connection: Connection) -> None:
    """Remove all rows, past the triggers of the audit log, and count ids from 1 again."""
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables if table.name not in KEPT)
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
