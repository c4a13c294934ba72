"""Web kernel: rendering, flash messages, cached static files, security headers and the origin check.

A view builds one frozen dataclass as its page's context and calls :func:`render`. Fragments (``_name.html``) are included
by their page and returned alone to an htmx exchange: one markup source for both.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.datastructures import Headers, MutableHeaders

from app.kernel import locales, origin, stored_words
from app.kernel.settings import ROOT, get_settings
from app.shell.assets import FOR_EVER, asset, bundle, is_current
from training.formats import languages
from training.formats.words import STRENGTHS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FLASH_COOKIE = "flash"
SAFE_IN_URLS = ":/%#?=@[]!$&'()*+,;~"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The template environment; an undefined name is an error, not an empty string."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(locales.gettext, locales.plural_form, newstyle=True)  # type: ignore[attr-defined]
    environment.globals |= {"asset": asset, "bundle": bundle, "STRENGTHS": STRENGTHS}
    environment.globals |= {"locale": locales.current, "locales": locales.offered}
    environment.filters |= {"number": locales.number, "percent": locales.percent, "said": stored_words.said}
    environment.filters["utc"] = _utc
    environment.filters["browser"] = _browser
    environment.filters["language"] = lambda code: languages.named([code])
    return environment


def _browser(agent: str) -> str:
    """A user agent in words, e.g. "Firefox on Linux". The order matters: Edge says Chrome, and Chrome says Safari."""
    names = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    name = next((each for each in names if each in agent), "")
    system = next((each for each in systems if each in agent), "an unknown system")
    return f"{'Edge' if name == 'Edg' else 'Opera' if name == 'OPR' else name or 'A program'} on {system}"


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def is_exchange(request: Request) -> bool:
    """Whether htmx asks for a fragment rather than a browser for a page."""
    return request.headers.get("hx-request") == "true"


def render(
    request: Request, template: str, context: DataclassInstance | None = None, *, status: int = 200
) -> HTMLResponse:
    """Render ``template`` with the fields of ``context``; ``user``, ``request`` and ``flash`` are always there."""
    values: dict[str, Any] = (
        {field.name: getattr(context, field.name) for field in dataclasses.fields(context)} if context else {}
    )
    flash = None if is_exchange(request) else _read_flash(request)
    values |= {"request": request, "user": getattr(request.state, "user", None), "flash": flash}
    response = HTMLResponse(templates().get_template(template).render(values), status_code=status)
    response.headers["cache-control"] = "no-store"
    response.headers["vary"] = "hx-request"
    if flash:
        response.delete_cookie(FLASH_COOKIE)
    return response


def redirect(request: Request, url: str, *, flash: str | None = None) -> Response:
    """Go to ``url`` (a path of ours), as a 303 or as htmx's ``HX-Redirect``; ``flash`` is said there once."""
    url = quote(url, safe=SAFE_IN_URLS)  # a header is ASCII, and a path that somebody typed need not be
    response: Response
    if is_exchange(request):
        response = Response(status_code=204, headers={"HX-Redirect": url})
    else:
        response = RedirectResponse(url, status_code=303)
    if flash:
        value = base64.urlsafe_b64encode(json.dumps(flash).encode()).decode()
        response.set_cookie(FLASH_COOKIE, value, max_age=60, httponly=True, samesite="lax", secure=is_secure(request))
    return response


def is_secure(request: Request) -> bool:
    """Whether browsers reach us over TLS, directly or through a proxy."""
    return (get_settings().public_url or str(request.base_url)).startswith("https://")


def public_url(request: Request) -> str:
    """The address of this site for links that leave it, without a slash at the end."""
    return (get_settings().public_url or str(request.base_url)).rstrip("/")


def client_address(request: Request) -> str:
    """Where the request comes from; see :func:`app.kernel.origin.address_of`."""
    return origin.address_of(request.scope)


def safe_next(target: str | None) -> str:
    """``target`` when it is a path on this site, else ``/``: no open redirect (``//evil``, a backslash, a scheme)."""
    # browsers drop tabs and line ends from a URL and read a backslash as a slash: "/<tab>/evil" is "//evil"
    if (
        not target
        or not target.startswith("/")
        or target.startswith("//")
        or not target.isprintable()
        or "\\" in target
    ):
        return "/"
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else "/"


def _read_flash(request: Request) -> str | None:
    raw = request.cookies.get(FLASH_COOKIE)
    if not raw:
        return None
    try:
        message = json.loads(base64.urlsafe_b64decode(raw))
    except (ValueError, TypeError):
        return None
    return message if isinstance(message, str) else None


class SecurityHeaders:
    """Adds the security headers to every response, and a long life to static files that carry the hash of what is there."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_static = scope["path"].startswith("/static/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if is_static:
                    current = message["status"] == HTTPStatus.OK and is_current(
                        scope["path"], scope["query_string"].decode()
                    )
                    # without its hash a file is asked for anew each time: its ETag makes that cheap
                    headers.setdefault("cache-control", FOR_EVER if current else "no-cache")
            await send(message)

        await self.app(scope, receive, with_headers)


class OriginCheck:
    """Refuses unsafe requests that another site caused (no token to forget in a form).

    A browser says where a request comes from: ``Sec-Fetch-Site``, or ``Origin`` where that is missing. A request to the
    API with a bearer token carries no ambient authority and passes; one that says nothing of its origin does not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        passes = scope["type"] != "http" or scope["method"] in SAFE_METHODS
        if passes or same_origin(Headers(scope=scope), api=scope["path"].startswith("/api/")):
            await self.app(scope, receive, send)
            return
        message = (
            "This request came from another site, or did not say which site it came from. Open the page here and try "
            "again."
        )
        origin.current().reason = message
        if scope["path"].startswith("/api/"):
            body = {"type": "about:blank", "title": "Not allowed", "status": 403, "detail": message}
            response = Response(json.dumps(body), status_code=403, media_type="application/problem+json")
        else:
            response = Response(message, status_code=403, media_type="text/plain")
        await response(scope, receive, send)


def same_origin(headers: Headers, *, api: bool) -> bool:
    """Whether an unsafe request may pass; see :class:`OriginCheck`."""
    if api and headers.get("authorization", "").lower().startswith("bearer "):
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    named = headers.get("origin")
    if named is None:
        return False
    allowed = {headers.get("host", ""), urlsplit(get_settings().public_url).netloc} - {""}
    return urlsplit(named).netloc in allowed
