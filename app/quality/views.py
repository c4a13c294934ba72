"""HTML of reviewing: the list, one annotation as its annotator saw it, known answers and qualifications. For staff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from app.accounts.access import Reviewer
from app.accounts.models import User
from app.annotations.history import reviews_of
from app.annotations.models import Annotation, Decision, GoldAnswer, Review
from app.annotations.pages import WorkPage, work_page
from app.annotations.queries import Work, access_work
from app.annotations.said import Before, EndedPage, ended_page, said_earlier
from app.candidates import scores
from app.comparisons.models import Purpose
from app.comparisons.purposes import PURPOSES
from app.findings.queries import Shown, shown_to_staff
from app.judgements.positions import POSITIONS
from app.judgements.vocabulary import Outcome
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput, Conflict
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.kernel.paging import Cursor, Page
from app.prompts.models import BatchState
from app.quality import queries, service
from app.quality.forms import Words
from app.quality.queries import GoldRow, QualifiedRow, Row, Show, Wanted
from app.registry.models import Checkpoint
from app.shell.web import redirect, render

router = APIRouter()

Text = Annotated[Words, Form()]

SHOWS = {
    Show.ALL: N_("Everything"),
    Show.UNREVIEWED: N_("Not reviewed"),
    Show.RETURNED: N_("Returned"),
    Show.EDITED: N_("With an edit"),
    Show.FLAGGED: N_("With a flag"),
    Show.DOUBTED: N_("Doubted by a reward model"),
    Show.AGAINST_GOLD: N_("Against a known answer"),
}


def _outcomes() -> dict[Outcome, str]:
    return {outcome: outcome.label for outcome in Outcome}


def wanted(
    batch: str = "",
    annotator: Annotated[str, Query(max_length=100)] = "",
    outcome: str = "",
    show: str = "",
) -> Wanted:
    """The filter in an address; what cannot be read filters nothing."""
    return Wanted(
        batch_id=int(batch) if batch.isdecimal() and len(batch) < 19 else None,
        annotator=annotator.strip() if "\x00" not in annotator else "",
        outcome=Outcome(outcome) if outcome in set(Outcome) else None,
        show=Show(show) if show in set(Show) else Show.ALL,
    )


Filter = Annotated[Wanted, Depends(wanted)]


def address(wanted: Wanted, **more: int | None) -> str:
    """The filter as a query, with its question mark; nothing where it keeps everything."""
    values = {
        "batch": wanted.batch_id,
        "annotator": wanted.annotator,
        "outcome": wanted.outcome.value if wanted.outcome else None,
        "show": wanted.show.value if wanted.show is not Show.ALL else None,
        **more,
    }
    query = urlencode({name: value for name, value in values.items() if value})
    return f"?{query}" if query else ""


@dataclass(frozen=True)
class ReviewsPage:
    """Context of ``quality/reviews.html``."""

    page: Page[Row]
    wanted: Wanted
    query: str
    older: str | None
    first: bool
    batches: list[tuple[int, str]]
    shows: dict[Show, str]
    outcomes: dict[Outcome, str]


@dataclass(frozen=True)
class Scored:
    """What the newest reward model that read them says of an item's responses, by position."""

    judge: Checkpoint
    scores: dict[str, float]


@dataclass(frozen=True)
class ReviewedPage:
    """Context of ``quality/review.html``: what one annotator said, and what can be done about it."""

    annotation: Annotation
    page: WorkPage
    work: Work
    said: EndedPage
    found: dict[str, Shown]
    scored: Scored | None
    """What checks found, by position and of the edit."""
    reviews: Sequence[tuple[Review, str]]
    earlier: Sequence[Before]
    """What this judgement corrects, the latest first: the reader compares it with that, and with the note that asked for it."""
    gold: GoldAnswer | None
    explained: Markup
    query: str
    above: int | None
    below: int | None
    closed: bool
    is_gold: bool
    can_be_gold: bool
    problem: str | None
    errors: dict[str, str]
    note: str
    explanation: str


