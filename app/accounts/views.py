"""HTML of accounts: signing in and out, accepting an invite, one's own profile and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from app.accounts import (
    passwords,
    people,
    provided,
    provider_views,
    queries,
    second_step,
    service,
    signing_in,
    step_views,
)
from app.accounts.access import NOT_YOURS, SignedIn, confirmed, device_cookie, maybe_signed_in, session_cookie
from app.accounts.entering import drop_cookie, enter, remember_locale, remember_theme
from app.accounts.forms import (
    AccountForm,
    LanguagesForm,
    LocaleForm,
    LoginForm,
    NameForm,
    PasswordForm,
    ThemeForm,
    TokenForm,
)
from app.accounts.hashing import InLine
from app.accounts.models import ApiToken, Invite, LoginSession, ProviderAccount, User
from app.accounts.provider_views import LoginPage
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict, refused
from app.kernel.locales import N_, ngettext
from app.kernel.locales import gettext as _
from app.kernel.providing import IdentityProvider
from app.kernel.settings import get_settings
from app.shell.web import client_address, redirect, render, safe_next
from training.formats.languages import named

router = APIRouter()
router.include_router(people.router)
router.include_router(step_views.router)
router.include_router(provider_views.router)

WRONG = N_("This e-mail address and password do not match. Check both and try again.")


@dataclass(frozen=True)
class InvitePage:
    """Context of ``invite.html``."""

    invite: Invite
    name: str = ""
    email: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    rules: str = field(default_factory=passwords.rules)


@dataclass(frozen=True)
class ProfilePage:
    """Context of ``profile.html``."""

    sessions: Sequence[LoginSession]
    this_session: int
    name: str
    languages: str
    errors: dict[str, str] = field(default_factory=dict)
    rules: str = field(default_factory=passwords.rules)
    provider: IdentityProvider | None = None
    connected: ProviderAccount | None = None
    """Who they are at ``provider``."""
    has_step: bool = False


@dataclass(frozen=True)
class TokensPage:
    """Context of ``tokens.html``. ``secret`` is that of a token made by this very request."""

    tokens: Sequence[ApiToken]
    scopes: tuple[str, ...]
    days: int
    most_days: int
    name: str = ""
    secret: str | None = None
    errors: dict[str, str] = field(default_factory=dict)


@router.get("/login")
def login_page(request: Request, session: DbSession, next: str = "/") -> Response:  # noqa: A002 - the URL's own word
    """The sign-in form, or straight on for those who are signed in."""
    if maybe_signed_in(request, session):
        return redirect(request, safe_next(next))
    return render(request, "accounts/login.html", LoginPage("", safe_next(next), None, get_settings().oidc))


@router.post("/login")
def login(request: Request, _turn: InLine, session: DbSession, form: Annotated[LoginForm, Form()]) -> Response:
    """Sign in. A failed try returns and does not raise: it is counted, and counting has to be committed."""
    device = request.cookies.get(device_cookie(request))
    user = signing_in.authenticate(session, form.email, form.password, client_address(request), device)
    if user is None:
        page = LoginPage(form.email, safe_next(form.next), _(WRONG), get_settings().oidc)
        return render(request, "accounts/login.html", page, status=422)
    if second_step.is_on(session, user):
        return step_views.ask(request, user, safe_next(form.next))
    return enter(request, session, user, safe_next(form.next))


@router.post("/logout")
def logout(request: Request, session: DbSession) -> Response:
    """End this session, here and on the server."""
    user = maybe_signed_in(request, session)
    if user:
        signing_in.end_session(session, user, request.state.login_session_id)
    response = redirect(request, "/login", flash=_("You are signed out."))
    drop_cookie(request, response, session_cookie(request))
    # Drafts and pages that this browser kept. Not "cookies": the device stays known to the throttle. Over plain HTTP browsers
    # do not listen to it, so the page's script clears what scripts stored as well.
    response.headers["clear-site-data"] = '"cache", "storage"'
    return response


@router.get("/invite/{secret}")
def invite_page(request: Request, session: DbSession, secret: str) -> Response:
    """The form behind an invite link."""
    invite = queries.find_invite(session, secret)
    return render(request, "accounts/invite.html", InvitePage(invite, email=invite.email or ""))


@router.post("/invite/{secret}")
def accept_invite(
    request: Request, _turn: InLine, session: DbSession, secret: str, form: Annotated[AccountForm, Form()]
) -> Response:
    """Make the account and sign in to it."""
    try:
        user = service.accept_invite(session, secret, email=form.email, name=form.name, password=form.password)
    except BadInput as error:
        session.rollback()
        invite = queries.find_invite(session, secret)
        page = InvitePage(invite, form.name, form.email, error.by_field)
        return render(request, "accounts/invite.html", page, status=422)
    return enter(request, session, user, "/")


@router.post("/theme")
def set_theme(request: Request, session: DbSession, form: Annotated[ThemeForm, Form()]) -> Response:
    """Remember the theme, with the person when somebody is signed in, and in this browser."""
    user = maybe_signed_in(request, session)
    if user:
        user.preferences = {**user.preferences, "theme": form.theme}
    response = redirect(request, safe_next(form.next))
    remember_theme(request, response, form.theme)
    return response


@router.post("/locale")
def set_locale(request: Request, session: DbSession, form: Annotated[LocaleForm, Form()]) -> Response:
    """Remember the language in which Corral is read, with the person when somebody is signed in, and in this browser."""
    user = maybe_signed_in(request, session)
    if user:
        user.preferences = {**user.preferences, "locale": form.locale}
    response = redirect(request, safe_next(form.next))
    remember_locale(request, response, form.locale)
    return response


@router.get("/profile")
def profile(request: Request, session: DbSession, user: SignedIn) -> Response:
    """One's name, password and browsers."""
    return render(request, "accounts/profile.html", _profile_page(request, session, user))


