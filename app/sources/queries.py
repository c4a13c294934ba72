"""Reads of sources, for staff. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import or_, select
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


def chosen(session: Session, kind: SourceKind | None = None, also: Collection[int] = ()) -> Sequence[Source]:
    """What a training that starts now learns from beside its snapshot, by name; nothing that nobody gave a weight.

    ``also`` are the ids of those that may weigh nothing otherwise.
    """
    query = select(Source).where(or_(Source.weight > 0, Source.id.in_(also))).order_by(Source.name)
    return session.scalars(query if kind is None else query.where(Source.kind == kind)).all()


def offered(session: Session, kinds: Collection[SourceKind]) -> Sequence[Source]:
    """What a training could learn from: those of ``kinds`` that are not withdrawn, by name."""
    query = select(Source).where(Source.kind.in_(kinds), Source.withdrawn_at.is_(None)).order_by(Source.name)
    return session.scalars(query).all()


def keep(session: Session) -> None:
    """Until the end of the transaction nobody withdraws a source or deletes its file."""
    session.execute(select(Source.id).order_by(Source.id).with_for_update(read=True, key_share=True))