@dataclass(frozen=True)
class GoldPage:
    """Context of ``quality/gold.html``."""

    rows: list[GoldRow]
    qualified: list[QualifiedRow]
    batch: int | None
    batches: list[tuple[int, str]]
    outcomes: dict[Outcome, str]
    next: int | None
    first: bool


@router.get("/review")
def reviews(
    request: Request, session: DbSession, user: Reviewer, wanted: Filter, before: Cursor = None
) -> HTMLResponse:
    """What annotators said, newest first."""
    page = queries.review_page(session, user, wanted, before=before)
    context = ReviewsPage(
        page=page,
        wanted=wanted,
        query=address(wanted),
        older=address(wanted, before=page.next) if page.next else None,
        first=before is None,
        batches=queries.batches_offered(session),
        shows={show: _(words) for show, words in SHOWS.items()},
        outcomes=_outcomes(),
    )
    return render(request, "quality/reviews.html", context)


@router.get("/review/annotations/{annotation_id}")
def one(request: Request, session: DbSession, user: Reviewer, annotation_id: int, wanted: Filter) -> Response:
    """One annotation, with the responses in the order in which its annotator saw them."""
    annotation = queries.access_annotation(session, user, annotation_id)
    if not _stands(annotation):
        return _gone(request, wanted)
    return render(request, "quality/review.html", _page(session, user, annotation, wanted))


@router.post("/review/annotations/{annotation_id}/accept")
def accept(request: Request, session: DbSession, user: Reviewer, annotation_id: int, wanted: Filter) -> Response:
    """Accept an annotation and open the next one of the list."""
    return _review(request, session, user, annotation_id, wanted, Decision.ACCEPTED)


@router.post("/review/annotations/{annotation_id}/return")
def give_back(
    request: Request, session: DbSession, user: Reviewer, annotation_id: int, wanted: Filter, note: Text = ""
) -> Response:
    """Return an annotation to its annotator with a note."""
    return _review(request, session, user, annotation_id, wanted, Decision.RETURNED, note)


REVIEWED = {Decision.ACCEPTED: N_("Accepted."), Decision.RETURNED: N_("Returned to its annotator, with your note.")}


def _review(
    request: Request,
    session: DbSession,
    user: User,
    annotation_id: int,
    wanted: Wanted,
    decision: Decision,
    note: str = "",
) -> Response:
    annotation = queries.access_annotation(session, user, annotation_id)
    if not _stands(annotation):
        return _gone(request, wanted)
    below = queries.neighbours(session, user, wanted, annotation_id)[1]
    try:
        service.review(session, user, annotation, decision, note)
    except (BadInput, Conflict) as error:
        page = _page(session, user, annotation, wanted, error=error, note=note)
        return render(request, "quality/review.html", page, status=error.status)
    url = f"/review/annotations/{below}" if below else "/review"
    return redirect(request, f"{url}{address(wanted)}", flash=_(REVIEWED[decision]))


@router.post("/review/annotations/{annotation_id}/gold")
def use_as_gold(
    request: Request, session: DbSession, user: Reviewer, annotation_id: int, wanted: Filter, explanation: Text = ""
) -> Response:
    """Make what was said here the known answer of a new item."""
    annotation = queries.access_annotation(session, user, annotation_id)
    if not _stands(annotation):
        return _gone(request, wanted)
    try:
        service.make_gold(session, user, annotation, explanation)
    except (BadInput, Conflict) as error:
        page = _page(session, user, annotation, wanted, error=error, explanation=explanation)
        return render(request, "quality/review.html", page, status=error.status)
    return redirect(
        request,
        f"/review/annotations/{annotation_id}{address(wanted)}",
        flash=_("This is a known answer now: others will get the item among their work."),
    )


