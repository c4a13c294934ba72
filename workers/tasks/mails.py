"""Mails the links of invites. The ledger is :mod:`app.accounts.inviting`; no session is open while anything is sent."""

from __future__ import annotations

import structlog

from app.accounts import inviting
from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from workers import mailing
from workers.celery_app import app

log = structlog.get_logger()

AT_ONCE = 50
"""Mails of one connection."""


@app.task(name=Job.MAIL.value)
def mail() -> int:
    """Send what is due; returns how many were taken."""
    taken = 0
    while True:
        with session_scope() as session:
            due = inviting.claim(session, AT_ONCE)
        if not due:
            return taken
        failpoint("mails.claimed", str(due[0].invite_id))
        settings = get_settings()
        for each, error in mailing.send(due, settings.smtp_url.get_secret_value(), settings.mail_from):
            with session_scope() as session:
                inviting.record(session, each, error)
            taken += error is None
            if error:
                log.warning("invite_not_mailed", invite=each.invite_id, attempt=each.attempt, error=error)
