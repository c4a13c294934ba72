"""Sends what webhooks have to be told. The ledger is :mod:`app.webhooks.service`; no session is open while anything is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.webhooks import service, signing
from app.webhooks.service import Due
from workers import outbound
from workers.celery_app import app

log = structlog.get_logger()

AT_ONCE = 16
"""Deliveries of one task: those that hang do so side by side, and hold a thread of the control worker for ten seconds."""


@app.task(name=Job.DELIVER.value)
def deliver() -> int:
    """Try what is due; returns how much was taken."""
    with session_scope() as session:
        due = service.claim(session, AT_ONCE)
    if not due:
        return 0
    failpoint("webhooks.claimed", str(due[0].id))
    errors = asyncio.run(_send(due, get_settings().reachable_hosts))
    for each, error in zip(due, errors, strict=True):
        with session_scope() as session:
            service.record(session, each, error)
        if error:
            log.warning("webhook_not_taken", delivery=each.id, attempt=each.attempt, error=error)
        else:
            log.info("webhook_delivered", delivery=each.id, attempt=each.attempt)
    return errors.count(None)


async def _send(due: list[Due], inside: Collection[str]) -> list[str | None]:
    return await asyncio.gather(*(_one(each, inside) for each in due))


async def _one(due: Due, inside: Collection[str]) -> str | None:
    """Why it was not taken; None where it was."""
    headers = signing.headers(due.secret, f"msg_{due.id}", int(time.time()), due.body)
    try:
        await outbound.post(due.url, due.body, headers, inside)
    except outbound.NotTaken as error:
        return str(error)
    except Exception as error:  # one address must not keep the others from being told
        log.exception("webhook_failed", delivery=due.id)
        return f"It could not be sent ({type(error).__name__})."
    return None
