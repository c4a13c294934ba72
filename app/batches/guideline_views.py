"""HTML of guidelines: the current text, its history, and the changes between two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from app.accounts.access import SignedIn
from app.accounts.models import User
from app.batches.queries import access_guidelines
from app.judgements.vocabulary import STRONGEST_FIRST
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.kernel.word_diff import word_diff
from app.prompts import guidelines
from app.prompts.models import Batch, GuidelineVersion
from app.prompts.queries import STAFF
from app.shell.web import redirect, render

router = APIRouter()

Version = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class GuidelinesPage:
    """Context of ``prompts/guidelines.html``."""

    batch: Batch
    text: Markup
    examples: list[tuple[str, Markup]]
    history: list[tuple[GuidelineVersion, str | None]]
    changed: tuple[int, int] | None
    """The version read and the current one, where the reader has not said that they read it."""
    compared: tuple[int, int] | None
    changes: list[tuple[str, Markup]]
    is_staff: bool


@router.get("/batches/{batch_id}/guidelines")
def guidelines_page(
    request: Request,
    session: DbSession,
    user: SignedIn,
    batch_id: int,
    since: Version = None,
    until: Version = None,
) -> HTMLResponse:
    """What the guidelines say, and what was changed: between two versions, or since the reader read them."""
    batch = access_guidelines(session, user, batch_id)
    changed = guidelines.changed(session, user, batch.id)
    compared = (since, until or batch.guidelines_version) if since else changed
    return render(request, "prompts/guidelines.html", _page(session, user, batch, changed, compared))


@router.post("/batches/{batch_id}/guidelines/read")
def read(
    request: Request, session: DbSession, user: SignedIn, batch_id: int, back: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Note that the reader knows the current guidelines; the announcement goes."""
    batch = access_guidelines(session, user, batch_id)
    guidelines.mark_read(session, user, batch)
    places = {"home": "/", "annotate": "/annotate"}
    url = places.get(back, f"/batches/{batch.id}/guidelines")
    return redirect(request, url, flash=_("Noted: you have read the current guidelines."))


def _page(
    session: Session, user: User, batch: Batch, changed: tuple[int, int] | None, compared: tuple[int, int] | None
) -> GuidelinesPage:
    if compared and compared[0] > compared[1]:
        raise NotFound
    return GuidelinesPage(
        batch=batch,
        text=to_html(batch.guidelines) if batch.guidelines.strip() else Markup(),
        examples=[
            (strength.label, to_html(text))
            for strength in STRONGEST_FIRST
            if (text := batch.strength_examples.get(str(strength.value)))
        ],
        history=guidelines.history(session, batch),
        changed=changed,
        compared=compared,
        changes=_changes(session, batch, *compared) if compared else [],
        is_staff=user.role in STAFF,
    )


def _changes(session: Session, batch: Batch, since: int, until: int) -> list[tuple[str, Markup]]:
    before, after = guidelines.version_of(session, batch, since), guidelines.version_of(session, batch, until)
    pairs = [(_("Guidelines"), before.guidelines, after.guidelines)]
    for strength in STRONGEST_FIRST:
        old, new = (each.strength_examples.get(str(strength.value), "") for each in (before, after))
        pairs.append((_("Example of “{strength}”", strength=strength.words), old, new))
    return [(label, word_diff(old, new)) for label, old, new in pairs if old != new]
