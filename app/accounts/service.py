"""Writes and rules of accounts; every administrative act leaves an audit event in the same transaction.

Signing in and out is :mod:`app.accounts.signing_in`.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import passwords, queries
from app.accounts.models import ApiToken, AuditEvent, Invite, LoginSession, Role, User
from app.kernel import origin
from app.kernel.db import without_connection_in_thread
from app.kernel.errors import Conflict, NotFound, refused
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings
from training.formats.languages import codes_of

INVITE_DAYS = 7
INVITE_LIVES = timedelta(days=INVITE_DAYS)
SCOPES = ("annotate", "read", "admin")
TOKEN_YEAR = 365
# As browsers check it, and no more dots than an address has; whether it exists, a message would tell.
_ATOM, _LABEL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def audit(
    session: Session, actor: User | None, action: str, subject_type: str, subject_id: int | None, **details: Any
) -> None:
    """Note who did what to what, from where; ``actor`` is None where nobody is signed in, as at the command line."""
    here = origin.current()
    event = AuditEvent(
        actor_id=actor.id if actor else None,
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        details=details,
        address=here.address,
        login_session_id=here.session_id,
        token_id=here.token_id,
        request_id=here.request_id,
    )
    session.add(event)


def clean_email(email: str) -> str:
    """``email`` in the one spelling that is stored; :class:`app.kernel.errors.BadInput` when it cannot be an address."""
    cleaned = email.strip().lower()
    if len(cleaned) > 254 or not _EMAIL.fullmatch(cleaned):
        raise refused("email", _("This is not an e-mail address; it looks like name@example.org."))
    return cleaned


def clean_name(name: str) -> str:
    """``name`` without surrounding or repeated space; :class:`app.kernel.errors.BadInput` when nothing printable is left."""
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(cleaned) <= 120 or not cleaned.isprintable():
        raise refused("name", _("A name has 1 to 120 printable characters."))
    return cleaned


def clean_languages(said: str) -> list[str]:
    """The codes of the languages in ``said``; :class:`app.kernel.errors.BadInput` names what is none."""
    try:
        return codes_of(said)
    except ValueError as error:
        raise refused("languages", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None


def create_user(session: Session, *, email: str, name: str, role: Role, password: str) -> User:
    """A new person; :class:`app.kernel.errors.BadInput` when the address is taken or the password too short."""
    email, name = clean_email(email), clean_name(name)
    with without_connection_in_thread(session):
        password_hash = passwords.hash_password(password, email)
    return add_user(session, email=email, name=name, role=role, password_hash=password_hash)


def add_user(session: Session, *, email: str, name: str, role: Role, password_hash: str) -> User:
    """The same with a hash that there is already; an empty one is of somebody who has no password."""
    email, name = clean_email(email), clean_name(name)
    # Two people who register one address at once: the lock makes the second wait and then see the first.
    wait_for_turn(session, f"users.email:{email}")
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise refused("email", _("An account with this e-mail address already exists. Sign in with it instead."))
    user = User(
        email=email,
        name=name,
        role=role,
        pseudonym=f"annotator-{secrets.token_hex(6)}",
        password_hash=password_hash,
    )
    session.add(user)
    session.flush()
    return user


def create_invite(session: Session, *, role: Role, created_by: User | None = None, email: str | None = None) -> str:
    """A one-time secret that makes an account with ``role``; the link is ``/invite/<secret>``, good for a week."""
    return make_invite(session, role=role, created_by=created_by, email=email)[1]


def make_invite(
    session: Session, *, role: Role, created_by: User | None = None, email: str | None = None
) -> tuple[Invite, str]:
    """The row of a new invite, and its secret."""
    secret = secrets.token_urlsafe(32)
    invite = Invite(
        token_hash=queries.digest(secret),
        role=role,
        email=clean_email(email) if email else None,
        created_by_id=created_by.id if created_by else None,
        expires_at=func.now() + INVITE_LIVES,
    )
    session.add(invite)
    session.flush()
    audit(session, created_by, "invite.created", "invite", invite.id, role=role.value)
    return invite, secret


def withdraw_invite(session: Session, actor: User, invite_id: int) -> None:
    """End an invite that nobody has used."""
    invite = queries.access_invite(session, actor, invite_id)
    invite.expires_at = func.now()
    audit(session, actor, "invite.withdrawn", "invite", invite.id)


def _withdraw_invites_of(session: Session, user: User, actor: User | None) -> None:
    mine = (Invite.created_by_id == user.id) & Invite.used_at.is_(None) & (Invite.expires_at > func.now())
    ended = session.execute(update(Invite).where(mine).values(expires_at=func.now()).returning(Invite.id)).all()
    if ended:
        audit(session, actor, "user.invites_withdrawn", "user", user.id, invites=len(ended))


def accept_invite(session: Session, secret: str, *, email: str, name: str, password: str) -> User:
    """Make the account that an invite promises, once."""
    invite = queries.find_invite(session, secret)
    if invite.email and clean_email(email) != invite.email:
        raise refused("email", _("This invite is for {email}.", email=invite.email))
    with without_connection_in_thread(session):
        password_hash = passwords.hash_password(password, clean_email(email))
    invite = queries.find_invite(session, secret, lock=True)
    user = add_user(session, email=email, name=name, role=invite.role, password_hash=password_hash)
    invite.used_by_id, invite.used_at = user.id, func.now()
    audit(session, user, "invite.used", "invite", invite.id, role=user.role.value)
    return user


def revoke_sessions(session: Session, user: User, *, keep: int | None = None, actor: User | None = None) -> int:
    """Sign ``user`` out everywhere (but for the login session ``keep``); says how many sessions ended."""
    mine = (LoginSession.user_id == user.id) & LoginSession.revoked_at.is_(None)
    if keep is not None:
        mine &= LoginSession.id != keep
    ended = session.execute(
        update(LoginSession).where(mine).values(revoked_at=func.now()).returning(LoginSession.id)
    ).all()
    audit(session, actor, "user.signed_out", "user", user.id, sessions=len(ended))
    return len(ended)


def allowed_scopes(user: User) -> tuple[str, ...]:
    """The scopes that a token of ``user`` may have. A reviewer writes too (snapshots), and ``admin`` is what writes."""
    return SCOPES if user.role in {Role.ADMIN, Role.REVIEWER} else tuple(each for each in SCOPES if each != "admin")


def most_token_days() -> int:
    """The most days for which an API token may work."""
    return max(TOKEN_YEAR, get_settings().token_days)


def create_token(session: Session, user: User, name: str, scopes: Sequence[str], *, days: int | None = None) -> str:
    """The secret of a new API token for ``user``; see :func:`issue_token`."""
    return issue_token(session, user, name, scopes, days=days)[1]


def issue_token(
    session: Session,
    user: User,
    name: str,
    scopes: Sequence[str],
    *,
    days: int | None = None,
    parent_id: int | None = None,
) -> tuple[ApiToken, str]:
    """A new API token for ``user`` and its secret, which is shown once and stored as a hash.

    It works for ``days`` (default: the setting ``token_days``), and no longer than the token ``parent_id`` that makes it.

    Raises:
        BadInput: no scope, one that ``user`` may not have, no name, or a time that is too long.
        Conflict: ``user`` has as many tokens as a person may have.
        NotFound: the token that makes it has ended.
    """
    allowed = allowed_scopes(user)
    if not scopes or not set(scopes) <= set(allowed):
        raise refused("scopes", _("Choose at least one of {scopes}.", scopes=", ".join(allowed)))
    days = get_settings().token_days if days is None else days
    if not 1 <= days <= most_token_days():
        raise refused("days", _("A token is valid for 1 to {most} days.", most=most_token_days()))
    name = clean_name(name)
    session.execute(select(User.id).where(User.id == user.id).with_for_update())  # two at once are counted one by one
    until: Any = func.now() + timedelta(days=days)
    living = queries.live_tokens(session, user)
    if parent_id is not None:
        parent = next((each for each in living if each.id == parent_id), None)
        if parent is None:
            raise NotFound(_("The token that you are using has expired or was revoked."))
        until = func.least(until, parent.expires_at)
    if len(living) >= get_settings().tokens_per_person:
        raise Conflict(
            _("You have {n} API tokens, which is the maximum: revoke one that you no longer use.", n=len(living))
        )
    secret = f"corral_{secrets.token_urlsafe(32)}"
    token = ApiToken(
        user_id=user.id,
        name=name,
        token_hash=queries.digest(secret),
        scopes=[scope for scope in SCOPES if scope in scopes],
        parent_id=parent_id,
        expires_at=until,
    )
    session.add(token)
    session.flush()
    audit(session, user, "token.created", "api_token", token.id, scopes=token.scopes, days=days)
    return token, secret


def revoke_token(session: Session, user: User, token_id: int) -> None:
    """End one of ``user``'s tokens, with all that were made with it. One that is revoked already stays so."""
    session.execute(select(User.id).where(User.id == user.id).with_for_update())  # none is made with it meanwhile
    token = queries.access_token(session, user, token_id)
    family = select(ApiToken.id).where(ApiToken.id == token.id).cte(recursive=True)
    family = family.union_all(select(ApiToken.id).join(family, ApiToken.parent_id == family.c.id))
    living = ApiToken.id.in_(select(family.c.id)) & ApiToken.revoked_at.is_(None)
    ended = session.scalars(update(ApiToken).where(living).values(revoked_at=func.now()).returning(ApiToken.id)).all()
    for each in sorted(ended):
        audit(session, user, "token.revoked", "api_token", each)


