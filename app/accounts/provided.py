"""Accounts at an identity provider: whom they belong to here, and what their groups make of them."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.accounts.models import ProviderAccount, User
from app.accounts.service import audit
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings


def account_of(session: Session, user: User) -> ProviderAccount | None:
    """Who ``user`` is at the provider that is set up; None where they are not connected, or there is none."""
    provider = get_settings().oidc
    if provider is None:
        return None
    mine = (ProviderAccount.user_id == user.id) & (ProviderAccount.issuer == provider.issuer)
    return session.scalars(select(ProviderAccount).where(mine)).one_or_none()


def is_only_way(session: Session, user: User) -> bool:
    """Whether ``user`` signs in through the provider alone."""
    provider = get_settings().oidc
    return provider is not None and provider.only and account_of(session, user) is not None


def people_with(session: Session) -> frozenset[int]:
    """The ids of all who are connected to the provider that is set up."""
    provider = get_settings().oidc
    if provider is None:
        return frozenset()
    return frozenset(session.scalars(select(ProviderAccount.user_id).where(ProviderAccount.issuer == provider.issuer)))


def disconnect(session: Session, actor: User | None, user: User) -> None:
    """Forget who ``user`` is at any provider.

    Raises:
        Conflict: they are connected to none.
    """
    gone = session.scalars(
        delete(ProviderAccount).where(ProviderAccount.user_id == user.id).returning(ProviderAccount.issuer)
    ).all()
    if not gone:
        raise Conflict(f"{user.name} is connected to no identity provider.")
    audit(session, actor, "provider.disconnected", "user", user.id, issuers=sorted(gone))
