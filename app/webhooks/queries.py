"""Reads of webhooks, for admins. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.webhooks.models import Delivery, Webhook


def access_webhook(session: Session, user: User, webhook_id: int) -> Webhook:
    """A webhook."""
    found = session.get(Webhook, webhook_id) if user.role is Role.ADMIN else None
    if found is None:
        raise NotFound
    return found


def access_delivery(session: Session, user: User, webhook_id: int, delivery_id: int) -> Delivery:
    """A delivery of a webhook."""
    found = session.get(Delivery, delivery_id) if user.role is Role.ADMIN else None
    if found is None or found.webhook_id != webhook_id:
        raise NotFound
    return found


def webhooks(session: Session) -> Sequence[Webhook]:
    """All of them, newest first."""
    return session.scalars(select(Webhook).order_by(Webhook.id.desc())).all()


def deliveries(session: Session, webhook: Webhook, *, before: int | None = None, limit: int = 25) -> Page[Delivery]:
    """What a webhook was told, newest first."""
    return read_page(
        session, select(Delivery).where(Delivery.webhook_id == webhook.id), Order(Delivery.id), before, limit
    )