@router.get("/review/gold")
def gold_items(
    request: Request, session: DbSession, user: Reviewer, batch: str = "", before: Cursor = None
) -> HTMLResponse:
    """Items with a known answer, and who is qualified."""
    chosen = int(batch) if batch.isdecimal() and len(batch) < 19 else None
    page = queries.list_gold(session, user, batch_id=chosen, before=before)
    context = GoldPage(
        rows=page.rows,
        qualified=queries.list_qualifications(session, chosen),
        batch=chosen,
        batches=queries.batches_offered(session),
        outcomes=_outcomes(),
        next=page.next,
        first=before is None,
    )
    return render(request, "quality/gold.html", context)


@router.post("/review/gold/{comparison_id}/retire")
def retire(request: Request, session: DbSession, user: Reviewer, comparison_id: int) -> Response:
    """Stop handing out an item with a known answer."""
    service.set_gold(session, user, queries.access_gold(session, user, comparison_id), retired=True)
    return redirect(request, "/review/gold", flash=_("Retired: nobody will get this item any more."))


@router.post("/review/gold/{comparison_id}/restore")
def restore(request: Request, session: DbSession, user: Reviewer, comparison_id: int) -> Response:
    """Bring a retired item back."""
    service.set_gold(session, user, queries.access_gold(session, user, comparison_id), retired=False)
    return redirect(request, "/review/gold", flash=_("Restored: this item is handed out again."))


@router.post("/review/qualifications/{batch_id}/{user_id}/reset")
def reset(request: Request, session: DbSession, user: Reviewer, batch_id: int, user_id: int) -> Response:
    """Let somebody try a qualification again."""
    batch = queries.access_batch(session, user, batch_id)
    try:
        service.reset_qualification(session, user, batch, user_id)
    except Conflict as error:
        return redirect(request, f"/review/gold?batch={batch_id}", flash=error.message)
    return redirect(
        request,
        f"/review/gold?batch={batch_id}",
        flash=_("Reset: this person can try again, with items not seen before."),
    )


def _stands(annotation: Annotation) -> bool:
    return annotation.superseded_by_id is None and annotation.withdrawn_at is None


def _gone(request: Request, wanted: Wanted) -> Response:
    return redirect(request, f"/review{address(wanted)}", flash=_("This judgement has since been corrected or undone."))


def _scored(session: DbSession, annotation: Annotation) -> Scored | None:
    newest = scores.newest(session, annotation.order_shown)
    if newest is None:
        return None
    judge, found = newest
    letters = {POSITIONS[place]: found[candidate] for place, candidate in enumerate(annotation.order_shown)}
    return Scored(session.get_one(Checkpoint, judge), letters)


def _page(
    session: DbSession,
    user: User,
    annotation: Annotation,
    wanted: Wanted,
    *,
    error: AppError | None = None,
    note: str = "",
    explanation: str = "",
) -> ReviewedPage:
    work = access_work(session, annotation.annotator, annotation.assignment_id)
    page = work_page(work)
    above, below = queries.neighbours(session, user, wanted, annotation.id)
    known = queries.gold_of_prompt(session, annotation)
    one_best = annotation.outcome is not Outcome.RANKED or len(annotation.ranking[0]) == 1
    fields = error.by_field if error else {}
    return ReviewedPage(
        annotation=annotation,
        page=page,
        work=work,
        said=ended_page(page),
        found=shown_to_staff(session, annotation),
        scored=_scored(session, annotation),
        reviews=reviews_of(session, annotation.id),
        earlier=said_earlier(session, page, annotation.id),
        gold=known,
        explained=to_html(known.explanation) if known else Markup(),
        query=address(wanted),
        above=above,
        below=below,
        closed=work.batch_state is BatchState.CLOSED,
        is_gold=annotation.comparison.purpose is Purpose.GOLD,
        can_be_gold=known is None and one_best and PURPOSES[annotation.comparison.purpose].compares,
        problem=error.message if error else None,
        errors=fields,
        note=note,
        explanation=explanation,
    )
