"""Accounts at an identity provider: whom they belong to here, and what their groups make of them."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import ProviderAccount, Role, User
from app.accounts.oidc import Claims, Problem
from app.accounts.service import audit
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.kernel.providing import IdentityProvider
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
        raise Conflict(_("{name} is connected to no identity provider.", name=user.name))
    audit(session, actor, "provider.disconnected", "user", user.id, issuers=sorted(gone))


def sign_in(session: Session, provider: IdentityProvider, claims: Claims) -> User:
    """Whose account this is, made at the first time, with the role of their groups.

    The last admin stays one whatever the groups say. An account with the same address is not taken over: who can have
    an address at the provider need not be who has it here.

    Raises:
        Problem: no group of theirs has a role, the account is closed, or none can be made.
    """
    role = _role(provider, claims)
    wait_for_turn(session, f"provider:{provider.issuer} {claims.subject}")  # a second tab waits and finds the account
    known = _known(session, provider, claims)
    user = session.get_one(User, known.user_id) if known else _made(session, provider, claims, role)
    if user.disabled_at is not None:
        raise Problem(_("This account is closed. Ask an admin if it should not be."), reason="disabled account")
    try:
        service.set_role(session, None, user, role)
    except Conflict:
        audit(session, None, "provider.role_kept", "user", user.id, role=user.role.value, by_groups=role.value)
    _account(session, provider, claims, user).used_at = func.now()
    session.flush()
    return user


def connect(session: Session, user: User, provider: IdentityProvider, claims: Claims) -> None:
    """Let ``user``, who has shown to be both, sign in through the provider from now on.

    Raises:
        Problem: no group of theirs has a role, or either side is connected to somebody else.
    """
    _role(provider, claims)
    known, mine = _known(session, provider, claims), account_of(session, user)
    if known and known.user_id != user.id:
        raise Problem(_("This sign-in belongs to another account here. Ask an admin."), reason="connected to another")
    if mine and mine.subject != claims.subject:
        raise Problem(
            _("Your account is connected to another sign-in. Disconnect that first."), reason="connected already"
        )
    if not mine:
        _account(session, provider, claims, user)
        audit(session, user, "provider.connected", "user", user.id, issuer=provider.issuer)


def _role(provider: IdentityProvider, claims: Claims) -> Role:
    given = {provider.roles[each] for each in claims.groups(provider.groups_claim) & provider.roles.keys()}
    strongest = next((each for each in (Role.ADMIN, Role.REVIEWER, Role.ANNOTATOR) if each.value in given), None)
    if strongest is None:
        raise Problem(
            _(
                "You are in no group of {provider} that may use Corral. Ask whoever looks after its groups.",
                provider=provider.label,
            ),
            reason="no group with a role",
        )
    return strongest


def _known(session: Session, provider: IdentityProvider, claims: Claims) -> ProviderAccount | None:
    theirs = (ProviderAccount.issuer == provider.issuer) & (ProviderAccount.subject == claims.subject)
    return session.scalars(select(ProviderAccount).where(theirs)).one_or_none()


def _account(session: Session, provider: IdentityProvider, claims: Claims, user: User) -> ProviderAccount:
    found = _known(session, provider, claims)
    if found is None:
        found = ProviderAccount(user_id=user.id, issuer=provider.issuer, subject=claims.subject)
        session.add(found)
        session.flush()
    return found


def _made(session: Session, provider: IdentityProvider, claims: Claims, role: Role) -> User:
    email = claims.text("email")
    if not email or not (provider.trust_email or claims.said.get("email_verified") is True):
        raise Problem(
            _(
                "Corral needs an e-mail address that {provider} has verified, and got none. Ask whoever looks after it.",
                provider=provider.label,
            ),
            reason="no verified address",
        )
    try:
        email = service.clean_email(email)
        if session.scalar(select(User.id).where(User.email == email)) is not None:
            raise Problem(
                _(
                    "There is an account for {email} already. Sign in with its password, then connect it under Profile.",
                    email=email,
                ),
                reason="address of another account",
            )
        user = service.add_user(session, email=email, name=_name(claims, email), role=role, password_hash="")
    except BadInput as error:
        raise Problem(_("No account could be made: {problem}", problem=error.message), reason="bad address") from None
    audit(session, None, "user.created", "user", user.id, role=role.value, by="identity provider")
    return user


def _name(claims: Claims, email: str) -> str:
    """What they are called, as far as a name can be that."""
    for said in (claims.text("name"), claims.text("preferred_username")):
        try:
            return service.clean_name(said[:120])
        except BadInput:
            continue
    return email.partition("@")[0]