def revoke_tokens(session: Session, user: User, *, actor: User | None = None) -> int:
    """End all tokens of ``user``; says how many there were."""
    live = (ApiToken.user_id == user.id) & ApiToken.revoked_at.is_(None)
    ended = session.execute(update(ApiToken).where(live).values(revoked_at=func.now()).returning(ApiToken.id)).all()
    if ended:
        audit(session, actor, "user.tokens_revoked", "user", user.id, tokens=len(ended))
    return len(ended)


def set_role(session: Session, actor: User | None, user: User, role: Role) -> None:
    """Give ``user`` another role; the last admin stays one."""
    if user.role is role:
        return
    if role is not Role.ADMIN:
        _keep_an_admin(session, user)
    audit(session, actor, "user.role_changed", "user", user.id, before=user.role.value, after=role.value)
    user.role = role


def disable(session: Session, actor: User | None, user: User) -> None:
    """Close an account: its sessions and tokens stop at once, its work stays."""
    if user.disabled_at is not None:
        return
    if actor is not None and actor.id == user.id:
        raise Conflict(_("You cannot disable your own account. Another admin can."))
    _keep_an_admin(session, user)
    user.disabled_at = func.now()
    audit(session, actor, "user.disabled", "user", user.id)
    revoke_sessions(session, user, actor=actor)


def enable(session: Session, actor: User | None, user: User) -> None:
    """Open a closed account again."""
    if user.disabled_at is not None:
        user.disabled_at = None
        audit(session, actor, "user.enabled", "user", user.id)


def set_password(
    session: Session,
    user: User,
    password: str,
    *,
    actor: User | None = None,
    keep: int | None = None,
    keep_tokens: bool = False,
) -> None:
    """Set a password, sign ``user`` out everywhere (but for the login session ``keep``) and revoke the API tokens.

    Whoever had the old password may have made tokens with it: they outlive the sessions unless they are revoked too.
    """
    with without_connection_in_thread(session):
        password_hash = passwords.hash_password(password, user.email)
    user.password_hash = password_hash
    audit(session, actor, "user.password_changed", "user", user.id)
    revoke_sessions(session, user, keep=keep, actor=actor)
    if not keep_tokens:
        revoke_tokens(session, user, actor=actor)
        _withdraw_invites_of(session, user, actor)


def _keep_an_admin(session: Session, user: User) -> None:
    if queries.lock_admins(session) == {user.id}:
        raise Conflict(_("{name} is the only admin. Make somebody else an admin first.", name=user.name))
