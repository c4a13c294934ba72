"""Lists by page, for API and pages alike: a page begins behind a row, never at a count of rows.

The cursor is the key of the last row above: a number that clients pass back as they got it. A row that comes or goes
meanwhile moves nothing, and a cursor whose row is gone still says where the next page begins. The last page has no next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from sqlalchemy import ColumnElement, Row, Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")
U = TypeVar("U")

LARGEST = 2**63 - 1
Cursor = Annotated[int | None, Query(ge=0, le=LARGEST, description="The `next` of the page before.")]
"""Where a page begins, in a query; anything but such a number is refused by the name of its field."""
Limit = Annotated[int, Query(ge=1, le=100)]
"""How many rows a client wants at once."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page, and the cursor of the one that follows (None on the last)."""

    rows: list[T]
    next: int | None

    def map(self, made: Callable[[T], U]) -> Page[U]:
        """The same page with ``made`` of each row."""
        return Page([made(row) for row in self.rows], self.next)


@dataclass(frozen=True)
class Order:
    """What a list is ordered by, newest first unless it says otherwise."""

    key: InstrumentedAttribute[int]
    """Unique; its value is the cursor."""
    first_by: InstrumentedAttribute[Any] | None = None
    """What decides before the key does."""
    at: Callable[[int], ColumnElement[Any]] | None = None
    """With ``first_by``: its value in the row of a cursor."""
    oldest_first: bool = False

    def apply(self, query: Select[*tuple[Any, ...]], cursor: int | None) -> Select[*tuple[Any, ...]]:
        """``query`` in this order, from the row behind ``cursor`` on."""
        columns = [self.key] if self.first_by is None else [self.first_by, self.key]
        query = query.order_by(*(each if self.oldest_first else each.desc() for each in columns))
        if cursor is None:
            return query
        here, there = self._places(cursor)
        return query.where(here > there if self.oldest_first else here < there)

    def up_to(self, last: int) -> ColumnElement[bool]:
        """Whether a row stands no later in this order than the row of the key ``last``."""
        here, there = self._places(last)
        return here <= there if self.oldest_first else here >= there

    def _places(self, cursor: int) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        here: ColumnElement[Any] = self.key.expression
        # of the key's type: as a plain number it would be taken for one of 32 bits
        there: ColumnElement[Any] = literal(cursor, self.key.type)
        if self.first_by is not None and self.at is not None:
            here, there = tuple_(self.first_by, self.key), tuple_(self.at(cursor), there)
        return here, there


def read_rows(
    session: Session, query: Select[*tuple[Any, ...]], order: Order, cursor: int | None, limit: int
) -> Page[Any]:
    """One page of ``query``, which is not ordered yet, as tuples of its columns."""
    # one row more than is shown says whether another page follows, without counting
    wanted = order.apply(query, cursor).add_columns(order.key).limit(limit + 1)
    found: list[Row[Any]] = list(session.execute(wanted))
    return Page([tuple(row)[:-1] for row in found[:limit]], found[limit - 1][-1] if len(found) > limit else None)


def read_page(session: Session, query: Select[T], order: Order, cursor: int | None, limit: int) -> Page[T]:
    """One page of a ``query`` of one entity or column."""
    return read_rows(session, query, order, cursor, limit).map(lambda row: row[0])
