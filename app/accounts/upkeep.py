"""What may be forgotten, so that no table of accounts grows for ever. Run every hour; running twice changes nothing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.accounts import idempotency, second_step, throttle
from app.accounts.models import AuditEvent, Invite, LoginAttempt, LoginSession
from app.kernel.settings import get_settings

SESSIONS_KEPT = timedelta(days=400)
"""As long as a browser keeps its device cookie: an old session is what proves that the device is known."""
INVITES_KEPT = timedelta(days=30)


def forget_old(session: Session) -> None:
    """Delete what has run out and will not be asked for again."""
    now = func.now()
    idempotency.forget_old(session)
    session.execute(delete(LoginAttempt).where(LoginAttempt.at < now - throttle.WINDOW))
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now - SESSIONS_KEPT))
    session.execute(delete(Invite).where(Invite.used_at.is_(None), Invite.expires_at < now - INVITES_KEPT))
    second_step.forget_unconfirmed(session)
    _forget_audit_events(session)


def _forget_audit_events(session: Session) -> None:
    """Remove events past their time. Each removal is an event, so a day's worth goes at once, and not an hour's."""
    days = get_settings().audit_days
    if days == 0:
        return
    before = func.now() - timedelta(days=days)
    if session.scalar(select(AuditEvent.id).where(AuditEvent.at < before - timedelta(days=1)).limit(1)) is not None:
        session.execute(select(func.forget_audit_events(before)))
