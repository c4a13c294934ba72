"""Webhooks and their ledger: make and remove them, take what is due, record what became of it."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, text
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.webhooks import addresses
from app.webhooks.forms import WebhookIn
from app.webhooks.models import Delivery, DeliveryState, Occasion, Webhook

PAUSES = (5, 60, 300, 1800, 7200, 18_000, 36_000, 86_400)
"""Seconds from one try to the next; after the last one there is none: a day and a half in all."""
LEASE = 60
"""Seconds after which a try that was never recorded counts as lost: longer than a try may take."""
MOST = 500
"""Webhooks of an installation."""


@dataclass(frozen=True)
class Due:
    """A delivery that this worker tries now."""

    id: int
    attempt: int
    url: str
    secret: str
    body: bytes


def add(session: Session, user: User, wanted: WebhookIn) -> tuple[Webhook, str]:
    """A new webhook, and its secret, which is shown this once.

    Raises:
        BadInput: nothing is sent to such an address.
        Conflict: there are too many.
    """
    url = addresses.checked(wanted.url, get_settings().reachable_hosts)
    if (session.scalar(text("SELECT count(*) FROM webhooks")) or 0) >= MOST:
        raise Conflict(_("There are {most} webhooks already. Delete one first.", most=MOST))
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    made = Webhook(url=url, secret=secret, occasions=sorted(set(wanted.occasions)), created_by_id=user.id)
    session.add(made)
    session.flush()
    accounts.audit(session, user, "webhook.created", "webhook", made.id, url=url, occasions=made.occasions)
    return made, secret


def remove(session: Session, user: User, webhook: Webhook) -> None:
    """Delete a webhook with its ledger: it is told nothing more."""
    accounts.audit(session, user, "webhook.deleted", "webhook", webhook.id, url=webhook.url)
    session.delete(webhook)
    session.flush()


def test(session: Session, user: User, webhook: Webhook) -> Delivery:
    """Send something now, so that one sees whether it arrives."""
    made = Delivery(
        webhook_id=webhook.id, occasion=Occasion.TEST, subject_id=webhook.id, data={"webhook_id": webhook.id}
    )
    session.add(made)
    session.flush()
    accounts.audit(session, user, "webhook.tested", "webhook", webhook.id)
    enqueue(session, Job.DELIVER)
    return made


def again(session: Session, user: User, delivery: Delivery) -> None:
    """Give a delivery its tries again.

    Raises:
        Conflict: it did not fail.
    """
    if delivery.state is not DeliveryState.FAILED:
        raise Conflict(_("Only what failed can be sent again."))
    delivery.state, delivery.attempts, delivery.next_try_at = DeliveryState.PENDING, 0, func.now()
    session.flush()
    accounts.audit(session, user, "webhook.sent_again", "webhook", delivery.webhook_id, delivery=delivery.id)
    enqueue(session, Job.DELIVER)


# ── The ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────
_CLAIM = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM webhook_deliveries WHERE state = 'pending' AND next_try_at <= now()
         ORDER BY next_try_at, id LIMIT :most FOR UPDATE SKIP LOCKED)
    UPDATE webhook_deliveries d
       SET attempts = d.attempts + 1, next_try_at = now() + make_interval(secs => :lease)
      FROM due, webhooks w
     WHERE d.id = due.id AND w.id = d.webhook_id
 RETURNING d.id, d.attempts, w.url, w.secret, d.occasion, d.data, d.happened_at
""")


def claim(session: Session, most: int) -> list[Due]:
    """Take what is due, each with a lease: a worker that dies loses a minute, and nothing."""
    rows = session.execute(_CLAIM, {"lease": LEASE, "most": most})
    return [
        Due(row.id, row.attempts, row.url, row.secret, _body(row.occasion, row.happened_at, row.data)) for row in rows
    ]


def record(session: Session, due: Due, error: str | None) -> None:
    """What became of a try; ``error`` says in a sentence why it was not taken. A try that was given up before changes nothing."""
    held = session.get(Delivery, due.id, with_for_update=True, populate_existing=True)
    if held is None or held.state is not DeliveryState.PENDING or held.attempts != due.attempt:
        return
    held.last_error = error[:300] if error else None
    if error is None:
        held.state, held.delivered_at = DeliveryState.DELIVERED, func.now()
    elif due.attempt > len(PAUSES):
        held.state = DeliveryState.FAILED
    else:
        held.next_try_at = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, PAUSES[due.attempt - 1])
    session.flush()


def _body(occasion: str, happened_at: datetime, data: dict[str, Any]) -> bytes:
    said = {"type": occasion, "timestamp": happened_at.astimezone(UTC).isoformat(), "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
