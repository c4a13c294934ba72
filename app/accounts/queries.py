"""Reads of accounts. The two look-ups that every request makes are one query each, by a unique key."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.accounts.models import ApiToken, Invite, LoginSession, Role, User
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.origin import Refusal, current
from app.kernel.settings import get_settings

_NOTED_EVERY = _LATELY = func.make_interval(0, 0, 0, 0, 0, 10)
"""The use of a session is noted so seldom that a busy page does not turn each of its reads into a write."""


def digest(secret: str) -> bytes:
    """What is stored of a 256-bit random secret. No salt or stretching: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


_session_lives = and_(
    LoginSession.revoked_at.is_(None),
    LoginSession.expires_at > func.now(),
    LoginSession.last_seen_at > func.now() - func.make_interval(0, 0, 0, 0, bindparam("idle_hours")),
)
_token_lives = and_(ApiToken.revoked_at.is_(None), ApiToken.expires_at > func.now())

_BY_SESSION = (
    select(User, LoginSession.id, LoginSession.last_seen_at < func.now() - _NOTED_EVERY)
    .join(User, User.id == LoginSession.user_id)
    .where(LoginSession.token_hash == bindparam("token_hash"), _session_lives, User.disabled_at.is_(None))
)

_BY_TOKEN = (
    select(User, ApiToken)
    .join(User, User.id == ApiToken.user_id)
    .where(ApiToken.token_hash == bindparam("token_hash"), _token_lives, User.disabled_at.is_(None))
)


def _idle() -> dict[str, int]:
    return {"idle_hours": get_settings().session_idle_hours}


def session_holder(session: Session, secret: str) -> tuple[User, int] | None:
    """The enabled user behind a session cookie and the id of that login session, whose use is noted; None when it is over."""
    row = session.execute(_BY_SESSION, {"token_hash": digest(secret), **_idle()}).one_or_none()
    if row is None:
        return None
    user, session_id, note = row
    if note:
        session.execute(update(LoginSession).where(LoginSession.id == session_id).values(last_seen_at=func.now()))
    return user, session_id


def token_holder(session: Session, secret: str) -> tuple[User, ApiToken] | None:
    """The enabled user behind a bearer token, and the token; None when it is revoked, has run out or is unknown."""
    row = session.execute(_BY_TOKEN, {"token_hash": digest(secret)}).one_or_none()
    return (row[0], row[1]) if row else None


def ended_session(session: Session, secret: str) -> LoginSession | None:
    """The session of a cookie if it was ended on purpose; None if it expired or is unknown."""
    mine = (LoginSession.token_hash == digest(secret)) & LoginSession.revoked_at.isnot(None)
    return session.scalars(select(LoginSession).where(mine)).one_or_none()


def known_token(session: Session, secret: str) -> ApiToken | None:
    """The token behind a secret, whether it works or not."""
    return session.scalars(select(ApiToken).where(ApiToken.token_hash == digest(secret))).one_or_none()


def still_lets_in(
    session: Session, user_id: int, *, session_id: int | None = None, token_id: int | None = None
) -> bool:
    """Whether what a request was let in with would let it in now; with neither, whether its person's account is open."""
    query = select(User.id).where(User.id == user_id, User.disabled_at.is_(None))
    values: dict[str, int] = {}
    if session_id is not None:
        query, values = query.join(LoginSession, LoginSession.id == session_id).where(_session_lives), _idle()
    if token_id is not None:
        query = query.join(ApiToken, ApiToken.id == token_id).where(_token_lives)
    return session.scalar(query, values) is not None


def provider_said_lately(session: Session, session_id: int) -> bool:
    """Whether the identity provider asked who this is within the last ten minutes, when this login session began."""
    lately = LoginSession.asked_at > func.now() - _LATELY
    query = select(LoginSession.id).where(LoginSession.id == session_id, LoginSession.by_provider, lately)
    return session.scalar(query) is not None


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
    query = select(LoginSession).where(mine, _session_lives).order_by(LoginSession.id.desc())
    return session.scalars(query, _idle()).all()


def live_tokens(session: Session, user: User) -> Sequence[ApiToken]:
    """The API tokens of ``user`` that still work, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == user.id, _token_lives).order_by(ApiToken.id.desc())
    return session.scalars(query).all()


_maker = aliased(User)
_invite_works: ColumnElement[bool] = and_(
    Invite.used_at.is_(None),
    Invite.expires_at > func.now(),
    or_(
        Invite.created_by_id.is_(None),
        select(_maker.id)
        .where(_maker.id == Invite.created_by_id, _maker.disabled_at.is_(None), _maker.role == Role.ADMIN)
        .exists(),
    ),
)
"""Whether an invite may still be used: it ends with its maker's right to make one."""


def open_invites(session: Session) -> Sequence[Invite]:
    """Invites that may still be used, newest first. Their links cannot be shown again: only hashes are stored."""
    return session.scalars(select(Invite).where(_invite_works).order_by(Invite.id.desc())).all()


def invites_of(session: Session, ids: Collection[int]) -> list[tuple[Invite, bool]]:
    """The invites with these ids, locked, by id, and whether each may still be used."""
    query = select(Invite, _invite_works).where(Invite.id.in_(ids)).order_by(Invite.id).with_for_update(of=Invite)
    return [(invite, works) for invite, works in session.execute(query)]


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
    query = select(Invite).where(Invite.token_hash == digest(secret), _invite_works)
    invite = session.scalars(query.with_for_update(of=Invite) if lock else query).one_or_none()
    if invite is None:
        known = session.scalar(select(Invite.id).where(Invite.token_hash == digest(secret)))
        current().refusal = Refusal("invite.refused", "invite", known)
        raise NotFound(
            _("This invite link was already used, has expired, or was not copied completely. Ask for a new one.")
        )
    return invite


def lock_admins(session: Session) -> frozenset[int]:
    """The enabled admins' ids. Locked, so that two admins cannot demote each other at the same moment."""
    query = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None)).order_by(User.id)
    return frozenset(session.scalars(query.with_for_update()))
