"""HTML of findings: chips under responses, the check of one's own edit, and the page of checks. Pages include the fragments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import Admin, Reviewer, SignedIn
from app.accounts.models import Role
from app.annotations.work_form import LongTexts
from app.findings import judging, orders, queries
from app.findings.forms import EditForm
from app.findings.judging import Labelling, Standing
from app.findings.models import Verdict
from app.findings.queries import Conflict, Shown, Tally
from app.judgements.positions import POSITIONS
from app.kernel.db import DbSession
from app.kernel.errors import AppError, NotFound
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.kernel.paging import Cursor, Page
from app.prompts.queries import access_batch
from app.shell.web import is_exchange, redirect, render

router = APIRouter(route_class=LongTexts)


@dataclass(frozen=True)
class Slot:
    """Context of ``findings/_slot.html``: what was found of one text."""

    name: str
    shown: Shown
    url: str


@dataclass(frozen=True)
class ItemPage:
    """Context of ``findings/item.html``: all of an item, for those who have no scripts."""

    assignment_id: int
    found: dict[str, Shown]
    draft: Shown
    asked: bool
    problem: str | None


@dataclass(frozen=True)
class DraftFragment:
    """Context of ``findings/_draft.html``."""

    assignment_id: int
    draft: Shown
    asked: bool
    problem: str | None


@dataclass(frozen=True)
class ChecksPage:
    """Context of ``findings/checks.html``."""

    tallies: Sequence[Tally]
    page: Page[Conflict]
    batch: int | None
    batches: list[tuple[int, str]]
    first: bool
    may_write: bool
    judge: Standing | None
    labelling: Labelling | None


@router.get("/assignments/{assignment_id}/findings")
def item(request: Request, session: DbSession, user: SignedIn, assignment_id: int) -> HTMLResponse:
    """What checks found of an item, as far as its annotator may know it now."""
    return _item_page(request, session, user, assignment_id)


@router.get("/assignments/{assignment_id}/findings/{name}")
def of_one(request: Request, session: DbSession, user: SignedIn, assignment_id: int, name: str) -> HTMLResponse:
    """The same of one response by its position, or of the submitted edit."""
    if name not in {*POSITIONS, queries.EDIT}:
        raise NotFound
    found = queries.shown_to_annotator(session, user, assignment_id)
    url = f"/assignments/{assignment_id}/findings/{name}"
    return render(request, "findings/_slot.html", Slot(name, found.get(name, queries.NOTHING), url))


@router.post("/assignments/{assignment_id}/check")
def check_edit(
    request: Request,
    session: DbSession,
    user: SignedIn,
    assignment_id: int,
    form: Annotated[EditForm, Form()],
) -> Response:
    """Have the edit checked as it is now; without scripts, as the draft has it."""
    try:
        said = form.text()
        written = queries.written(session, user, assignment_id) if said is None else said
        check = orders.order_draft(session, user, assignment_id, written)
    except NotFound:
        raise
    except AppError as error:
        if not is_exchange(request):
            return _item_page(request, session, user, assignment_id, error)
        fragment = DraftFragment(assignment_id, queries.NOTHING, asked=False, problem=error.message)
        response = render(request, "findings/_draft.html", fragment, status=error.status)
        response.headers.update({"hx-retarget": "#edit-check", "hx-reswap": "outerHTML"})
        return response
    if not is_exchange(request):
        return redirect(request, f"/assignments/{assignment_id}/findings")
    shown = queries.shown_of_draft(check)
    return render(request, "findings/_draft.html", DraftFragment(assignment_id, shown, asked=True, problem=None))


@router.get("/assignments/{assignment_id}/check")
def checked_edit(request: Request, session: DbSession, user: SignedIn, assignment_id: int) -> HTMLResponse:
    """How far the latest check of the edit is."""
    queries.written(session, user, assignment_id)
    latest = orders.latest_draft(session, assignment_id)
    fragment = DraftFragment(assignment_id, queries.shown_of_draft(latest), asked=latest is not None, problem=None)
    return render(request, "findings/_draft.html", fragment)


@router.get("/checks")
def checks(
    request: Request, session: DbSession, user: Reviewer, batch: str = "", before: Cursor = None
) -> HTMLResponse:
    """Counts by verifier and capability, and where people preferred what fails."""
    chosen = int(batch) if batch.isdecimal() and len(batch) < 19 else None
    context = ChecksPage(
        tallies=queries.tallies(session, chosen),
        page=queries.conflicts(session, user, batch_id=chosen, before=before),
        batch=chosen,
        batches=queries.batches_checked(session),
        first=before is None,
        may_write=user.role is Role.ADMIN,
        judge=(judge := judging.standing(session)),
        labelling=judging.next_unlabelled(session, user) if judge else None,
    )
    return render(request, "findings/checks.html", context)


@router.post("/findings/{finding_id}/label")
def label(
    request: Request, session: DbSession, user: Reviewer, finding_id: int, verdict: Annotated[Verdict, Form()]
) -> Response:
    """Say whether an answer agrees with its source, and go on to the next."""
    judging.label(session, user, finding_id, verdict)
    return redirect(request, "/checks#facts", flash=_("Recorded. Here is the next answer, if there is one."))


@router.post("/batches/{batch_id}/check-again")
def check_again(request: Request, session: DbSession, user: Admin, batch_id: int) -> Response:
    """Check what could not be checked, and what never was."""
    batch = access_batch(session, user, batch_id)
    count = orders.check_again(session, user, batch)
    said = _("Everything has been checked.")
    if count:
        said = ngettext("{n} text will be checked.", "{n} texts will be checked.", count)
    return redirect(request, f"/batches/{batch.id}", flash=said)


def _item_page(
    request: Request, session: DbSession, user: SignedIn, assignment_id: int, error: AppError | None = None
) -> HTMLResponse:
    found = queries.shown_to_annotator(session, user, assignment_id)
    latest = orders.latest_draft(session, assignment_id)
    page = ItemPage(
        assignment_id=assignment_id,
        found=found,
        draft=queries.shown_of_draft(latest),
        asked=latest is not None,
        problem=error.message if error else None,
    )
    return render(request, "findings/item.html", page, status=error.status if error else 200)
