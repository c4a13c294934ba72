"""Takes out of an account who its person was. The row stays, without a name, because what they did points at it."""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import (
    IdempotencyKey,
    Invite,
    LoginSession,
    ProviderAccount,
    RecoveryCode,
    SecondStep,
    TeamMember,
    User,
)

NAME = "Erased person"


def erase(session: Session, actor: User | None, user: User) -> None:
    """Close the account and blank its name, address and settings, and what was kept of its browsers and its answers.

    Its second step goes, who it was at an identity provider, and the teams that it was in.

    The audit log keeps what was done, under the account's number and pseudonym, for as long as it keeps anything.

    Raises:
        Conflict: it is ``actor``'s own account, or the last admin's.
    """
    service.disable(session, actor, user)
    user.name, user.email, user.preferences = NAME, f"erased-{user.id}@erased.invalid", {}
    user.languages = []
    session.execute(update(LoginSession).where(LoginSession.user_id == user.id).values(user_agent="", device_hash=None))
    session.execute(update(Invite).where(Invite.used_by_id == user.id).values(email=None))
    for kept in (IdempotencyKey, SecondStep, RecoveryCode, ProviderAccount, TeamMember):
        session.execute(delete(kept).where(kept.user_id == user.id))
    session.flush()
