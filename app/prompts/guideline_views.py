"""HTML of guidelines: the text that stands, its history, and what changed between two versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from app.accounts.access import SignedIn
from app.accounts.models import User
from app.db import DbSession
from app.errors import NotFound
from app.markup import to_html
from app.prompts import guidelines
from app.prompts.models import Batch, GuidelineVersion
from app.prompts.queries import STAFF
from app.web import redirect, render
from app.word_diff import word_diff

router = APIRouter()

STRENGTHS = {"4": "Significantly better", "3": "Better", "2": "Slightly better", "1": "Marginally better"}
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
    batch = guidelines.access(session, user, batch_id)
    changed = guidelines.changed(session, user, batch.id)
    compared = (since, until or batch.guidelines_version) if since else changed
    return render(request, "prompts/guidelines.html", _page(session, user, batch, changed, compared))


@router.post("/batches/{batch_id}/guidelines/read")
def read(
    request: Request, session: DbSession, user: SignedIn, batch_id: int, back: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Note that the reader knows the current guidelines; the announcement goes."""
    batch = guidelines.access(session, user, batch_id)
    guidelines.mark_read(session, user, batch)
    places = {"home": "/", "annotate": "/annotate"}
    url = places.get(back, f"/batches/{batch.id}/guidelines")
    return redirect(request, url, flash="Noted: you have read the current guidelines.")


def _page(
    session: Session, user: User, batch: Batch, changed: tuple[int, int] | None, compared: tuple[int, int] | None
) -> GuidelinesPage:
    if compared and compared[0] > compared[1]:
        raise NotFound
    return GuidelinesPage(
        batch=batch,
        text=to_html(batch.guidelines) if batch.guidelines.strip() else Markup(),
        examples=[
            (words, to_html(batch.strength_examples[level]))
            for level, words in STRENGTHS.items()
            if batch.strength_examples.get(level)
        ],
        history=guidelines.history(session, batch),
        changed=changed,
        compared=compared,
        changes=_changes(session, batch, *compared) if compared else [],
        is_staff=user.role in STAFF,
    )


def _changes(session: Session, batch: Batch, since: int, until: int) -> list[tuple[str, Markup]]:
    before, after = guidelines.version_of(session, batch, since), guidelines.version_of(session, batch, until)
    pairs = [("Guidelines", before.guidelines, after.guidelines)]
    for level, words in STRENGTHS.items():
        old, new = before.strength_examples.get(level, ""), after.strength_examples.get(level, "")
        pairs.append((f"Example of “{words.lower()}”", old, new))
    return [(label, word_diff(old, new)) for label, old, new in pairs if old != new]
