"""Signing in and out, and being asked for the password again. Each leaves an audit event; nothing here commits."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import bounded, passwords, provided, queries, throttle
from app.accounts.models import LoginSession, User
from app.accounts.service import audit, set_password
from app.kernel import origin
from app.kernel.addresses import network
from app.kernel.db import without_connection_in_thread
from app.kernel.errors import NotFound, TooMany
from app.kernel.settings import get_settings
from app.kernel.storable import flaw


@dataclass(frozen=True)
class Provided:
    """A sign-in through the identity provider; ``asked_at`` is when that asked who it is, if it says so."""

    asked_at: datetime | None = None


def authenticate(
    session: Session,
    email: str,
    password: str,
    address: str,
    device: str | None = None,
    *,
    signed_in: User | None = None,
) -> User | None:
    """The person with this address and password, or None; ``signed_in`` is who is asked for it again.

    A failed try is a row that has to be committed, so it is returned and not raised. Unknown, disabled and mistaken
    look and take the same. :class:`app.kernel.errors.TooMany` when it is too early to try again; nothing was checked then.
    """
    email = email.strip().lower()
    # an account of before the rule for addresses keeps its own
    user = session.scalars(select(User).where(User.email == email)).one_or_none() if flaw(email) is None else None
    try:
        source = throttle.check(session, email, address, user, device)
    except TooMany:
        origin.current().refusal = origin.Refusal("sign_in.throttled", "user", user.id if user else None)
        raise
    stored = _password_of(session, user, signed_in)
    with without_connection_in_thread(session):
        fits = passwords.verify(stored, password)
        anew = passwords.rehash(password) if fits and stored and passwords.needs_rehash(stored) else None
    if user is not None:  # the password may have been changed, or the account closed, while it was hashed
        session.refresh(user)
    if not fits or user is None or user.disabled_at is not None or user.password_hash != stored:
        throttle.note_failure(session, email, source)
        _audit_failure(session, user, address, signed_in)
        return None
    if anew:
        user.password_hash = anew
    throttle.forget(session, email, source)
    return user


def _password_of(session: Session, user: User | None, signed_in: User | None) -> str | None:
    """The hash that counts; None, as for an account that there is not, where no password lets in."""
    if user is None or not user.password_hash:
        return None
    if signed_in is None and provided.is_only_way(session, user):
        return None
    return user.password_hash


def _audit_failure(session: Session, aimed_at: User | None, address: str, signed_in: User | None) -> None:
    """Note a failed try. What was typed is nowhere: people type passwords into the field for the address."""
    left_out = bounded.FAILURES.take(network(address))
    if left_out is None:
        return
    reason = "wrong password" if aimed_at else "no such account"
    if aimed_at and aimed_at.disabled_at is not None:
        reason = "disabled account"
    action = "password.refused" if signed_in else "sign_in.failed"
    more = {"left_out": left_out} if left_out else {}
    audit(session, signed_in, action, "user", aimed_at.id if aimed_at else None, reason=reason, **more)


def start_session(
    session: Session, user: User, *, user_agent: str = "", device: str | None = None, by: Provided | None = None
) -> str:
    """Sign ``user`` in: a new secret for the session cookie. ``device`` is the secret of its device cookie.

    ``by`` says that the identity provider knew who this is, and no password was asked for.
    """
    secret = secrets.token_urlsafe(32)
    started = LoginSession(
        token_hash=queries.digest(secret),
        user_id=user.id,
        user_agent=user_agent.replace("\x00", "")[:300],
        device_hash=queries.digest(device) if device else None,
        expires_at=func.now() + timedelta(days=get_settings().session_days),
        by_provider=by is not None,
        asked_at=by.asked_at if by else None,
    )
    session.add(started)
    session.flush()
    origin.current().session_id = started.id
    how = {"by": "identity provider"} if by else {}
    audit(session, user, "session.started", "login_session", started.id, browser=started.user_agent, **how)
    return secret


def end_session(session: Session, user: User, session_id: int) -> None:
    """Sign one of ``user``'s browsers out; :class:`NotFound` for anybody else's."""
    mine = (LoginSession.id == session_id) & (LoginSession.user_id == user.id) & LoginSession.revoked_at.is_(None)
    ended = session.execute(
        update(LoginSession).where(mine).values(revoked_at=func.now()).returning(LoginSession.id)
    ).scalar()
    if ended is None:
        raise NotFound
    audit(session, user, "session.ended", "login_session", session_id)


def change_password(
    session: Session,
    user: User,
    *,
    current: str,
    new: str,
    address: str,
    device: str | None,
    keep: int,
    keep_tokens: bool = True,
) -> bool:
    """Set a new password for a person who knows the current one; False when they do not. Tokens may stay valid.

    Tries count as tries to sign in, so a mistaken one is returned and not raised: it has to be committed.
    """
    passwords.check_rules(new, user.email)
    if not confirm(session, user, current, address, device):
        return False
    set_password(session, user, new, actor=user, keep=keep, keep_tokens=keep_tokens)
    return True


def confirm(session: Session, user: User, password: str, address: str, device: str | None) -> bool:
    """Whether it is ``user`` who asks, before what an open browser alone may not do.

    A mistaken password counts as a failed try to sign in, so it is returned and not raised: it has to be committed.
    """
    return authenticate(session, user.email, password, address, device, signed_in=user) is not None
