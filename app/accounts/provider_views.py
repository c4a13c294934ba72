"""HTML of signing in through the identity provider: to its page and back, and connecting an account that has a password."""

from __future__ import annotations

import dataclasses
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import bounded, oidc, provided, sealed, service
from app.accounts.access import NOT_YOURS, SignedIn, confirmed, maybe_signed_in, provider_cookie
from app.accounts.entering import drop_cookie, enter, set_cookie
from app.accounts.forms import BackForm, OwnPasswordForm
from app.accounts.models import ProviderAccount
from app.accounts.oidc import Begun, Claims, Problem
from app.accounts.signing_in import Provided
from app.kernel.addresses import network
from app.kernel.db import DbSession, without_connection_in_thread
from app.kernel.errors import Conflict, NotFound
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.providing import IdentityProvider
from app.kernel.settings import get_settings
from app.shell.web import client_address, public_url, redirect, render, safe_next

Answer = TypeVar("Answer")

router = APIRouter()

PURPOSE = "sign-in at the identity provider"
WAITS = 600
"""Seconds within which the provider has to send somebody back."""
BACK = "/login/provider/back"
ELSEWHERE = N_("This sign-in did not begin in this browser, or took too long. Start again here.")


@dataclass(frozen=True)
class LoginPage:
    """Context of ``login.html``."""

    email: str
    next: str
    error: str | None
    provider: IdentityProvider | None


@dataclass(frozen=True)
class ConnectPage:
    """Context of ``provider.html``; ``address`` leads to the provider, once the password was right."""

    provider: IdentityProvider | None
    connected: ProviderAccount | None
    address: str | None = None
    error: str | None = None


@router.get("/login/provider")
def begin(request: Request, next: str = "/", again: bool = False) -> Response:  # noqa: A002, FBT001, FBT002 - the URL's words
    """To the provider's page. ``again``: it is to ask who this is although it knows."""
    begun = _begun(safe_next(next), again=again)
    try:
        response = RedirectResponse(oidc.address(_provider(), begun, _back(request)), status_code=303)
    except Problem as problem:
        return _said(request, problem)
    response.headers["cache-control"] = "no-store"
    return _remembered(request, response, begun)


@router.get(BACK)
def back(request: Request, session: DbSession, form: Annotated[BackForm, Query()]) -> Response:
    """From the provider's page: sign in, or connect the account that wanted to be."""
    provider = _provider()
    try:
        begun = _checked(provider, _found(request), form)
        claims = _without_connection(session, lambda: oidc.claims_of(provider, begun, _back(request), form.code))
        response = _entered(request, session, provider, begun, claims)
    except Problem as problem:
        session.rollback()
        left_out = bounded.FAILURES.take(network(client_address(request)))
        if left_out is not None:
            more = {"left_out": left_out} if left_out else {}
            service.audit(session, None, "sign_in.failed", "user", None, reason=problem.reason, **more)
        response = _said(request, problem)
    drop_cookie(request, response, provider_cookie(request))
    return response


@router.get("/profile/provider")
def page(request: Request, session: DbSession, user: SignedIn) -> Response:
    """Whether one is connected, and how to change that."""
    found = ConnectPage(get_settings().oidc, provided.account_of(session, user))
    return render(request, "accounts/provider.html", found)


@router.post("/profile/provider/connect")
def connect(request: Request, session: DbSession, user: SignedIn, form: Annotated[OwnPasswordForm, Form()]) -> Response:
    """On to the provider, by a link: a form would not be let out by our content security policy, and rightly so."""
    provider, connected = _provider(), provided.account_of(session, user)
    if not confirmed(request, session, user, form.password):
        page = ConnectPage(provider, connected, error=_(NOT_YOURS))
        return render(request, "accounts/provider.html", page, status=422)
    begun = _begun("/profile/provider", connect=user.id)
    try:
        address = _without_connection(session, lambda: oidc.address(provider, begun, _back(request)))
    except Problem as problem:
        page = ConnectPage(provider, connected, error=problem.message)
        return render(request, "accounts/provider.html", page, status=problem.code)
    page = ConnectPage(provider, connected, address)
    return _remembered(request, render(request, "accounts/provider.html", page), begun)


