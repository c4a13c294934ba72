"""Notes in the audit log what was refused: by role or scope, from another site, with an ended session or token, too soon.

The refused request has been rolled back by then and holds no connection, so its event has a transaction, a turn and a
connection of its own; and it is there before the answer is. How many are written is bounded (``app.accounts.bounded``).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import Match

from app.accounts import bounded, service
from app.accounts.models import User
from app.kernel.addresses import network
from app.kernel.db import TURNS, session_scope
from app.kernel.errors import Unavailable
from app.kernel.origin import Refusal, current
from app.shell.request_metrics import UNMATCHED, route_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()


class NoteRefusals:
    """Middleware: every 403, and whatever else was marked as refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                refusal = current().refusal
                if refusal or message["status"] == HTTPStatus.FORBIDDEN:
                    await _note(scope, message["status"], refusal or Refusal("access.refused", "address", None))
            await send(message)

        await self.app(scope, receive, noting if scope["type"] == "http" else send)


async def _note(scope: Scope, status: int, refusal: Refusal) -> None:
    here = current()
    actor: User | None = scope.get("state", {}).get("user")
    source, route = network(here.address or "unknown"), _route(scope)
    # a token that nobody has could be another one each time, and so could the addresses that are tried with it
    where = route if refusal.action == "access.refused" else None
    alike = (refusal.action, source, actor.id if actor else None, scope["method"] if where else None, where)
    left_out = bounded.REFUSALS.take(source, (*alike, refusal.subject_id, *refusal.details.values()))
    if left_out is None:
        return
    details = {**refusal.details, "method": scope["method"], "route": route, "status": status, "reason": here.reason}
    if left_out:
        details["left_out"] = left_out
    try:
        turn = await TURNS.take()
        try:
            await run_in_threadpool(_write, actor, refusal, details)
        finally:
            turn.give_back()
    except (SQLAlchemyError, Unavailable) as error:  # refused all the same; the request log has its line
        log.warning("refusal_not_noted", action=refusal.action, error=str(error).splitlines()[0])


def _write(actor: User | None, refusal: Refusal, details: dict[str, Any]) -> None:
    with session_scope() as session:
        service.audit(session, actor, refusal.action, refusal.subject_type, refusal.subject_id, **details)


def _route(scope: Scope) -> str:
    """The template of the route; what was refused before it had one is compared with them. A path may be a secret."""
    found = route_of(scope)
    if found != UNMATCHED or "app" not in scope:
        return found
    matching = (route for route in scope["app"].routes if route.matches(scope)[0] is not Match.NONE)
    return str(getattr(next(matching, None), "path", UNMATCHED))
