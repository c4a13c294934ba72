"""What a browser gets when somebody signs in to it: a session, a cookie for it, one for the device, and the person's theme."""

from __future__ import annotations

import secrets

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.accounts import second_step, signing_in
from app.accounts.access import SETTING_UP, device_cookie, maybe_signed_in, session_cookie
from app.accounts.models import User
from app.accounts.signing_in import Provided
from app.kernel import locales
from app.kernel.settings import get_settings
from app.shell.web import is_secure, redirect

DEVICE_DAYS = 400
DAY = 86400


def enter(
    request: Request, session: Session, user: User, target: str, *, by: Provided | None = None, flash: str | None = None
) -> Response:
    """Start a session under a new secret, end the one that this browser may have had, and go to ``target``."""
    before = maybe_signed_in(request, session)
    if before:
        signing_in.end_session(session, before, request.state.login_session_id)
    device = request.cookies.get(device_cookie(request)) or secrets.token_urlsafe(32)
    agent = request.headers.get("user-agent", "")
    started = signing_in.start_session(session, user, user_agent=agent, device=device, by=by)
    if by is None and second_step.is_wanted_of(session, user):
        target, flash = SETTING_UP, "This installation requires two-step verification. Set it up here to go on."
    response = redirect(request, target, flash=flash)
    set_cookie(request, response, session_cookie(request), started, seconds=get_settings().session_days * DAY)
    set_cookie(request, response, device_cookie(request), device, seconds=DEVICE_DAYS * DAY)
    if "theme" in user.preferences:
        remember_theme(request, response, user.preferences["theme"])
    if "locale" in user.preferences:
        remember_locale(request, response, user.preferences["locale"])
    return response


def set_cookie(request: Request, response: Response, name: str, value: str, *, seconds: int) -> None:
    """A cookie of this site, which no script reads."""
    secure = is_secure(request)
    response.set_cookie(name, value, max_age=seconds, secure=secure, httponly=True, samesite="lax")


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Take such a cookie back."""
    response.delete_cookie(name, secure=is_secure(request), httponly=True, samesite="lax")


def remember_locale(request: Request, response: Response, code: str) -> None:
    """The language of Corral's own words; see :mod:`app.kernel.locales`."""
    set_cookie(request, response, locales.COOKIE, code, seconds=DEVICE_DAYS * DAY)


def remember_theme(request: Request, response: Response, theme: str) -> None:
    """The theme, for pages before anybody signs in."""
    set_cookie(request, response, "theme", theme, seconds=DEVICE_DAYS * DAY)
