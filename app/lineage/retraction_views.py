"""HTML of retractions, for admins: the list, the preview of one, and its consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import NOT_YOURS, Admin, admin, confirmed
from app.annotations.models import RetractionScope
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.kernel.paging import LARGEST, Cursor
from app.lineage import graph, queries, service, targets
from app.lineage.graph import Picture
from app.lineage.queries import RetractionRow
from app.lineage.reach import Reach, reach
from app.lineage.service import REASON_LIMIT
from app.lineage.targets import Target
from app.rounds import service as rounds
from app.shell.web import redirect, render

PAGE = 50

router = APIRouter(prefix="/retractions", dependencies=[Depends(admin)])
TargetId = Annotated[int, Query(ge=1, le=LARGEST, alias="target")]


class RetractForm(BaseModel):
    """What the page of a retraction sends."""

    model_config = ConfigDict(extra="forbid")

    scope: RetractionScope
    target: int = Field(ge=1, le=LARGEST)
    reason: str = Field(default="", max_length=4 * REASON_LIMIT)
    erase: bool = False
    password: str = Field(default="", max_length=1_000)


@dataclass(frozen=True)
class RetractionsPage:
    """Context of ``lineage/retractions.html``; the words of each row's target are beside it."""

    rows: Sequence[tuple[RetractionRow, str]]
    next: int | None
    first: bool


@dataclass(frozen=True)
class PreviewPage:
    """Context of ``lineage/retract.html``."""

    target: Target
    reach: Reach
    picture: Picture
    reason: str = ""
    erase: bool = False
    limit: int = REASON_LIMIT
    errors: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class RetractionPage:
    """Context of ``lineage/retraction.html``."""

    row: RetractionRow
    words: str
    reach: Reach
    picture: Picture


@router.get("")
def retractions(request: Request, session: DbSession, before: Cursor = None) -> HTMLResponse:
    """Every retraction, newest first."""
    page = queries.list_retractions(session, before=before, limit=PAGE)
    rows = [(row, targets.find(session, row.retraction.scope, row.retraction.target_id).words) for row in page.rows]
    return render(request, "lineage/retractions.html", RetractionsPage(rows, page.next, before is None))


@router.get("/new")
def preview(request: Request, session: DbSession, scope: RetractionScope, target: TargetId) -> HTMLResponse:
    """What a retraction would take out and mean, with the form that does it."""
    return render(request, "lineage/retract.html", _preview(session, scope, target))


@router.post("")
def retract(request: Request, session: DbSession, user: Admin, form: Annotated[RetractForm, Form()]) -> Response:
    """Retract; what is erased is gone, so for that the admin's own password is asked for."""
    said = {"reason": form.reason, "erase": form.erase}
    if form.erase and not confirmed(request, session, user, form.password):
        page = _preview(session, form.scope, form.target, errors={"password": NOT_YOURS}, **said)
        return render(request, "lineage/retract.html", page, status=422)
    try:
        with session.begin_nested():
            made = service.retract(session, user, form.scope, form.target, form.reason, erase=form.erase)
    except BadInput as wrong:
        errors = wrong.by_field
        page = _preview(session, form.scope, form.target, errors=errors, **said)
        return render(request, "lineage/retract.html", page, status=422)
    except Conflict as conflict:
        page = _preview(session, form.scope, form.target, problem=conflict.message, **said)
        return render(request, "lineage/retract.html", page, status=409)
    if form.erase:
        done = _("Retracted and erased. Exports and trainings leave it out from now on.")
    else:
        done = _("Retracted. Exports and trainings leave it out from now on.")
    return redirect(request, f"/retractions/{made.id}", flash=done)


def _preview(session: Session, scope: RetractionScope, target_id: int, **more: object) -> PreviewPage:
    target = targets.find(session, scope, target_id)
    found = reach(session, service.left_of(target))
    return PreviewPage(target, found, graph.of_retraction(target.words, found), **more)  # type: ignore[arg-type]


@router.get("/{retraction_id}")
def retraction(request: Request, session: DbSession, user: Admin, retraction_id: int) -> HTMLResponse:
    """One retraction: what it took out, what that went into, and what to do about it."""
    made = queries.access_retraction(session, user, retraction_id)
    words = targets.find(session, made.scope, made.target_id).words
    found = queries.retracted_by(session, made)
    page = RetractionPage(queries.retraction_row(session, made), words, found, graph.of_retraction(words, found))
    return render(request, "lineage/retraction.html", page)


@router.post("/{retraction_id}/restore")
def restore(request: Request, session: DbSession, user: Admin, retraction_id: int) -> Response:
    """Bring back what it took out."""
    made = queries.access_retraction(session, user, retraction_id)
    restored = service.restore(session, user, made)
    done = ngettext("Restored: {n} annotation counts again.", "Restored: {n} annotations count again.", restored)
    return redirect(request, f"/retractions/{made.id}", flash=done)


@router.post("/{retraction_id}/retrain")
def retrain(request: Request, session: DbSession, user: Admin, retraction_id: int) -> Response:
    """Start a training without the retracted annotations."""
    queries.access_retraction(session, user, retraction_id)
    first = rounds.start_training(session, user)[0]
    return redirect(
        request, f"/runs/{first.id}", flash=_("The training is queued. It leaves out everything that is retracted.")
    )
