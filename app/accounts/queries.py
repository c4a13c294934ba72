"""Reads of accounts. The two look-ups that every request makes are one query each, by a unique key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from app.accounts.models import ApiToken, Invite, LoginSession, Role, User
from app.errors import NotFound


def digest(secret: str) -> bytes:
    """What is stored of a 256-bit random secret. No salt or stretching: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


_BY_SESSION = (
    select(User, LoginSession.id)
    .join(User, User.id == LoginSession.user_id)
    .where(
        LoginSession.token_hash == bindparam("token_hash"),
        LoginSession.revoked_at.is_(None),
        LoginSession.expires_at > func.now(),
        User.disabled_at.is_(None),
    )
)

_BY_TOKEN = (
    select(User, ApiToken)
    .join(User, User.id == ApiToken.user_id)
    .where(ApiToken.token_hash == bindparam("token_hash"), ApiToken.revoked_at.is_(None), User.disabled_at.is_(None))
)


def session_holder(session: Session, secret: str) -> tuple[User, int] | None:
    """The enabled user behind a session cookie and the id of that login session; None when it is over."""
    row = session.execute(_BY_SESSION, {"token_hash": digest(secret)}).one_or_none()
    return (row[0], row[1]) if row else None


def token_holder(session: Session, secret: str) -> tuple[User, ApiToken] | None:
    """The enabled user behind a bearer token, and the token; None when it is revoked or unknown."""
    row = session.execute(_BY_TOKEN, {"token_hash": digest(secret)}).one_or_none()
    return (row[0], row[1]) if row else None


def people(session: Session) -> Sequence[User]:
    """Everyone, the enabled first, by name."""
    return session.scalars(select(User).order_by(User.disabled_at.isnot(None), func.lower(User.name), User.id)).all()


def access_user(session: Session, actor: User, user_id: int) -> User:
    """One person, for an admin; :class:`NotFound` otherwise."""
    user = session.get(User, user_id) if actor.role is Role.ADMIN else None
    if user is None:
        raise NotFound
    return user


def live_sessions(session: Session, user: User) -> Sequence[LoginSession]:
    """The browsers in which ``user`` is signed in, newest first."""
    mine = LoginSession.user_id == user.id
    live = LoginSession.revoked_at.is_(None) & (LoginSession.expires_at > func.now())
    return session.scalars(select(LoginSession).where(mine, live).order_by(LoginSession.id.desc())).all()


def live_tokens(session: Session, user: User) -> Sequence[ApiToken]:
    """The API tokens of ``user`` that still work, newest first."""
    mine = (ApiToken.user_id == user.id) & ApiToken.revoked_at.is_(None)
    return session.scalars(select(ApiToken).where(mine).order_by(ApiToken.id.desc())).all()


def open_invites(session: Session) -> Sequence[Invite]:
    """Invites that may still be used, newest first. Their links cannot be shown again: only hashes are stored."""
    usable = Invite.used_at.is_(None) & (Invite.expires_at > func.now())
    return session.scalars(select(Invite).where(usable).order_by(Invite.id.desc())).all()


def access_invite(session: Session, actor: User, invite_id: int) -> Invite:
    """An invite that nobody has used, locked, for an admin; :class:`NotFound` otherwise."""
    invite = session.get(Invite, invite_id, with_for_update=True) if actor.role is Role.ADMIN else None
    if invite is None or invite.used_at is not None:
        raise NotFound
    return invite


def access_token(session: Session, user: User, token_id: int) -> ApiToken:
    """A token of ``user``'s own, locked, revoked or not; :class:`NotFound` for anybody else's."""
    token = session.get(ApiToken, token_id, with_for_update=True)
    if token is None or token.user_id != user.id:
        raise NotFound
    return token


def find_invite(session: Session, secret: str, *, lock: bool = False) -> Invite:
    """The invite behind a link; :class:`NotFound` when it is unknown, used or too old."""
    query = select(Invite).where(
        Invite.token_hash == digest(secret), Invite.used_at.is_(None), Invite.expires_at > func.now()
    )
    invite = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if invite is None:
        raise NotFound("This invite link has been used, has run out, or was not copied whole. Ask for a new one.")
    return invite


def lock_admins(session: Session) -> frozenset[int]:
    """The enabled admins' ids. Locked, so that two admins cannot demote each other at the same moment."""
    query = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None)).order_by(User.id)
    return frozenset(session.scalars(query.with_for_update()))
