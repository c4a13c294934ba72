"""Turns exceptions into answers: problem+json (RFC 9457) under ``/api``, a fragment for htmx, a page for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg.errors import ExclusionViolation, ForeignKeyViolation, NumericValueOutOfRange, UniqueViolation
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.kernel import locales, origin
from app.kernel.errors import (
    AppError,
    BadInput,
    Conflict,
    DiskFull,
    Forbidden,
    NotAllowed,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    is_disk_full,
)
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.validation import in_words
from app.shell.web import is_exchange, redirect, render

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()


FOR_PROGRAMS = ("/api/", "/metrics", "/healthz", "/readyz")


@dataclass(frozen=True)
class ErrorPage:
    """Context of ``error.html`` and ``_error.html``."""

    status: int
    title: str
    message: str
    details: list[dict[str, str]]


def install(web: FastAPI) -> None:
    """Register the handlers."""
    web.add_exception_handler(AppError, _app_error)
    web.add_exception_handler(RequestValidationError, _validation)
    web.add_exception_handler(HTTPException, _http)
    web.add_exception_handler(DataError, _unstorable)
    web.add_exception_handler(IntegrityError, _overtaken)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        web.add_exception_handler(kind, _database_away)


def answer(request: Request, error: AppError, more_headers: Mapping[str, str] | None = None) -> Response:
    """The response for ``error`` in the form that the caller understands."""
    origin.current().reason = locales.english(error.message)
    headers = dict(more_headers or {})
    if error.retry_after:
        headers["retry-after"] = str(error.retry_after)
    if request.url.path.startswith(FOR_PROGRAMS):
        problem = {
            "type": f"/api/v1/problems/{error.slug}",
            "title": _(error.title),
            "status": error.status,
            "detail": error.message,
            **error.extra,
        }
        if isinstance(error, Unauthenticated):
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(problem, error.status, headers, media_type="application/problem+json")
    if isinstance(error, Unauthenticated) and request.method == "GET" and not is_exchange(request):
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return redirect(request, f"/login?{urlencode({'next': path})}" if path != "/" else "/login")
    page = ErrorPage(error.status, _(error.title), error.message, error.extra.get("errors", []))
    template = "components/_error.html" if is_exchange(request) else "error.html"
    response = render(request, template, page, status=error.status)
    if is_exchange(request):
        # htmx would put the message where the answer belongs, over the form and the text that somebody typed
        headers |= {"hx-retarget": "#problems", "hx-reswap": "innerHTML"}
    response.headers.update(headers)
    return response


def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101 - registered for this class
    return answer(request, error)


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    if any(each["loc"][:1] == ("path",) for each in error.errors()):
        return answer(request, NotFound())  # an address that names no row, whatever its parser says of it
    errors = [{"loc": ".".join(str(part) for part in each["loc"]), "msg": in_words(each)} for each in error.errors()]
    # what is wrong with a form as a whole has no field to name
    said = "; ".join(e["msg"] if e["loc"] == "body" else f"{e['loc']}: {e['msg']}" for e in errors[:5])
    return answer(request, BadInput(_("Please correct: {problems}.", problems=said), errors=errors))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    kinds: dict[int, type[AppError]] = {403: Forbidden, 404: NotFound, 413: TooLarge, 422: BadInput, 503: Unavailable}
    kind = kinds.get(error.status_code)
    if kind is NotFound:
        return answer(request, NotFound(), error.headers)
    if kind is not None:
        return answer(request, kind(str(error.detail)), error.headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        page = _("This address only accepts a submitted form. Go to the page with the form.")
        said = _("This address accepts {methods}.", methods=allowed)
        said = said if request.url.path.startswith(FOR_PROGRAMS) else page
        return answer(request, NotAllowed(said), {"allow": allowed})
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer(request, BadInput(_("The body cannot be read: send it in the documented format, as UTF-8.")))
    other: Any = type("Http", (AppError,), {"status": error.status_code, "slug": "http", "title": N_("Refused")})
    return answer(request, other(str(error.detail)), error.headers)


def _methods(request: Request) -> set[str]:
    """What the address takes. Each method is a route of its own, and Starlette names those of the first."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


def _unstorable(request: Request, error: Exception) -> Response:
    assert isinstance(error, DataError)  # noqa: S101 - registered for this class
    if isinstance(error.orig, NumericValueOutOfRange):
        return answer(request, NotFound())  # no row has an id of thirty digits
    log.warning("input_cannot_be_stored", error=str(error.orig).splitlines()[0])
    return answer(
        request,
        BadInput(
            _("Your input contains something that cannot be stored, such as a NUL character. Remove it and try again.")
        ),
    )


def _overtaken(request: Request, error: Exception) -> Response:
    """Two at once: what a rule of the database refused to the second. Another broken constraint is our mistake."""
    assert isinstance(error, IntegrityError)  # noqa: S101 - registered for this class
    if not isinstance(error.orig, UniqueViolation | ForeignKeyViolation | ExclusionViolation):
        return _unforeseen(request, error)
    log.warning("overtaken", constraint=error.orig.diag.constraint_name)
    return answer(
        request,
        Conflict(
            _("Somebody else changed or removed this at the same moment. Nothing was stored; reload and try again.")
        ),
    )


def _disk_full(request: Request, error: Exception) -> Response:
    log.error("disk_full", error=str(error).splitlines()[0])
    said = _("The server's disk is full. Nothing was stored; keep this page open and tell the server's operator.")
    return answer(request, DiskFull(said, retry_after=60))


def _database_away(request: Request, error: Exception) -> Response:
    if is_disk_full(error):
        return _disk_full(request, error)
    log.warning("database_away", error=str(error).splitlines()[0])
    return answer(
        request,
        Unavailable(_("The database is temporarily unavailable. Nothing was stored; try again."), retry_after=2),
    )


class LastResort:
    """Answers what nobody foresaw, and what a middleware below it refused.

    Starlette would do so outside of all middleware, and then these answers alone would lack the security headers, the
    request id and their line in the log. It stands inside of those, and outside of everything that may raise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise  # half an answer is out: the server can only cut the connection
            await _unforeseen(Request(scope), error)(scope, receive, send)


def _unforeseen(request: Request, error: Exception) -> Response:
    if isinstance(error, AppError):
        return answer(request, error)
    if is_disk_full(error):
        return _disk_full(request, error)
    log.error("unexpected_error", exc_info=error)
    return answer(request, AppError(_("This is our fault, not yours. It has been logged; nothing was stored halfway.")))