@router.post("/profile/name")
def set_name(request: Request, session: DbSession, user: SignedIn, form: Annotated[NameForm, Form()]) -> Response:
    """Take another name."""
    try:
        user.name = service.clean_name(form.name)
    except BadInput as error:
        page = _profile_page(request, session, user, error, name=form.name)
        return render(request, "accounts/profile.html", page, status=422)
    return redirect(request, "/profile", flash=_("Name saved."))


@router.post("/profile/languages")
def set_languages(
    request: Request, session: DbSession, user: SignedIn, form: Annotated[LanguagesForm, Form()]
) -> Response:
    """Say which languages one reads: items in others are not given."""
    try:
        user.languages = service.clean_languages(form.languages)
    except BadInput as error:
        page = _profile_page(request, session, user, error, languages=form.languages)
        return render(request, "accounts/profile.html", page, status=422)
    return redirect(request, "/profile", flash=_("Languages saved."))


@router.post("/profile/password")
def set_password(
    request: Request, session: DbSession, user: SignedIn, form: Annotated[PasswordForm, Form()]
) -> Response:
    """Change the password; every other browser is signed out, and API tokens are revoked if requested."""
    device, address = request.cookies.get(device_cookie(request)), client_address(request)
    keep: int = request.state.login_session_id
    try:
        changed = signing_in.change_password(
            session,
            user,
            current=form.current,
            new=form.password,
            address=address,
            device=device,
            keep=keep,
            keep_tokens=not form.revoke_tokens,
        )
        error = None if changed else refused("current", _(NOT_YOURS))
    except BadInput as refusal:
        error = refusal
    if error:
        return render(request, "accounts/profile.html", _profile_page(request, session, user, error), status=422)
    said = _("Your password is changed, and every other browser is signed out.")
    return redirect(request, "/profile", flash=f"{said} {_tokens_now(session, user)}".rstrip())


@router.post("/profile/sessions/{session_id}/end")
def end_session(request: Request, session: DbSession, user: SignedIn, session_id: int) -> Response:
    """Sign one of one's browsers out."""
    signing_in.end_session(session, user, session_id)
    return redirect(request, "/profile", flash=_("That browser is signed out."))


@router.post("/profile/sessions/end-others")
def end_other_sessions(request: Request, session: DbSession, user: SignedIn) -> Response:
    """Sign out everywhere but here."""
    service.revoke_sessions(session, user, keep=request.state.login_session_id, actor=user)
    return redirect(request, "/profile", flash=_("Every other browser is signed out."))


@router.get("/tokens")
def tokens(request: Request, session: DbSession, user: SignedIn) -> Response:
    """One's API tokens."""
    return render(request, "accounts/tokens.html", _tokens_page(session, user))


@router.post("/tokens")
def create_token(request: Request, session: DbSession, user: SignedIn, form: Annotated[TokenForm, Form()]) -> Response:
    """Make a token. The answer is the page itself, because the secret is shown this once."""
    try:
        if not confirmed(request, session, user, form.password):
            page = _tokens_page(session, user, name=form.name, days=form.days, errors={"password": _(NOT_YOURS)})
            return render(request, "accounts/tokens.html", page, status=422)
        secret = service.create_token(session, user, form.name, form.scopes, days=form.days)
    except (BadInput, Conflict) as error:
        beside = error.by_field or {"name": error.message}
        page = _tokens_page(session, user, name=form.name, days=form.days, errors=beside)
        return render(request, "accounts/tokens.html", page, status=error.status)
    return render(request, "accounts/tokens.html", _tokens_page(session, user, secret=secret))


@router.post("/tokens/{token_id}/revoke")
def revoke_token(request: Request, session: DbSession, user: SignedIn, token_id: int) -> Response:
    """End a token."""
    service.revoke_token(session, user, token_id)
    return redirect(request, "/tokens", flash=_("The token is revoked. Programs that use it are refused from now on."))


def _tokens_now(session: DbSession, user: User) -> str:
    count = len(queries.live_tokens(session, user))
    if not count:
        return ""
    return ngettext("{n} API token still works: see API tokens.", "{n} API tokens still work: see API tokens.", count)


def _profile_page(
    request: Request,
    session: DbSession,
    user: User,
    error: BadInput | None = None,
    *,
    name: str | None = None,
    languages: str | None = None,
) -> ProfilePage:
    return ProfilePage(
        sessions=queries.live_sessions(session, user),
        this_session=request.state.login_session_id,
        name=user.name if name is None else name,
        languages=named(user.languages) if languages is None else languages,
        errors=error.by_field if error else {},
        provider=get_settings().oidc,
        connected=provided.account_of(session, user),
        has_step=second_step.is_on(session, user),
    )


def _tokens_page(
    session: DbSession,
    user: User,
    *,
    name: str = "",
    days: int | None = None,
    secret: str | None = None,
    errors: dict[str, str] | None = None,
) -> TokensPage:
    return TokensPage(
        tokens=queries.live_tokens(session, user),
        scopes=service.allowed_scopes(user),
        days=days or get_settings().token_days,
        most_days=service.most_token_days(),
        name=name,
        secret=secret,
        errors=errors or {},
    )
