"""What one annotator has to do and has done, in five queues, newest first. Everything here is the reader's own.

Counting stops at ``COUNT_UP_TO``. Responses are named by their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, literal, null, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations.models import RETURNED, STANDING, Annotation, Decision, Review
from app.annotations.queries import COUNT_UP_TO
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.seats import can_go_on
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.kernel.paging import Order, Page, read_rows
from app.prompts.models import Batch, BatchState, Prompt

PAGE = 25
BEGINNING = 240
"""Characters of a prompt that a row shows."""
BATCHES_OFFERED = 100


class Queue(StrEnum):
    """``pending``: opened, nothing saved. ``drafts``: with one. ``returned``: a reviewer asks for a correction."""

    PENDING = "pending"
    DRAFTS = "drafts"
    SUBMITTED = "submitted"
    SKIPPED = "skipped"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Row:
    """One item of a queue."""

    id: int
    """The assignment."""
    state: AssignmentState
    batch_id: int
    batch_name: str
    batch_state: BatchState
    prompt: str
    """How the last message of the prompt begins."""
    at: datetime
    can_go_on: bool
    """Whether the seat is held, or still free."""
    skip_reason: str | None
    outcome: str | None
    """What was said, in words."""
    edited: bool
    note: str | None
    """Why a reviewer gave it back."""
    retracted: bool
    """Whether an admin has taken it out since: it is no longer used."""

    @property
    def can_correct(self) -> bool:
        """Whether what was submitted may still be corrected."""
        closed = self.batch_state is BatchState.CLOSED
        return self.state is AssignmentState.SUBMITTED and not closed and not self.retracted


_later = aliased(Review)
_returned = and_(
    Review.annotation_id == Annotation.id,
    Review.verdict == Decision.RETURNED,
    ~select(_later.id).where(_later.annotation_id == Review.annotation_id, _later.id > Review.id).exists(),
)
RETURNED_WAITS = and_(RETURNED, Annotation.retraction_id.is_(None), Batch.state != BatchState.CLOSED)
"""Whether a standing annotation waits to be corrected, as a reviewer asks; with ``Batch`` joined."""
_open_states = Assignment.state.in_([AssignmentState.ACTIVE, AssignmentState.RELEASED])
_in_work: dict[Queue, ColumnElement[bool]] = {
    # somebody else has finished it and nothing was written: there is nothing to come back to
    Queue.PENDING: and_(can_go_on, Assignment.draft.is_(None), Batch.state != BatchState.CLOSED),
    Queue.DRAFTS: and_(_open_states, Assignment.draft.is_not(None)),
    Queue.SKIPPED: Assignment.state == AssignmentState.SKIPPED,
}
_about = (
    Assignment.id,
    Assignment.state,
    Batch.id.label("batch_id"),
    Batch.name.label("batch_name"),
    Batch.state.label("batch_state"),
    func.left(Prompt.messages[-1]["content"].astext, BEGINNING).label("prompt"),
    can_go_on.label("can_go_on"),
    Assignment.skip_reason,
)


def queue_page(
    session: Session, user: User, queue: Queue, *, batch_id: int | None = None, before: int | None = None
) -> Page[Row]:
    """One page of ``queue``, perhaps only of one batch."""
    query = _rows(user, queue)
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    names = query.selected_columns.keys()
    page = read_rows(session, query, _order(user, queue), before, PAGE)
    return page.map(lambda row: _row(dict(zip(names, row, strict=True))))


def counts(session: Session, user: User, batch_id: int | None = None) -> dict[Queue, str]:
    """How many are in each queue, in words: counting stops early."""
    numbers = []
    for queue in Queue:
        some = _rows(user, queue).with_only_columns(Assignment.id)
        if batch_id is not None:
            some = some.where(Batch.id == batch_id)
        numbers.append(select(func.count()).select_from(some.limit(COUNT_UP_TO).subquery()).scalar_subquery())
    row = session.execute(select(*numbers)).one()
    return {queue: f"{COUNT_UP_TO}+" if row[at] >= COUNT_UP_TO else str(row[at]) for at, queue in enumerate(Queue)}


def batches_of(session: Session, user: User) -> list[tuple[int, str]]:
    """Batches that ``user`` has items of, newest first, to filter by."""
    mine = (
        select(Assignment.id)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .where(Assignment.annotator_id == user.id, Comparison.batch_id == Batch.id)
        .exists()
    )
    query = select(Batch.id, Batch.name).where(mine).order_by(Batch.id.desc()).limit(BATCHES_OFFERED)
    return [(row.id, row.name) for row in session.execute(query)]


def _rows(user: User, queue: Queue) -> Select[Any]:
    if queue in _in_work:
        query = select(
            *_about,
            Assignment.created_at.label("at"),
            cast(null(), String).label("outcome"),
            cast(null(), JSONB).label("ranking"),
            cast(null(), ARRAY(String)).label("order_shown"),
            literal(False).label("edited"),
            cast(null(), String).label("note"),
            literal(False).label("retracted"),
        ).where(Assignment.annotator_id == user.id, _in_work[queue])
    else:
        query = (
            select(
                *_about,
                Annotation.created_at.label("at"),
                Annotation.outcome,
                Annotation.ranking,
                Annotation.order_shown,
                Annotation.edited_candidate_id.is_not(None).label("edited"),
                Review.note if queue is Queue.RETURNED else cast(null(), String).label("note"),
                Annotation.retraction_id.is_not(None).label("retracted"),
            )
            .join(Annotation, Annotation.assignment_id == Assignment.id)
            .where(Annotation.annotator_id == user.id, STANDING)
        )
        if queue is Queue.RETURNED:
            query = query.join(Review, _returned).where(RETURNED_WAITS)
    return (
        query.join(Comparison, Comparison.id == Assignment.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Comparison.batch_id)
    )


def _order(user: User, queue: Queue) -> Order:
    if queue in _in_work:
        return Order(Assignment.id)
    # by time, because the index of a person's annotations is by time
    above = aliased(Annotation)
    at = select(above.created_at).where(above.annotator_id == user.id)
    return Order(Annotation.id, Annotation.created_at, lambda last: at.where(above.id == last).scalar_subquery())


def _row(row: Any) -> Row:
    outcome = None
    if row["outcome"] is not None:
        outcome = in_words(Outcome(row["outcome"]), row["ranking"], row["order_shown"])
    return Row(**{**{name: row[name] for name in Row.__slots__}, "outcome": outcome})
