"""What the tests of the audit log look at."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, LoginSession, User

HERE = "testclient"
"""The address that the client of the tests comes from."""


def events(session: Session, *actions: str) -> list[AuditEvent]:
    """The events of these actions, or all, in their order."""
    query = select(AuditEvent).order_by(AuditEvent.id)
    return list(session.scalars(query.where(AuditEvent.action.in_(actions)) if actions else query))


def only(session: Session, action: str) -> AuditEvent:
    (found,) = events(session, action)
    return found


def session_of(session: Session, user: User) -> int:
    """The id of the newest login session of ``user``."""
    found = session.scalars(select(LoginSession.id).where(LoginSession.user_id == user.id).order_by(LoginSession.id))
    return found.all()[-1]


def happened(session: Session, at: datetime | str, action: str = "test.happened") -> None:
    """An event of another time."""
    session.execute(
        text("INSERT INTO audit_events (at, action, subject_type) VALUES (:at, :action, 'test')"),
        {"at": at, "action": action},
    )
