"""HTML of the second step: the code at sign-in, and setting it up on one's profile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

import segno
from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from markupsafe import Markup

from app.accounts import queries, sealed, second_step
from app.accounts.access import NOT_YOURS, SETTING_UP, SignedIn, confirmed, device_cookie, step_cookie
from app.accounts.entering import drop_cookie, enter, set_cookie
from app.accounts.forms import CodeAndPasswordForm, CodeForm, OwnPasswordForm
from app.accounts.models import SecondStep, User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import N_, ngettext
from app.kernel.locales import gettext as _
from app.shell.web import client_address, public_url, redirect, render, safe_next

router = APIRouter()

PURPOSE = "sign-in that waits for its second step"
WAITS = 600
"""Seconds within which the code has to follow the password."""
AGAIN = N_("It took too long, or this was opened in another browser. Enter your password again.")


@dataclass(frozen=True)
class CodePage:
    """Context of ``code.html``."""

    error: str | None = None


@dataclass(frozen=True)
class StepPage:
    """Context of ``second_step.html``. ``secret`` and ``codes`` are shown by the answer that made them, and never again."""

    standing: SecondStep | None
    left: int
    secret: str | None = None
    qr: Markup | None = None
    codes: Sequence[str] = ()
    errors: dict[str, str] = field(default_factory=dict)


def ask(request: Request, user: User, target: str) -> Response:
    """Go on to the code: the password was right, and nobody is signed in yet."""
    content = {"user": user.id, "password": _print(user), "next": target}
    response = redirect(request, "/login/code")
    set_cookie(request, response, step_cookie(request), sealed.seal(PURPOSE, json.dumps(content)), seconds=WAITS)
    return response


@router.get("/login/code")
def code_page(request: Request, session: DbSession) -> Response:
    """The form for the code, where a password was right just now."""
    if _who(request, session) is None:
        return redirect(request, "/login")
    return render(request, "accounts/code.html", CodePage())


@router.post("/login/code")
def enter_code(request: Request, session: DbSession, form: Annotated[CodeForm, Form()]) -> Response:
    """Sign in. A wrong code returns and does not raise: it is counted, and counting has to be committed."""
    found = _who(request, session)
    if found is None:
        return redirect(request, "/login", flash=_(AGAIN))
    user, target = found
    device = request.cookies.get(device_cookie(request))
    checked = second_step.check(session, user, form.code, client_address(request), device)
    if checked.problem is not None:
        return render(request, "accounts/code.html", CodePage(checked.problem), status=422)
    response = enter(request, session, user, safe_next(target), flash=_said_of_codes(checked.left))
    drop_cookie(request, response, step_cookie(request))
    return response


@router.get(SETTING_UP)
def page(request: Request, session: DbSession, user: SignedIn) -> Response:
    """Whether it is on, and how to change that."""
    return _render(request, session, user)


@router.post(f"{SETTING_UP}/begin")
def begin(request: Request, session: DbSession, user: SignedIn, form: Annotated[OwnPasswordForm, Form()]) -> Response:
    """Make a secret. The answer is the page itself, because it is shown this once."""
    if not confirmed(request, session, user, form.password):
        return _render(request, session, user, errors={"password": _(NOT_YOURS)})
    return _render_secret(request, session, user, second_step.begin(session, user))


@router.post(f"{SETTING_UP}/confirm")
def confirm(request: Request, session: DbSession, user: SignedIn, form: Annotated[CodeForm, Form()]) -> Response:
    """Turn it on with a code of the app, and show the recovery codes."""
    keep: int = request.state.login_session_id
    try:
        codes = second_step.confirm(session, user, form.code, keep=keep)
    except BadInput as error:
        secret = second_step.pending(session, user)
        return _render_secret(request, session, user, secret, errors={"code": error.message})
    return _render(request, session, user, codes=codes)


@router.post(f"{SETTING_UP}/codes")
def codes(
    request: Request, session: DbSession, user: SignedIn, form: Annotated[CodeAndPasswordForm, Form()]
) -> Response:
    """New recovery codes in place of the old ones."""
    problem = _refused(request, session, user, form)
    if problem:
        return _render(request, session, user, errors={f"codes-{name}": said for name, said in problem.items()})
    return _render(request, session, user, codes=second_step.new_codes(session, user))


@router.post(f"{SETTING_UP}/off")
def off(request: Request, session: DbSession, user: SignedIn, form: Annotated[CodeAndPasswordForm, Form()]) -> Response:
    """Turn it off."""
    problem = _refused(request, session, user, form)
    if problem:
        return _render(request, session, user, errors={f"off-{name}": said for name, said in problem.items()})
    second_step.turn_off(session, user, actor=user)
    return redirect(request, SETTING_UP, flash=_("Two-step verification is off. Your password alone signs you in."))


def _refused(request: Request, session: DbSession, user: User, form: CodeAndPasswordForm) -> dict[str, str]:
    """What is wrong with password or code, by field; nothing where both are right, and the code is used up then."""
    if not second_step.is_on(session, user):
        raise Conflict(_("Two-step verification is not on."))
    if not confirmed(request, session, user, form.password):
        return {"password": _(NOT_YOURS)}
    device = request.cookies.get(device_cookie(request))
    problem = second_step.check(session, user, form.code, client_address(request), device).problem
    return {"code": problem} if problem else {}


def _who(request: Request, session: DbSession) -> tuple[User, str] | None:
    """Whose password was right in this browser just now, and where they wanted to go."""
    sealed_up = request.cookies.get(step_cookie(request))
    content = sealed.unseal(PURPOSE, sealed_up, seconds=WAITS) if sealed_up else None
    if content is None:
        return None
    found = json.loads(content)
    user = session.get(User, found["user"])
    if user is None or user.disabled_at is not None or _print(user) != found["password"]:
        return None
    return user, found["next"]


def _print(user: User) -> str:
    """Another one once the password is changed: what waits for a code ends with it."""
    return queries.digest(user.password_hash).hex()


def _said_of_codes(left: int | None) -> str | None:
    if left is None:
        return None
    return ngettext(
        "You used a recovery code; {n} is left. Make new ones under Profile, Two-step verification.",
        "You used a recovery code; {n} are left. Make new ones under Profile, Two-step verification.",
        left,
    )


def _render_secret(
    request: Request, session: DbSession, user: User, secret: str | None, errors: dict[str, str] | None = None
) -> Response:
    if secret is None:
        raise Conflict(_("Nothing is being set up here any more. Start again."))
    address = second_step.address_of(user, secret, urlsplit(public_url(request)).hostname or "")
    return _render(request, session, user, secret=secret, qr=_drawn(address), errors=errors)


def _render(
    request: Request,
    session: DbSession,
    user: User,
    *,
    secret: str | None = None,
    qr: Markup | None = None,
    codes: Sequence[str] = (),
    errors: dict[str, str] | None = None,
) -> Response:
    page = StepPage(
        standing=second_step.standing(session, user),
        left=second_step.codes_left(session, user),
        secret=secret,
        qr=qr,
        codes=codes,
        errors=errors or {},
    )
    return render(request, "accounts/second_step.html", page, status=422 if errors else 200)


def _drawn(address: str) -> Markup:
    """A QR code as SVG: black on white in either theme, because cameras want it so."""
    drawn = segno.make(address, error="m", micro=False)
    svg = drawn.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None)
    return Markup(svg)  # noqa: S704 - paths and numbers; the address is in it as squares alone