@router.post("/profile/provider/disconnect")
def disconnect(
    request: Request, session: DbSession, user: SignedIn, form: Annotated[OwnPasswordForm, Form()]
) -> Response:
    """Sign in by password alone from now on."""
    if not user.password_hash:
        raise Conflict(_("You have no password, so nothing else would let you in. Ask an admin."))
    if not confirmed(request, session, user, form.password):
        page = ConnectPage(_provider(), provided.account_of(session, user), error=_(NOT_YOURS))
        return render(request, "accounts/provider.html", page, status=422)
    provided.disconnect(session, user, user)
    return redirect(
        request,
        "/profile",
        flash=_("Your account is not connected to {provider} any more.", provider=_provider().label),
    )


def _provider() -> IdentityProvider:
    found = get_settings().oidc
    if found is None:
        raise NotFound
    return found


def _back(request: Request) -> str:
    return f"{public_url(request)}{BACK}"


def _begun(target: str, *, again: bool = False, connect: int | None = None) -> Begun:
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    return Begun(state, nonce, verifier, target, connect, again)


def _remembered(request: Request, response: Response, begun: Begun) -> Response:
    carried = sealed.seal(PURPOSE, json.dumps(dataclasses.asdict(begun)))
    set_cookie(request, response, provider_cookie(request), carried, seconds=WAITS)
    return response


def _found(request: Request) -> Begun | None:
    carried = request.cookies.get(provider_cookie(request))
    content = sealed.unseal(PURPOSE, carried, seconds=WAITS) if carried else None
    return Begun(**json.loads(content)) if content else None


def _without_connection(session: DbSession, ask: Callable[[], Answer]) -> Answer:
    """What the provider answers, while no connection of the database waits for it; a :class:`Problem` is raised after that."""
    problem = None
    with without_connection_in_thread(session):
        try:
            answer = ask()
        except Problem as raised:
            problem = raised
    if problem:
        raise problem
    return answer


def _checked(provider: IdentityProvider, begun: Begun | None, form: BackForm) -> Begun:
    if begun is None or not hmac.compare_digest(begun.state.encode(), form.state.encode()):
        raise Problem(_(ELSEWHERE), reason="began elsewhere")
    if form.iss is not None and form.iss != provider.issuer:  # RFC 9207: another provider's answer
        raise Problem(
            _("This is the answer of another provider. Start again here."), reason="answer of another provider"
        )
    if form.error or not form.code:
        known = form.error if re.fullmatch("[a-z_]{1,40}", form.error) else "no code"
        said = _("You were not signed in at {provider} ({reason}). Start again.", provider=provider.label, reason=known)
        raise Problem(said, reason=f"provider: {known}")
    return begun


def _entered(
    request: Request, session: DbSession, provider: IdentityProvider, begun: Begun, claims: Claims
) -> Response:
    if begun.connect is not None:
        user = maybe_signed_in(request, session)
        if user is None or user.id != begun.connect:
            raise Problem(_("You are signed in as somebody else by now. Start again."), reason="another account")
        provided.connect(session, user, provider, claims)
        return redirect(
            request, "/profile", flash=_("You can sign in with {provider} from now on.", provider=provider.label)
        )
    user = provided.sign_in(session, provider, claims)
    return enter(request, session, user, safe_next(begun.next), by=Provided(_asked_at(begun, claims)))


def _asked_at(begun: Begun, claims: Claims) -> datetime | None:
    """When the provider asked who it is: as it says, or just now where it was told to."""
    if claims.asked_at is not None:
        return min(datetime.fromtimestamp(claims.asked_at, UTC), datetime.now(UTC))
    return datetime.now(UTC) if begun.again else None


def _said(request: Request, problem: Problem) -> Response:
    page = LoginPage("", "/", problem.message, get_settings().oidc)
    return render(request, "accounts/login.html", page, status=problem.code)
