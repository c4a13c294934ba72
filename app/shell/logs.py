"""Logs: structlog for us and for libraries, one line a request, nothing secret.

Event names are static and data goes into keywords. Every line within a request carries its id, which the answer
names too (``x-request-id``). Requests are logged by route template and never by path: an invite link is a secret.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog
from starlette.datastructures import Headers, MutableHeaders

from app.kernel import origin
from app.shell import request_metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from structlog.types import EventDict, Processor, WrappedLogger

log = structlog.get_logger()
_SECRET = re.compile(r"password|secret|token|authorization|cookie|api_key", re.IGNORECASE)
_NOT_SECRET = frozenset({"fencing_token", "max_tokens", "tokens", "token_id"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_QUIET = ("/static/", "/healthz", "/readyz", "/metrics")


def configure(*, json: bool) -> None:
    """Send everything to standard error, as lines for people or as JSON. Safe to call twice."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if json:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last += [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not getattr(each, "is_corrals", False)]
    handler.is_corrals = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # it writes whole paths, invite links among them
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)  # whole URLs again, one line each


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank the values whose name says that they are secret."""
    for name in event:
        if name not in _NOT_SECRET and _SECRET.search(name):
            event[name] = "[redacted]"
    return event


class RequestLog:
    """Gives each request an id, and notes its route, status and duration in the log and in the metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        status = 500
        started = time.perf_counter()

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        origin.of_request(scope, request_id)
        try:
            await self.app(scope, receive, with_id)
        finally:
            _note(scope, status, time.perf_counter() - started)


def _note(scope: Scope, status: int, seconds: float) -> None:
    request_metrics.observe(scope, status, seconds)
    route = request_metrics.route_of(scope)
    if route.startswith(_QUIET) and status < 500:
        return
    facts: dict[str, Any] = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    log.info("request", **facts)
