"""Many rows at once: COPY, in the transaction of a session, and ids for rows that name each other before they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
"""Of what goes into a column of JSON."""


def copy_rows(session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Stream ``rows`` into ``table``, and count them; the names are ours, never a person's."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - PostgreSQL by psycopg is the only database
    count = 0
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def fresh_ids(session: Session, table: str, count: int) -> list[int]:
    """The next ``count`` ids of ``table``, which are nobody else's; those that are not used are gaps."""
    query = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)")
    return list(session.scalars(query, {"table": table, "count": count}))
