"""JSON of webhooks, for admins."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, api_admin
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.webhooks import queries, service
from app.webhooks.forms import DeliveryJson, DeliveryList, WebhookIn, WebhookJson, WebhookList, WebhookSecret
from app.webhooks.models import Delivery

router = APIRouter(tags=["webhooks"])


@router.get("/webhooks", dependencies=[Depends(api_admin)])
def list_webhooks(session: DbSession) -> WebhookList:
    """Who is told what."""
    return WebhookList(webhooks=[WebhookJson.model_validate(each) for each in queries.webhooks(session)])


@router.post("/webhooks", status_code=201, response_model=WebhookSecret, dependencies=[TAKES_KEY])
def add_webhook(request: Request, session: DbSession, user: ApiAdmin, wanted: WebhookIn) -> Response:
    """Tell an address of occasions. The secret is shown once: a retry with the same `Idempotency-Key` gets 409 with the id."""

    def work() -> WebhookSecret:
        made, secret = service.add(session, user, wanted)
        session.refresh(made)
        return WebhookSecret(**WebhookJson.model_validate(made).model_dump(), secret=secret)

    return once(session, user, request, wanted.model_dump_json().encode(), work, status=201, secret="secret")  # noqa: S106


@router.delete("/webhooks/{webhook_id}", status_code=204, dependencies=[TAKES_KEY])
def delete_webhook(request: Request, session: DbSession, user: ApiAdmin, webhook_id: int) -> Response:
    """Tell it nothing more, and forget what it was told."""
    work = lambda: service.remove(session, user, queries.access_webhook(session, user, webhook_id))  # noqa: E731
    return once(session, user, request, b"", work, status=204)


@router.post("/webhooks/{webhook_id}/test", status_code=202, response_model=DeliveryJson, dependencies=[TAKES_KEY])
def test_webhook(request: Request, session: DbSession, user: ApiAdmin, webhook_id: int) -> Response:
    """Send something now."""
    found = queries.access_webhook(session, user, webhook_id)
    work = lambda: _json(session, service.test(session, user, found))  # noqa: E731
    return once(session, user, request, b"", work, status=202)


@router.get("/webhooks/{webhook_id}/deliveries")
def list_deliveries(
    session: DbSession, user: ApiAdmin, webhook_id: int, before: Cursor = None, limit: Limit = 25
) -> DeliveryList:
    """What it was told, and whether it arrived."""
    found = queries.access_webhook(session, user, webhook_id)
    page = queries.deliveries(session, found, before=before, limit=limit)
    return DeliveryList(deliveries=[DeliveryJson.model_validate(each) for each in page.rows], next=page.next)


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/again",
    status_code=202,
    response_model=DeliveryJson,
    dependencies=[TAKES_KEY],
)
def send_again(request: Request, session: DbSession, user: ApiAdmin, webhook_id: int, delivery_id: int) -> Response:
    """Give a delivery that failed its tries again."""
    found = queries.access_delivery(session, user, webhook_id, delivery_id)

    def work() -> DeliveryJson:
        service.again(session, user, found)
        return _json(session, found)

    return once(session, user, request, b"", work, status=202)


def _json(session: Session, delivery: Delivery) -> DeliveryJson:
    session.flush()
    session.refresh(delivery)
    return DeliveryJson.model_validate(delivery)
