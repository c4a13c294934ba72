"""Who is asking: the dependencies that every page and every endpoint of the API states in its signature.

::

    def page(request: Request, session: DbSession, user: SignedIn) -> HTMLResponse: ...

==============  =================================  =======================================================
for HTML        for ``/api/v1``                    lets in
==============  =================================  =======================================================
``SignedIn``    ``ApiSignedIn``                    everyone with an account
``Reviewer``    ``ApiReviewer``                    reviewers and admins
``Admin``       ``ApiAdmin``                       admins
==============  =================================  =======================================================

Pages know only the session cookie. The API takes a bearer token, or else the cookie; a request that shows a token is
judged by the token alone. A token acts as its user, so the role is checked too, and within its scopes:

- ``annotate``: one's own work (everything that asks for ``ApiSignedIn``), reading and writing;
- ``read``: reading whatever the role may read;
- ``admin``: reading and writing whatever the role may.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.accounts import queries, second_step, signing_in
from app.accounts.models import Role, User
from app.kernel.db import DbSession
from app.kernel.errors import Forbidden, NotFound, Unauthenticated
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.origin import Refusal, current
from app.shell.web import SAFE_METHODS, client_address, is_secure

STAFF = frozenset({Role.REVIEWER, Role.ADMIN})
NOT_YOURS = N_("This is not your current password.")
SETTING_UP = "/profile/second-step"
_TOKEN_USE_NOTED_EVERY = timedelta(minutes=10)


def session_cookie(request: Request) -> str:
    """The session cookie's name. ``__Host-`` makes browsers insist on TLS, path ``/`` and this very host."""
    return "__Host-corral" if is_secure(request) else "corral"


def device_cookie(request: Request) -> str:
    """The name of the cookie by which a browser that has signed in before is known to the throttle."""
    return "__Host-corral-device" if is_secure(request) else "corral-device"


def step_cookie(request: Request) -> str:
    """The name of the cookie that says, for some minutes, that a password was right and a code is missing."""
    return "__Host-corral-step" if is_secure(request) else "corral-step"


def provider_cookie(request: Request) -> str:
    """The name of the cookie that says which sign-in at the identity provider began in this browser."""
    return "__Host-corral-provider" if is_secure(request) else "corral-provider"


def maybe_signed_in(request: Request, session: DbSession) -> User | None:
    """Like :func:`signed_in`, for the few pages that anonymous visitors may see too."""
    try:
        return _holder(request, session)
    except Unauthenticated:
        return None


def signed_in(request: Request, session: DbSession) -> User:
    """The person whose session cookie this is, or :class:`Unauthenticated`.

    :class:`Forbidden` while they have to set up a second step first, but for the pages on which they do.
    """
    user = _holder(request, session)
    if not request.url.path.startswith("/profile") and second_step.is_missing(
        session, user, request.state.login_session_id
    ):
        raise Forbidden(_("This installation requires two-step verification: set it up under Profile first."))
    return user


def _holder(request: Request, session: DbSession) -> User:
    secret = request.cookies.get(session_cookie(request))
    found = queries.session_holder(session, secret) if secret else None
    if found is None:
        ended = queries.ended_session(session, secret) if secret else None
        if ended:
            current().refusal = Refusal("session.refused", "user", ended.user_id, {"session_id": ended.id})
        raise Unauthenticated(_("Please sign in to go on."))
    request.state.user, request.state.login_session_id = found
    current().session_id = found[1]
    request.state.scopes = None  # a person in a browser is not limited by a token's
    return found[0]


