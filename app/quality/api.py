"""JSON of reviews, known answers and qualifications, for staff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from app.accounts.access import ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import User
from app.annotations.history import reviews_of
from app.annotations.models import Review
from app.annotations.queries import access_work
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.paging import LARGEST, Cursor, Limit
from app.quality import queries, service
from app.quality.forms import GoldIn, GoldList, GoldOut, ReviewedOut, ReviewOut, SaidList, SaidOut, VerdictIn
from app.quality.queries import GoldRow, Show, Wanted

router = APIRouter(tags=["review"])

Id = Annotated[int | None, Query(ge=0, le=LARGEST)]


@router.get("/review/annotations")
def list_annotations(
    session: DbSession,
    user: ApiReviewer,
    batch_id: Id = None,
    annotator: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$", description="A pseudonym.")] = "",
    outcome: Outcome | None = None,
    show: Show = Show.ALL,
    before: Cursor = None,
    limit: Limit = 25,
) -> SaidList:
    """Annotations that stand, newest first."""
    wanted = Wanted(batch_id, annotator, outcome, show)
    page = queries.review_page(session, user, wanted, before=before, limit=limit)
    same = ("id", "annotator", "purpose", "outcome", "edited", "flagged", "verdict")
    rows = [
        SaidOut(batch=row.batch_name, created_at=row.at, **{name: getattr(row, name) for name in same})
        for row in page.rows
    ]
    return SaidList(annotations=rows, next=page.next)


@router.get("/review/annotations/{annotation_id}")
def get_annotation(session: DbSession, user: ApiReviewer, annotation_id: int) -> ReviewedOut:
    """One annotation, with the responses in the order in which its annotator saw them."""
    annotation = queries.access_annotation(session, user, annotation_id)
    work = access_work(session, annotation.annotator, annotation.assignment_id)
    if work.annotation_id != annotation.id:
        raise NotFound(_("This judgement has since been corrected or undone."))
    return ReviewedOut(
        id=annotation.id,
        batch_id=work.batch_id,
        annotator=annotation.annotator.pseudonym,
        responses=work.texts,
        said=Draft.model_validate(work.draft),
        guidelines_version=annotation.guidelines_version,
        active_seconds=annotation.active_seconds,
        reviews=[_review(each) for each, _ in reviews_of(session, annotation.id)],
        created_at=annotation.created_at,
    )


@router.post(
    "/review/annotations/{annotation_id}/reviews",
    status_code=201,
    response_model=ReviewOut,
    dependencies=[TAKES_KEY],
)
def review(request: Request, session: DbSession, user: ApiReviewer, annotation_id: int, body: VerdictIn) -> Response:
    """Accept an annotation, or return it to its annotator with a note."""

    def work() -> ReviewOut:
        annotation = queries.access_annotation(session, user, annotation_id)
        return _review(service.review(session, user, annotation, body.verdict, body.note))

    return once(session, user, request, body.model_dump_json().encode(), work, status=201)


@router.post(
    "/review/annotations/{annotation_id}/gold", status_code=201, response_model=GoldOut, dependencies=[TAKES_KEY]
)
def make_gold(request: Request, session: DbSession, user: ApiReviewer, annotation_id: int, body: GoldIn) -> Response:
    """Make an annotation the known answer of a new item with the same prompt and responses."""

    def work() -> GoldOut:
        annotation = queries.access_annotation(session, user, annotation_id)
        made = service.make_gold(session, user, annotation, body.explanation)
        return _item(session, user, made.id)

    return once(session, user, request, body.model_dump_json().encode(), work, status=201)


@router.get("/review/gold")
def list_gold(
    session: DbSession, user: ApiReviewer, batch_id: Id = None, before: Cursor = None, limit: Limit = 25
) -> GoldList:
    """Items with a known answer, newest first."""
    page = queries.list_gold(session, user, batch_id=batch_id, before=before, limit=limit)
    return GoldList(items=[_gold(row) for row in page.rows], next=page.next)


@router.post("/review/gold/{comparison_id}/retire", response_model=GoldOut, dependencies=[TAKES_KEY])
def retire(request: Request, session: DbSession, user: ApiReviewer, comparison_id: int) -> Response:
    """Stop handing out an item with a known answer."""
    return once(session, user, request, b"", _setting(session, user, comparison_id, retired=True))


@router.post("/review/gold/{comparison_id}/restore", response_model=GoldOut, dependencies=[TAKES_KEY])
def restore(request: Request, session: DbSession, user: ApiReviewer, comparison_id: int) -> Response:
    """Bring a retired item back."""
    return once(session, user, request, b"", _setting(session, user, comparison_id, retired=False))


@router.post("/review/qualifications/{batch_id}/{user_id}/reset", status_code=204, dependencies=[TAKES_KEY])
def reset(request: Request, session: DbSession, user: ApiReviewer, batch_id: int, user_id: int) -> Response:
    """Let somebody try a qualification again, with items they have not seen."""

    def work() -> None:
        service.reset_qualification(session, user, queries.access_batch(session, user, batch_id), user_id)

    return once(session, user, request, b"", work, status=204)


def _setting(session: Session, user: User, comparison_id: int, *, retired: bool) -> Callable[[], GoldOut]:
    def work() -> GoldOut:
        service.set_gold(session, user, queries.access_gold(session, user, comparison_id), retired=retired)
        return _item(session, user, comparison_id)

    return work


def _item(session: Session, reader: User, comparison_id: int) -> GoldOut:
    return _gold(queries.list_gold(session, reader, before=comparison_id + 1, limit=1).rows[0])


def _gold(row: GoldRow) -> GoldOut:
    return GoldOut(**{name: getattr(row, name) for name in GoldOut.model_fields})


def _review(row: Review) -> ReviewOut:
    return ReviewOut(id=row.id, annotation_id=row.annotation_id, verdict=row.verdict, note=row.note)
