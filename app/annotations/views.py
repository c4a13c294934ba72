"""HTML of annotations: one item at a time, and the next one in the answer to a submit. No GET claims a seat."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.accounts.access import SignedIn
from app.accounts.models import User
from app.annotations import day, gold, history, queries, recording, service, tour
from app.annotations.gold import Feedback
from app.annotations.pages import Offer, StartPage, WorkPage, start_page, work_page
from app.annotations.said import with_history
from app.annotations.work_form import LongTexts, WorkForm
from app.judgements.judgement import Draft
from app.kernel.db import DbSession, commits
from app.kernel.errors import AppError, BadInput, Conflict, StaleVersion
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts import guidelines
from app.shell.web import is_exchange, redirect, render
from app.shell.zones import zone_of

router = APIRouter(route_class=LongTexts)

Key = Annotated[int | None, Query(ge=0, le=2**63 - 1)]

STALE = N_(
    "A newer draft was saved in another window. This is the text from this window: save to replace the newer draft, "
    "or reload {address} to load it."
)


@router.get("/annotate")
def start(
    request: Request, session: DbSession, user: SignedIn, batch: int | None = None, feedback: Key = None
) -> Response:
    """The item in work, or the batches that can be started."""
    held = queries.active_assignment(session, user, batch)
    if held is not None:
        return redirect(request, f"/assignments/{held}")
    page = _start(session, user, feedback=_feedback(session, user, feedback), chosen=batch)
    first = user.toured_at is None and history.step_back(session, user) is None
    return render(request, "annotations/start.html", replace(page, first_visit=first))


@router.post("/annotate")
def take(request: Request, session: DbSession, user: SignedIn, batch: Annotated[int | None, Form()] = None) -> Response:
    """Claim the next item."""
    assignment = service.next_assignment(session, user, batch)
    if assignment is None and tour.awaits(session, user, batch):
        return redirect(request, f"/tour?batch={batch}")
    return redirect(request, f"/assignments/{assignment.id}" if assignment else "/annotate")


@router.get("/assignments/{assignment_id}")
def work(
    request: Request,
    session: DbSession,
    user: SignedIn,
    assignment_id: int,
    correct: bool = False,  # noqa: FBT001, FBT002
    back: bool = False,  # noqa: FBT001, FBT002
    feedback: Key = None,
    moved: bool = False,  # noqa: FBT001, FBT002
) -> Response:
    """One item, with its draft; a submitted one as it was judged, or with ``correct`` open for correction.

    ``back``: undo led here. ``moved``: the item before it was of another batch.
    """
    item = queries.access_work(session, user, assignment_id, correct=correct)
    changed = guidelines.changed(session, user, item.batch_id)
    told = _feedback(session, user, feedback)
    if item.ended:
        page = work_page(item, preferences=user.preferences, guidelines_changed=changed, feedback=told)
        return render(request, "annotations/ended.html", with_history(session, replace(page, back=back)))
    page = _page(request, session, user, item, guidelines_changed=changed, feedback=told, moved=moved, back=back)
    return render(request, "annotations/work.html", page)


@router.post("/assignments/{assignment_id}/submit")
@commits
def submit(
    request: Request,
    session: DbSession,
    user: SignedIn,
    assignment_id: int,
    form: Annotated[WorkForm, Form()],
    back: bool = False,  # noqa: FBT001, FBT002
) -> Response:
    """Record the judgement and bring the next item; after a correction what is in hand, where undo had led to it (``back``)."""
    item = queries.access_work(session, user, assignment_id, correct=bool(form.corrects))
    try:
        recorded = recording.submit(session, user, assignment_id, form.submission(), form.key)
    except (BadInput, Conflict) as error:
        return _refused(request, session, user, item, form, error)
    if form.corrects and not back:
        list_or_dialogue = "/queues/submitted" if item.dialogue_id is None else _dialogue_url(item)
        return redirect(
            request, list_or_dialogue, flash=_("Corrected. The earlier judgement is kept alongside the new one.")
        )
    return _go_on(request, session, user, item, after=recorded)


@router.post("/assignments/{assignment_id}/undo")
def undo(request: Request, session: DbSession, user: SignedIn, assignment_id: int) -> Response:
    """Take back what was submitted or skipped, and put the item on the page again as it was."""
    queries.access_work(session, user, assignment_id)
    return _undone(request, session, user, assignment_id)


@router.post("/annotate/undo")
def undo_last(
    request: Request, session: DbSession, user: SignedIn, before: Annotated[str, Form(pattern="^[0-9]{0,18}$")] = ""
) -> Response:
    """Go back to what the reader judged or skipped last; from an item that undo led to (``before``), to the one before it."""
    last = history.step_back(session, user, int(before) if before else None)
    if last is not None:
        return _undone(request, session, user, last)
    if is_exchange(request):
        raise Conflict(_(history.NOTHING))
    return redirect(request, f"/assignments/{before}?back=1" if before else "/annotate", flash=_(history.NOTHING))


def _undone(request: Request, session: Session, user: User, assignment_id: int) -> Response:
    """The item in work again or, after a while, open for correction; where neither can be, as it was, and why."""
    correct = False
    try:
        recording.undo(session, user, assignment_id)
    except Conflict as error:
        correct = "corrects" in error.extra
        if not correct:
            return redirect(request, f"/assignments/{assignment_id}?back=1", flash=error.message)
    url = f"/assignments/{assignment_id}?{'correct=1&' if correct else ''}back=1"
    if not is_exchange(request):
        return redirect(request, url)
    item = queries.access_work(session, user, assignment_id, correct=correct)
    page = _page(request, session, user, item, back=True)
    response = render(request, "annotations/_work.html", page)
    response.headers["hx-push-url"] = url
    return response


@router.post("/assignments/{assignment_id}/draft")
def draft(
    request: Request, session: DbSession, user: SignedIn, assignment_id: int, form: Annotated[WorkForm, Form()]
) -> Response:
    """Save the contents of the form (scripts save drafts through the API)."""
    item = queries.access_work(session, user, assignment_id)
    value = form.draft()
    if value is None:
        form.submission()  # says what cannot be stored
    try:
        service.save_draft(session, user, assignment_id, value or Draft(), form.draft_version)
    except StaleVersion:
        address = f"/assignments/{item.id}"
        page = _page(request, session, user, item, draft=value, problem=_(STALE, address=address))
        return render(request, "annotations/work.html", page, status=StaleVersion.status)
    return redirect(request, f"/assignments/{assignment_id}", flash=_("Draft saved."))


@router.post("/assignments/{assignment_id}/skip")
def skip(
    request: Request,
    session: DbSession,
    user: SignedIn,
    assignment_id: int,
    reason: Annotated[str, Form(max_length=500)] = "",
    more: Annotated[str, Form(max_length=480)] = "",
) -> Response:
    """Leave the item to others and bring the next one."""
    item = queries.access_work(session, user, assignment_id)
    said = ": ".join(part.strip() for part in (reason, more) if part.strip())[:500]
    try:
        service.skip(session, user, assignment_id, said)
    except (BadInput, Conflict) as error:
        return _refused(request, session, user, item, None, error)
    return _go_on(request, session, user, item, skipped=assignment_id)


@router.post("/assignments/{assignment_id}/lease")
def lease(request: Request, session: DbSession, user: SignedIn, assignment_id: int) -> Response:
    """Keep the item for another lease."""
    service.extend_lease(session, user, assignment_id)
    return redirect(request, f"/assignments/{assignment_id}", flash=_("You keep this item."))


@router.post("/assignments/{assignment_id}/release")
def release(request: Request, session: DbSession, user: SignedIn, assignment_id: int) -> Response:
    """Stop for now: the draft stays, the seat is free for others."""
    service.release(session, user, assignment_id)
    return redirect(request, "/", flash=_("You stopped. Your draft is kept; others may take the item in the meantime."))


def _feedback(session: Session, user: User, annotation_id: int | None) -> Feedback | None:
    return gold.feedback(session, annotation_id, user.id) if annotation_id is not None else None


def _page(
    request: Request,
    session: Session,
    user: User,
    item: queries.Work,
    *,
    moved: bool = False,
    back: bool = False,
    **more: Any,
) -> WorkPage:
    """The page of an item to be worked on, with what is counted above it."""
    head = day.head(session, user, item.batch_id, zone_of(request))
    return replace(work_page(item, preferences=user.preferences, **more), head=head, moved=moved, back=back)


def _start(session: Session, user: User, **more: Any) -> StartPage:
    """What there is to begin with, or why there is nothing."""
    page = start_page(
        queries.visible_batches(session, user),
        guidelines=guidelines.changed_batches(session, user),
        elsewhere=queries.elsewhere(session, user),
        **more,
    )
    return page if page.batches else replace(page, others_only=queries.others_only(session, user))


def _dialogue_url(item: queries.Work) -> str:
    return f"/dialogues/{item.dialogue_id}?turn={item.prompt_id}"


def _go_on(
    request: Request,
    session: Session,
    user: User,
    item: queries.Work,
    *,
    after: recording.Recorded | None = None,
    skipped: int | None = None,
) -> Response:
    """The next item of the same batch, unless one of higher priority waits, else of another, else the start page.

    In one exchange where htmx asks.

    After a turn of a dialogue it is that dialogue.
    """
    if item.dialogue_id is not None:
        return redirect(request, _dialogue_url(item))
    told = _feedback(session, user, after.id if after and after.is_explained else None)
    # an answer of the qualification counts as it was given, so nothing is offered to be taken back
    undo = (
        Offer(after.assignment_id, _("Recorded."))
        if after and told is None
        else Offer(skipped, _("Skipped."))
        if skipped
        else None
    )
    following = service.next_assignment(session, user, item.batch_id, or_above=True)
    following = following or service.next_assignment(session, user)
    coming = queries.access_work(session, user, following.id) if following else None
    moved = coming is not None and coming.batch_id != item.batch_id
    if not is_exchange(request):
        said = {"feedback": after.id if after and told else None, "moved": "true" if moved else None}
        there = f"/assignments/{coming.id}" if coming else "/annotate"
        query = urlencode({name: value for name, value in said.items() if value})
        return redirect(request, f"{there}?{query}" if query else there)
    if coming is None:
        start = _start(session, user, undo=undo, feedback=told)
        response = render(request, "annotations/_start.html", start)
        response.headers["hx-push-url"] = "/annotate"
        return response
    changed = guidelines.changed(session, user, coming.batch_id)
    page = _page(request, session, user, coming, undo=undo, guidelines_changed=changed, feedback=told, moved=moved)
    response = render(request, "annotations/_work.html", page)
    response.headers["hx-push-url"] = f"/assignments/{coming.id}"
    return response


def _refused(
    request: Request, session: Session, user: User, item: queries.Work, form: WorkForm | None, error: AppError
) -> Response:
    """Say what is wrong with everything that was typed still there; after a conflict it is kept as the draft, too."""
    value, kept = form.draft() if form else None, None
    if form and value and isinstance(error, Conflict):
        kept = service.keep_draft(session, user, item.id, value, form.fencing_token, form.draft_version)
    known = kept if kept is not None else form.draft_version if form else item.draft_version
    fresh = replace(item, draft_version=known)
    if not is_exchange(request):
        page = _page(request, session, user, fresh, draft=value, problem=error.message, kept=kept)
        return render(request, "annotations/work.html", page, status=error.status)
    page = work_page(fresh, draft=value, problem=error.message, kept=kept, preferences=user.preferences)
    response = render(request, "annotations/_problem.html", page, status=error.status)
    response.headers.update({"hx-retarget": "#work-problem", "hx-reswap": "innerHTML"})
    return response