def bearer(request: Request) -> str | None:
    """The bearer token that the request shows, if it shows one."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else None


def _by_token(request: Request, session: DbSession, secret: str, scopes: frozenset[str]) -> User:
    found = queries.token_holder(session, secret)
    if found is None:
        known = queries.known_token(session, secret)
        owner, which = (known.user_id, {"token_id": known.id}) if known else (None, {})
        current().refusal = Refusal("token.refused", "user" if known else "api_token", owner, which)
        raise Unauthenticated(_("This token is unknown, expired or revoked. Create one under Profile, API tokens."))
    user, token = found
    request.state.user, current().token_id = user, token.id
    if scopes.isdisjoint(token.scopes):
        raise Forbidden(
            _("This token may not do that: it needs the scope {scopes}.", scopes=" or ".join(sorted(scopes)))
        )
    now = datetime.now(UTC)
    if token.last_used_at is None or now - token.last_used_at > _TOKEN_USE_NOTED_EVERY:
        token.last_used_at = now  # seldom, so that a busy client does not turn each of its reads into a write
    request.state.scopes = frozenset(token.scopes)
    request.state.token_id = token.id
    return user


def still_lets_in(request: Request) -> Callable[[Session], bool]:
    """Asks, for what goes on after its request was let in, whether its session or token would still be."""
    user_id: int = request.state.user.id
    session_id, token_id = (getattr(request.state, each, None) for each in ("login_session_id", "token_id"))
    return lambda session: queries.still_lets_in(session, user_id, session_id=session_id, token_id=token_id)


def confirmed(request: Request, session: Session, user: User, password: str) -> bool:
    """Whether ``password`` is that of ``user``, who is signed in: asked for before what a browser left open may not do.

    None is needed in a session that the identity provider began within the last minutes: that is how people without one
    are asked again.
    """
    here: int | None = getattr(request.state, "login_session_id", None)
    if not password and here is not None and queries.provider_said_lately(session, here):
        return True
    return signing_in.confirm(
        session, user, password, client_address(request), request.cookies.get(device_cookie(request))
    )


def api_signed_in(request: Request, session: DbSession) -> User:
    """The person behind a bearer token (any scope reads; ``annotate`` or ``admin`` writes) or a session cookie."""
    secret = bearer(request)
    if secret is None:
        return signed_in(request, session)
    scopes = {"annotate", "admin"} | ({"read"} if request.method in SAFE_METHODS else set())
    return _by_token(request, session, secret, frozenset(scopes))


def api_staff(request: Request, session: DbSession) -> User:
    """A reviewer or admin behind a bearer token (``read`` or ``admin`` reads; ``admin`` writes) or a session cookie."""
    secret = bearer(request)
    if secret is None:
        return _staff(signed_in(request, session))
    scopes = {"admin"} | ({"read"} if request.method in SAFE_METHODS else set())
    return _staff(_by_token(request, session, secret, frozenset(scopes)))


def _staff(user: User) -> User:
    if user.role not in STAFF:
        raise Forbidden(_("This is for reviewers and admins. Ask an admin if you should have it."))
    return user


def _admin(user: User) -> User:
    if user.role is not Role.ADMIN:
        raise Forbidden(_("This is for admins. Ask one of them if you should have it."))
    return user


SignedIn = Annotated[User, Depends(signed_in)]
ApiSignedIn = Annotated[User, Depends(api_signed_in)]
ApiReviewer = Annotated[User, Depends(api_staff)]


# The role checks wait for nothing, so they are coroutines: a plain function would cost a hop to another thread.
async def reviewer(user: SignedIn) -> User:
    """A reviewer or an admin, or :class:`Forbidden`."""
    return _staff(user)


async def staff_alone(user: SignedIn) -> User:
    """A reviewer or an admin; for anybody else there is no such page, because its name alone says too much."""
    if user.role not in STAFF:
        raise NotFound
    return user


async def admin(user: SignedIn) -> User:
    """An admin, or :class:`Forbidden`."""
    return _admin(user)


async def api_admin(user: ApiReviewer) -> User:
    """An admin, or :class:`Forbidden`."""
    return _admin(user)


Reviewer = Annotated[User, Depends(reviewer)]
StaffAlone = Annotated[User, Depends(staff_alone)]
Admin = Annotated[User, Depends(admin)]
ApiAdmin = Annotated[User, Depends(api_admin)]
