"""A span for each request, named by its route: never by its path, which may be an invite link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from app.kernel import tracing
from app.shell.request_metrics import route_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET = ("/static/", "/healthz", "/readyz", "/metrics")


class TraceRequests:
    """Goes on with the trace of a client that has one (``traceparent``), or begins one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self.app(scope, receive, send)
            return
        method = scope["method"]

        async def heard(message: Message) -> None:
            if message["type"] == "http.response.start":
                tell(http_response_status__code=message["status"])
            await send(message)

        with tracing.span(method, "server", Headers(scope=scope), http_request_method=method) as tell:
            try:
                await self.app(scope, receive, heard)
            finally:
                route = route_of(scope)
                tell(f"{method} {route}", http_route=route)
