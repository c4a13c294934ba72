"""Add a source, weigh it, withdraw it. Nothing here commits."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.errors import Conflict, refused
from app.kernel.locales import gettext as _
from app.sources.forms import SourceIn
from app.sources.models import Source
from app.sources.storing import Stored


def add(session: Session, user: User | None, wanted: SourceIn, stored: Stored) -> Source:
    """A source of what was stored, with weight 0; ``user`` is None at the command line.

    Raises:
        BadInput: another one has its name.
    """
    if session.scalar(select(Source.id).where(func.lower(Source.name) == wanted.name.lower())):
        raise refused("name", _("There is a source “{name}” already: choose another name.", name=wanted.name))
    made = Source(
        name=wanted.name,
        kind=wanted.kind,
        origin=wanted.origin,
        licence=wanted.licence,
        filename=stored.filename,
        rows=stored.rows,
        bytes=stored.bytes,
        left_out=stored.left_out,
        sha256=stored.sha256,
        path=stored.keep(),
        created_by_id=user.id if user else None,
    )
    session.add(made)
    session.flush()
    details = {"name": made.name, "kind": made.kind.value, "origin": made.origin.value, "rows": made.rows}
    audit(session, user, "source.add", "source", made.id, **details, sha256=made.sha256)
    return made


def weigh(session: Session, user: User | None, source: Source, weight: float) -> None:
    """Set how much of it trainings learn from that start from now on.

    Raises:
        Conflict: it was withdrawn.
    """
    session.refresh(source, with_for_update=True)
    if source.withdrawn_at is not None:
        raise Conflict(_("This source was withdrawn. Add the file again to learn from it."))
    if source.weight == weight:
        return
    before, source.weight = source.weight, weight
    session.flush()
    audit(session, user, "source.weigh", "source", source.id, name=source.name, weight=weight, before=before)


def withdraw(session: Session, user: User | None, source: Source) -> None:
    """No training that starts later learns from it. Its rows stay, for those that did; twice is as once."""
    session.refresh(source, with_for_update=True)
    if source.withdrawn_at is not None:
        return
    source.weight, source.withdrawn_at, source.withdrawn_by_id = 0.0, func.now(), user.id if user else None
    session.flush()
    session.refresh(source)
    audit(session, user, "source.withdraw", "source", source.id, name=source.name)
