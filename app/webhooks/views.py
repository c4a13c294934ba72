"""HTML of webhooks, for admins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import Admin, admin
from app.kernel.db import DbSession
from app.kernel.errors import AppError
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor
from app.shell.web import redirect, render
from app.webhooks import queries, service
from app.webhooks.forms import WORDS, Wanted, WebhookIn, in_words
from app.webhooks.models import Delivery, Webhook

router = APIRouter(prefix="/webhooks")


class WebhookForm(BaseModel):
    """What the form sends."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(default="", max_length=2000)
    occasions: list[Wanted] = Field(default_factory=list)


@dataclass(frozen=True)
class WebhooksPage:
    """Context of ``webhooks/webhooks.html``. ``secret`` is that of a webhook made by this very request."""

    webhooks: Sequence[Webhook]
    secret: str | None = None
    url: str = ""
    chosen: Sequence[str] = tuple(WORDS)
    errors: dict[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=in_words)


@dataclass(frozen=True)
class WebhookPage:
    """Context of ``webhooks/webhook.html``."""

    webhook: Webhook
    deliveries: Sequence[Delivery]
    next: int | None
    first: bool
    told_when: str
    """All of its occasions, in a sentence."""
    tries: int = len(service.PAUSES) + 1
    words: Mapping[str, str] = field(default_factory=in_words)


@router.get("", dependencies=[Depends(admin)])
def webhooks(request: Request, session: DbSession) -> HTMLResponse:
    """Who is told what."""
    return render(request, "webhooks/webhooks.html", WebhooksPage(queries.webhooks(session)))


@router.post("")
def add(request: Request, session: DbSession, user: Admin, form: Annotated[WebhookForm, Form()]) -> Response:
    """Tell an address of occasions. The answer is the page itself, because the secret is shown this once."""
    if not form.occasions:
        return _again(request, session, form, {"occasions": _("Choose at least one.")})
    if not form.url.strip():
        return _again(request, session, form, {"url": _("Say where to send it.")})
    try:
        _webhook, secret = service.add(session, user, WebhookIn(url=form.url, occasions=form.occasions))
    except AppError as error:
        return _again(request, session, form, {"url": error.message})
    return render(request, "webhooks/webhooks.html", WebhooksPage(queries.webhooks(session), secret=secret))


@router.get("/{webhook_id}")
def webhook(request: Request, session: DbSession, user: Admin, webhook_id: int, before: Cursor = None) -> HTMLResponse:
    """What it was told, and whether it arrived."""
    found = queries.access_webhook(session, user, webhook_id)
    page = queries.deliveries(session, found, before=before)
    said = in_words()
    told_when = reduce(
        lambda one, more: _("{first} or {last}", first=one, last=more), [said[name] for name in found.occasions]
    )
    context = WebhookPage(found, page.rows, page.next, before is None, told_when)
    return render(request, "webhooks/webhook.html", context)


@router.post("/{webhook_id}/test")
def test(request: Request, session: DbSession, user: Admin, webhook_id: int) -> Response:
    """Send something now."""
    service.test(session, user, queries.access_webhook(session, user, webhook_id))
    return redirect(
        request, f"/webhooks/{webhook_id}", flash=_("A test is on its way. Reload to see whether it arrived.")
    )


@router.post("/{webhook_id}/delete")
def delete(request: Request, session: DbSession, user: Admin, webhook_id: int) -> Response:
    """Tell it nothing more."""
    service.remove(session, user, queries.access_webhook(session, user, webhook_id))
    return redirect(request, "/webhooks", flash=_("The webhook is deleted."))


@router.post("/{webhook_id}/deliveries/{delivery_id}/again")
def again(request: Request, session: DbSession, user: Admin, webhook_id: int, delivery_id: int) -> Response:
    """Send what failed again."""
    service.again(session, user, queries.access_delivery(session, user, webhook_id, delivery_id))
    return redirect(request, f"/webhooks/{webhook_id}", flash=_("It is sent again."))


def _again(request: Request, session: Session, form: WebhookForm, errors: dict[str, str]) -> HTMLResponse:
    page = WebhooksPage(queries.webhooks(session), url=form.url, chosen=form.occasions, errors=errors)
    return render(request, "webhooks/webhooks.html", page, status=422)
