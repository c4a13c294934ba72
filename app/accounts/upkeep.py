"""What may be forgotten, so that no table of accounts grows for ever. Run every hour; running twice changes nothing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from app.accounts import idempotency, throttle
from app.accounts.models import Invite, LoginAttempt, LoginSession

SESSIONS_KEPT = timedelta(days=400)
"""As long as a browser keeps its device cookie: an old session is what proves that the device is known."""
INVITES_KEPT = timedelta(days=30)


def forget_old(session: Session) -> None:
    """Delete what has run out and will not be asked for again. Audit events stay."""
    now = func.now()
    idempotency.forget_old(session)
    session.execute(delete(LoginAttempt).where(LoginAttempt.at < now - throttle.WINDOW))
    session.execute(delete(LoginSession).where(LoginSession.expires_at < now - SESSIONS_KEPT))
    session.execute(delete(Invite).where(Invite.used_at.is_(None), Invite.expires_at < now - INVITES_KEPT))
