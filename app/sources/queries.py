"""Reads of sources, for staff. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import STAFF
from app.accounts.models import User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.sources.models import Source, SourceKind


def access_source(session: Session, user: User, source_id: int) -> Source:
    """A source, for staff.

    Raises:
        NotFound: no such source, or not for this user.
    """
    found = session.get(Source, source_id) if user.role in STAFF else None
    if found is None:
        raise NotFound
    return found


def list_sources(session: Session, *, before: int | None = None, limit: int = 25) -> Page[Source]:
    """Newest first, withdrawn ones among them."""
    return read_page(session, select(Source), Order(Source.id), before, limit)


def chosen(session: Session, kind: SourceKind | None = None) -> Sequence[Source]:
    """What a training that starts now learns from beside its snapshot, by name; nothing that nobody gave a weight."""
    query = select(Source).where(Source.weight > 0).order_by(Source.name)
    return session.scalars(query if kind is None else query.where(Source.kind == kind)).all()
