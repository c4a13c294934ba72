"""What one annotator has to do and has done, in five queues, newest first. Everything here is the reader's own.

Counting stops at ``COUNT_UP_TO``. Responses are named by their positions. A search reads at most ``WINDOW`` items for a page, so
that it costs the same for somebody with a hundred thousand: where few of them match, the page is short and goes on behind them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, and_, cast, column, func, literal, null, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations import skips
from app.annotations.models import RETURNED, STANDING, Annotation, Decision, Review
from app.annotations.queries import COUNT_UP_TO
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.seats import can_go_on
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.paging import Order, Page, read_rows
from app.prompts.models import Batch, BatchState, Prompt

PAGE = 25
BEGINNING = 240
"""Characters of a prompt that a row shows."""
BATCHES_OFFERED = 100
WINDOW = 500
"""Items that a search reads for a page."""
SEARCHED = 4_000
"""Characters of each message of a prompt that a search reads."""


class Queue(StrEnum):
    """``pending``: opened or assigned, nothing saved. ``drafts``: with one. ``returned``: a reviewer asks for a correction."""

    PENDING = "pending"
    DRAFTS = "drafts"
    SUBMITTED = "submitted"
    SKIPPED = "skipped"
    RETURNED = "returned"

    @property
    def label(self) -> str:
        """In a word: "Drafts"."""
        return _(_WORDS[self][0])

    @property
    def heading(self) -> str:
        """What its page is called."""
        return _(_WORDS[self][1])

    @property
    def items(self) -> str:
        """What its list is called."""
        return _(_WORDS[self][2])


_WORDS = {
    Queue.PENDING: (N_("Pending"), N_("My work: pending"), N_("Pending items")),
    Queue.DRAFTS: (N_("Drafts"), N_("My work: drafts"), N_("Drafts items")),
    Queue.SUBMITTED: (N_("Submitted"), N_("My work: submitted"), N_("Submitted items")),
    Queue.SKIPPED: (N_("Skipped"), N_("My work: skipped"), N_("Skipped items")),
    Queue.RETURNED: (N_("Returned"), N_("My work: returned"), N_("Returned items")),
}


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


@dataclass(frozen=True, slots=True)
class Sought:
    """What a queue is searched for. Of the outcome, the edit and the reason each counts only where a queue has it."""

    batch_id: int | None = None
    text: str = ""
    """Part of a message of the prompt, in any case, as far as ``SEARCHED`` goes."""
    outcome: Outcome | None = None
    edited: bool = False
    reason: str = ""
    """Why it was skipped: as it is offered, whatever was written beside it."""
    since: date | None = None
    until: date | None = None
    """The last day."""
    zone: tzinfo | None = None
    """Whose days they are; None: the database's."""

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, each.name) for each in fields(self) if each.name != "zone")


EVERYTHING = Sought()
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
_times: dict[Queue, ColumnElement[datetime]] = {
    Queue.PENDING: Assignment.created_at.expression,
    Queue.DRAFTS: Assignment.created_at.expression,
    Queue.SKIPPED: func.coalesce(Assignment.skipped_at, Assignment.created_at),
}
_states = {
    Queue.PENDING: [AssignmentState.ACTIVE, AssignmentState.RELEASED],
    Queue.DRAFTS: [AssignmentState.ACTIVE, AssignmentState.RELEASED],
    Queue.SKIPPED: [AssignmentState.SKIPPED],
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
    session: Session, user: User, queue: Queue, sought: Sought = EVERYTHING, *, before: int | None = None
) -> Page[Row]:
    """One page of ``queue``, of what is sought; it may be short, and others follow all the same."""
    query, order = _rows(user, queue), _order(user, queue)
    names = query.selected_columns.keys()
    edge = None
    if sought:
        at = _times.get(queue, Annotation.created_at.expression)
        query = query.where(*_days(sought, at))
        walked = order.apply(_walked(user, queue).where(*_days(sought, at)), before)
        edge = session.scalar(walked.offset(WINDOW - 1).limit(1))
        query = query.where(*_matches(queue, sought))
        if edge is not None:
            query = query.where(order.up_to(edge))
    page = read_rows(session, query, order, before, PAGE)
    rows = page.map(lambda row: _row(dict(zip(names, row, strict=True))))
    return rows if rows.next is not None or edge is None else Page(rows.rows, edge)


def _days(sought: Sought, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    bounds = []
    for day, later in ((sought.since, 0), (sought.until, 1)):
        if day is not None:
            moment = datetime.combine(day, time(), sought.zone) + timedelta(days=later)
            bounds.append(at < moment if later else at >= moment)
    return bounds


def _matches(queue: Queue, sought: Sought) -> list[ColumnElement[bool]]:
    """The conditions on an item of ``queue`` that only reading it can tell."""
    judged = queue not in _in_work
    message = func.jsonb_array_elements(Prompt.messages).table_valued(column("value", JSONB)).render_derived("message")
    # folded once and then searched for bytes: ILIKE folds at every place, and takes several times as long
    text = func.lower(func.left(message.c.value["content"].astext, SEARCHED))
    says = select(literal(1)).select_from(message).where(func.strpos(text, func.lower(sought.text)) > 0)
    given = {
        "batch": (sought.batch_id is not None, Batch.id == sought.batch_id),
        "text": (bool(sought.text), says.correlate(Prompt).exists()),
        "outcome": (judged and sought.outcome is not None, Annotation.outcome == sought.outcome),
        "edited": (judged and sought.edited, Annotation.edited_text.is_not(None)),
        "reason": (
            queue is Queue.SKIPPED and bool(sought.reason),
            or_(
                Assignment.skip_reason == sought.reason,
                Assignment.skip_reason.startswith(f"{sought.reason}: ", autoescape=True),
            ),
        ),
    }
    return [condition for asked, condition in given.values() if asked]


def _walked(user: User, queue: Queue) -> Select[Any]:
    """The keys of what a queue is walked along, before anything is read that only decides whether it is shown."""
    if queue in _in_work:
        return select(Assignment.id).where(Assignment.annotator_id == user.id, Assignment.state.in_(_states[queue]))
    return select(Annotation.id).where(Annotation.annotator_id == user.id, STANDING)


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
            _times[queue].label("at"),
            cast(null(), String).label("outcome"),
            cast(null(), JSONB).label("ranking"),
            cast(null(), ARRAY(String)).label("order_shown"),
            cast(null(), ARRAY(Integer)).label("strengths"),
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
                Annotation.strengths,
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
        outcome = in_words(Outcome(row["outcome"]), row["ranking"], row["order_shown"], row["strengths"])
    reason = skips.in_words(row["skip_reason"]) if row["skip_reason"] else None
    return Row(**{**{name: row[name] for name in Row.__slots__}, "outcome": outcome, "skip_reason": reason})
