"""JSON of the desk, for staff: the table, all judgements of an item, acts on many rows, and one's own views."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import User
from app.annotations import texts
from app.annotations.models import Review
from app.desk import assigning, items, queries, service
from app.desk.forms import (
    AdjudicationOut,
    AssignIn,
    ChosenOut,
    DeskList,
    DoneOut,
    HoldsIn,
    ItemOut,
    LeftRow,
    RetractIn,
    ReturnIn,
    RowIn,
    RowOut,
    RowsIn,
    ToldOut,
    ViewIn,
    ViewList,
    ViewOut,
)
from app.desk.queries import Failed, Reviewed, Row, Sort, Wanted
from app.desk.service import Act, Done
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Flag, Outcome
from app.kernel.db import DbSession
from app.kernel.paging import LARGEST, Cursor, Limit
from app.quality.forms import ReviewOut
from app.quality.queries import access_annotation

router = APIRouter(prefix="/desk", tags=["review"])

WORDS = r"^[^\x00]*$"
Text = Annotated[str, Query(max_length=200, pattern=WORDS, description="Words and, in quotes, phrases.")]
Id = Annotated[int | None, Query(ge=0, le=LARGEST)]


def wanted(  # noqa: PLR0913 - one for each filter
    *,
    q: Text = "",
    batch_id: Id = None,
    round_number: Annotated[int | None, Query(ge=1, le=10**6, alias="round")] = None,
    annotator: Annotated[str, Query(max_length=100, pattern=WORDS, description="A pseudonym.")] = "",
    outcome: Outcome | None = None,
    strength: Annotated[int | None, Query(ge=1, le=4)] = None,
    edited: bool | None = None,
    disagreed: bool | None = None,
    attribute: Annotated[
        str, Query(max_length=200, pattern=WORDS, description="A name and a level, of any response: `helpful=3`.")
    ] = "",
    flag: Flag | None = None,
    failed: Annotated[Failed | None, Query(description="What a check found failing.")] = None,
    reviewed: Reviewed | None = None,
    language: Annotated[str, Query(max_length=12, pattern=WORDS, description="A code: `de`.")] = "",
    since: datetime | None = None,
    until: Annotated[datetime | None, Query(description="The first moment that is left out.")] = None,
    sort: Sort = Sort.NEWEST,
) -> Wanted:
    """The filters of the table."""
    return Wanted(
        text=q,
        batch_id=batch_id,
        round=round_number,
        annotator=annotator,
        outcome=outcome,
        strength=strength,
        edited=edited,
        disagreed=disagreed,
        attribute=attribute,
        flag=flag.value if flag else "",
        failed=failed,
        reviewed=reviewed,
        language=language,
        since=since,
        until=until,
        sort=sort,
    )


Filter = Annotated[Wanted, Depends(wanted)]


@router.get("/annotations")
def list_annotations(
    session: DbSession, user: ApiReviewer, wanted: Filter, before: Cursor = None, limit: Limit = 50
) -> DeskList:
    """Annotations that stand, by what they say. You are no longer given the items that you read here."""
    page = queries.desk_page(session, user, wanted, before=before, limit=limit)
    return DeskList(annotations=[_row(row) for row in page.rows], next=page.next, whole=texts.is_filled(session))


@router.get("/chosen")
def chosen(session: DbSession, user: ApiReviewer, wanted: Filter) -> ChosenOut:
    """All that match, up to a thousand, as acts on many take them. You are no longer given their items."""
    found = queries.choose(session, user, wanted)
    return ChosenOut(rows=[RowIn(id=key, seen=seen) for key, seen in found.rows], whole=found.whole)


@router.get("/annotations/{annotation_id}")
def get_item(session: DbSession, user: ApiReviewer, annotation_id: int) -> ItemOut:
    """The item of an annotation with all its judgements, in the order that the annotator of this one saw."""
    item = items.access_item(session, user, annotation_id)
    return ItemOut(
        batch_id=item.work.batch_id,
        responses=item.work.texts,
        judgements=[
            ToldOut(
                annotation_id=told.annotation.id,
                annotator=told.annotation.annotator.pseudonym,
                said=told.draft,
                overruled=told.overruled,
                retracted=told.annotation.retraction_id is not None,
                reviews=[_review(review) for review, _ in told.reviews],
                earlier=[Draft.model_validate(before.said.work.draft) for before in told.earlier],
                created_at=told.annotation.created_at,
            )
            for told in item.judgements
        ],
        adjudications=[AdjudicationOut.model_validate(each) for each, _ in item.adjudications],
    )


@router.post("/accept", response_model=DoneOut, dependencies=[TAKES_KEY])
def accept(request: Request, session: DbSession, user: ApiReviewer, body: RowsIn) -> Response:
    """Accept many annotations. Rows that have changed since they were read are left as they are, and named."""
    return _act(session, user, request, body, lambda: service.review_many(session, user, Act.ACCEPT, body.picks()))


@router.post("/return", response_model=DoneOut, dependencies=[TAKES_KEY])
def give_back(request: Request, session: DbSession, user: ApiReviewer, body: ReturnIn) -> Response:
    """Return many annotations with one note. Rows that have changed since they were read are left, and named."""
    return _act(
        session,
        user,
        request,
        body,
        lambda: service.review_many(session, user, Act.RETURN, body.picks(), body.note),
    )


@router.post("/assign", response_model=DoneOut, dependencies=[TAKES_KEY])
def assign(request: Request, session: DbSession, user: ApiReviewer, body: AssignIn) -> Response:
    """Ask for one more judgement of the items of many annotations: each of one of the people who are named or in the teams.

    Whoever has judged an item, has read a judgement of it, or would not be given it from the queue is not asked about it; rows
    for which nobody is left are left as they are, and named, as are those that have changed since they were read. Who is asked
    is not told why.
    """

    def act() -> Done:
        return assigning.assign(session, user, body.picks(), body.people, body.teams)

    return _act(session, user, request, body, act)


@router.post("/unassign", response_model=DoneOut, dependencies=[TAKES_KEY])
def unassign(request: Request, session: DbSession, user: ApiReviewer, body: RowsIn) -> Response:
    """Take back the items of many annotations from those whom they were assigned to, where they have not begun them."""
    return _act(session, user, request, body, lambda: assigning.unassign(session, user, body.picks()))


@router.post("/retract", response_model=DoneOut, dependencies=[TAKES_KEY])
def retract(request: Request, session: DbSession, user: ApiAdmin, body: RetractIn) -> Response:
    """Retract many annotations, each by a retraction of its own. Rows that have changed are left, and named."""
    return _act(session, user, request, body, lambda: service.retract_many(session, user, body.picks(), body.reason))


@router.post(
    "/annotations/{annotation_id}/holds", status_code=201, response_model=AdjudicationOut, dependencies=[TAKES_KEY]
)
def adjudicate(request: Request, session: DbSession, user: ApiReviewer, annotation_id: int, body: HoldsIn) -> Response:
    """Make an annotation the judgement of its item that holds: exports, training and contests take no other one."""

    def work() -> AdjudicationOut:
        annotation = access_annotation(session, user, annotation_id)
        return AdjudicationOut.model_validate(service.adjudicate(session, user, annotation, body.reason))

    return once(session, user, request, body.model_dump_json().encode(), work, status=201)


@router.post("/annotations/{annotation_id}/reopen", status_code=204, dependencies=[TAKES_KEY])
def reopen(request: Request, session: DbSession, user: ApiReviewer, annotation_id: int) -> Response:
    """Let all judgements of the item of an annotation count again."""

    def work() -> None:
        annotation = access_annotation(session, user, annotation_id)
        service.end_adjudication(session, user, annotation.comparison_id)

    return once(session, user, request, b"", work, status=204)


@router.get("/views")
def list_views(session: DbSession, user: ApiReviewer) -> ViewList:
    """Your own views, by name."""
    return ViewList(views=[ViewOut.model_validate(each) for each in queries.views_of(session, user)])


@router.post("/views", status_code=201, response_model=ViewOut, dependencies=[TAKES_KEY])
def keep_view(request: Request, session: DbSession, user: ApiReviewer, body: ViewIn) -> Response:
    """Keep filters under a name. The same name again replaces them."""

    def work() -> ViewOut:
        return ViewOut.model_validate(service.keep_view(session, user, body.name, body.filters))

    return once(session, user, request, body.model_dump_json().encode(), work, status=201)


@router.delete("/views/{view_id}", status_code=204)
def delete_view(session: DbSession, user: ApiReviewer, view_id: int) -> None:
    """Forget a view of your own."""
    service.delete_view(session, user, view_id)


def _act(session: Session, user: User, request: Request, body: RowsIn, act: Callable[[], Done]) -> Response:
    def work() -> DoneOut:
        done = act()
        left = [LeftRow(id=key, why=why) for key, why in done.left.items()]
        return DoneOut(act=done.act, done=done.done, left=left, said=done.said())

    return once(session, user, request, body.model_dump_json().encode(), work)


def _row(row: Row) -> RowOut:
    same = {name: getattr(row, name) for name in RowOut.model_fields if hasattr(row, name)}
    return RowOut(**same, batch=row.batch_name, annotator=row.pseudonym, created_at=row.at)


def _review(row: Review) -> ReviewOut:
    return ReviewOut(id=row.id, annotation_id=row.annotation_id, verdict=row.verdict, note=row.note)
