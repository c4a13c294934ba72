"""Reads. An annotator reaches only assignments of their own; everybody else's look as if they did not exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    SQLColumnExpression,
    String,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.orm import Session, aliased

from app.accounts.models import Role, User
from app.annotations import gold
from app.annotations.gold import Standing, State
from app.annotations.models import Decision, Review
from app.annotations.recording import CORRECTS, as_draft, standing_annotation
from app.candidates.models import CUT, Candidate
from app.comparisons import given, seats
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.purposes import Asked, count_fresh
from app.judgements.vocabulary import EditPolicy, ShowFindings
from app.kernel.errors import NotFound
from app.kernel.markup import to_html
from app.prompts.models import CHECKABLE, Batch, BatchKind, BatchState, BatchTask, Prompt


@dataclass(frozen=True, slots=True)
class Work:
    """All that an annotator may know of an assignment. Texts are in the order shown; nothing says who wrote them."""

    id: int
    state: AssignmentState
    fencing_token: int
    lease_until: datetime
    lease_seconds: int
    draft: dict[str, Any] | None
    draft_version: int
    batch_id: int
    batch_name: str
    batch_state: BatchState
    deadline: datetime | None
    guidelines: str
    edit_policy: EditPolicy
    kind: BatchKind
    task: BatchTask
    attributes: list[dict[str, Any]]
    strength_examples: dict[str, str]
    guidelines_version: int
    prompt_id: int
    dialogue_id: int | None
    """Set where the prompt is a turn of a dialogue, which goes on afterwards."""
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    capability: str | None
    texts: list[str]
    cut: list[bool] | None
    """Which texts end where the token limit cut them off."""
    steps: list[list[dict[str, Any]] | None] | None = None
    """What came before each, where tools were called; None where no response may call any."""
    show_findings: ShowFindings = ShowFindings.AFTER
    checkable: bool = False
    """Whether there is something that responses can be checked against; what was found is fetched by the page."""
    annotation_id: int | None = None
    """What was submitted for it and stands; ``draft`` is then what it said."""
    corrects: int | None = None
    """The same, where it is open for correction."""
    returned_note: str | None = None
    """Why a reviewer gave it back; gone once a correction supersedes it."""
    retracted: bool = False
    """Whether an admin has taken the submission out: it is no longer used, and not corrected."""
    skip_reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it is only read: submitted or skipped, and not open for correction."""
        return self.state in {AssignmentState.SUBMITTED, AssignmentState.SKIPPED} and self.corrects is None

    def before(self, index: int) -> list[dict[str, Any]] | None:
        """What came before the text at a position."""
        return self.steps[index] if self.steps else None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Work of another kind that waits: where it is gone on with, or begun by sending ``batch_id`` there."""

    url: str
    batch_id: int | None
    """None where it is begun already, and ``url`` is it."""
    name: str
    words: str


ELSEWHERE: list[Callable[[Session, User], Sequence[Elsewhere]]] = []
"""What rooms above say of work that waits in them, for the page on which work is begun."""


def elsewhere(session: Session, user: User) -> list[Elsewhere]:
    """Work of other kinds that waits for ``user``."""
    return [each for find in ELSEWHERE for each in find(session, user)]


COUNT_UP_TO = 200
"""Counting stops here ("200+"): the page costs the same with ten and with a million comparisons waiting."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """An open or paused batch as one annotator sees it."""

    id: int
    name: str
    state: BatchState
    guidelines: str
    """How they begin."""
    begun: int
    """Items of this annotator that are neither submitted nor skipped, and whose seat is theirs or still free."""
    fresh: int
    """Comparisons with a free seat that this annotator has not met, with the known answers that are mixed into them."""
    standing: Standing = Standing(State.NONE)  # noqa: RUF009 - it is frozen
    """Where this annotator is with the batch's qualification."""
    tour_first: bool = False
    """Whether nothing new of it is given before this annotator has finished the tour."""
    quota_used: bool = False
    """Whether this annotator has had as many of its items as one person may have."""
    deadline: datetime | None = None
    overdue: bool = False

    @property
    def barred(self) -> bool:
        """Whether nothing new of the batch is given to this annotator."""
        return self.standing.state in {State.FAILED, State.NOT_READY}

    @property
    def qualifying(self) -> bool:
        """Whether items with a known answer come first."""
        return self.standing.state is State.ANSWERING

    @property
    def waiting(self) -> int:
        """What there is to do, up to COUNT_UP_TO."""
        if self.barred:
            return min(self.begun, COUNT_UP_TO)
        if self.qualifying:
            return max(self.begun, self.standing.needed - self.standing.answered)
        return min(self.begun + self.fresh, COUNT_UP_TO)

    @property
    def waiting_text(self) -> str:
        """The count in words."""
        return f"{COUNT_UP_TO}+" if self.waiting >= COUNT_UP_TO else str(self.waiting)

    @property
    def excerpt(self) -> str:
        """How the guidelines begin, without their markup."""
        return to_html(self.guidelines).striptags()


_shown = func.unnest(Assignment.order_shown).table_valued(column("id"), with_ordinality="place").render_derived("shown")
_texts = (
    select(func.array_agg(aggregate_order_by(Candidate.text, _shown.c.place), type_=ARRAY(String)))
    .select_from(_shown)
    .join(Candidate, Candidate.id == _shown.c.id)
    .correlate(Assignment)
    .scalar_subquery()
)
_sampled = aliased(Candidate, name="sampled")
_ENDING = 40
# How a response ended is said in these words alone: its text shows it as well, and a judge should not take the limit's doing
# for the model's. Of an edit that is verified it is true where the cut is still there, so that no purpose looks different.
_was_cut = case(
    (
        Candidate.edited_from_id.is_not(None),
        select(
            (_sampled.finish_reason == CUT)
            & (func.right(_sampled.text, _ENDING) == func.right(Candidate.text, _ENDING))
        )
        .where(_sampled.id == Candidate.edited_from_id)
        .correlate(Candidate)
        .scalar_subquery(),
    ),
    else_=Candidate.finish_reason == CUT,
)
_cut = (
    select(func.array_agg(aggregate_order_by(_was_cut, _shown.c.place), type_=ARRAY(Boolean)))
    .select_from(_shown)
    .join(Candidate, Candidate.id == _shown.c.id)
    .correlate(Assignment)
    .scalar_subquery()
)
_NO_TEXTS = cast([], ARRAY(String))
"""Where people write the answer."""
_steps = (
    select(func.jsonb_agg(aggregate_order_by(Candidate.steps, _shown.c.place)))
    .select_from(_shown)
    .join(Candidate, Candidate.id == _shown.c.id)
    .correlate(Assignment)
    .scalar_subquery()
)
_work = (
    select(
        Assignment.id,
        Assignment.state,
        Assignment.fencing_token,
        Assignment.lease_until,
        cast(func.extract("epoch", Assignment.lease_until - func.now()), Integer).label("lease_seconds"),
        Assignment.draft,
        Assignment.draft_version,
        Batch.id.label("batch_id"),
        Batch.name.label("batch_name"),
        Batch.state.label("batch_state"),
        Batch.deadline,
        Batch.guidelines,
        Batch.edit_policy,
        Batch.kind,
        Batch.task,
        Batch.attributes,
        Batch.strength_examples,
        Batch.guidelines_version,
        Prompt.id.label("prompt_id"),
        Prompt.dialogue_id,
        Prompt.messages,
        Prompt.tools,
        Prompt.capability,
        _cut.label("cut"),
        func.coalesce(_texts, _NO_TEXTS).label("texts"),
        case((Prompt.tools.is_not(None), _steps)).label("steps"),
        Batch.show_findings,
        CHECKABLE.label("checkable"),
        Assignment.skip_reason,
    )
    .join(Comparison, Comparison.id == Assignment.comparison_id)
    .join(Prompt, Prompt.id == Comparison.prompt_id)
    .join(Batch, Batch.id == Comparison.batch_id)
    .where(Assignment.id == bindparam("assignment"), Assignment.annotator_id == bindparam("annotator"))
)


def access_work(session: Session, user: User, assignment_id: int, *, correct: bool = False) -> Work:
    """What ``user`` was given to judge; of a submitted item, with what was said, and with ``correct`` open for correction.

    Raises:
        NotFound: no such assignment, or somebody else's.
    """
    values = {"assignment": assignment_id, "annotator": user.id}
    row = session.connection().execute(_work, values).one_or_none()
    if row is None:
        raise NotFound
    work = Work(**row._mapping)  # noqa: SLF001 - a row's public view of its columns by name
    return _with_annotation(session, work, correct) if work.state is AssignmentState.SUBMITTED else work


def _with_annotation(session: Session, work: Work, correct: bool) -> Work:  # noqa: FBT001 - only called above
    said = standing_annotation(session, work.id)
    if said is None:
        return work
    corrects = said.id if correct and not said.retraction_id and work.batch_state is not BatchState.CLOSED else None
    begun = work.draft if corrects and work.draft and work.draft.get(CORRECTS) == corrects else None
    latest = select(Review).where(Review.annotation_id == said.id).order_by(Review.id.desc()).limit(1)
    review = session.scalars(latest).one_or_none()
    returned = review is not None and review.verdict is Decision.RETURNED
    return replace(
        work,
        draft={name: each for name, each in begun.items() if name != CORRECTS}
        if begun
        else as_draft(session, said).model_dump(mode="json"),
        annotation_id=said.id,
        corrects=corrects,
        returned_note=review.note if review and returned and not said.retraction_id else None,
        retracted=said.retraction_id is not None,
    )


def active_assignment(session: Session, user: User, batch_id: int | None = None) -> int | None:
    """The id of the assignment that ``user`` holds in an open batch, without touching it."""
    query = (
        select(Assignment.id)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(
            Assignment.annotator_id == user.id,
            Assignment.state == AssignmentState.ACTIVE,
            Batch.state == BatchState.OPEN,
            Batch.kind == BatchKind.PROMPTS,  # a dialogue is gone on with where it was left
        )
        .order_by(Assignment.id)
        .limit(1)
    )
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    return session.scalar(query)


def visible_batches(session: Session, user: User) -> Sequence[OpenBatch]:
    """Open and paused batches with what waits in them for ``user``, the most urgent first: where "waiting" is decided.

    Those that are assigned to others are left out, unless ``user`` has begun something there. What
    :func:`app.annotations.service.next_assignment` would give counts, and nothing else; where the tour comes first, what it would
    give after that. An item that somebody stopped with waits for that person as long as its seat is free, or it could never be
    reached again.
    """
    found = []
    for row in session.execute(_visible(user)):
        if not (row.assigned or row.begun):
            continue
        batch = OpenBatch(
            row.id,
            row.name,
            row.state,
            row.guidelines,
            row.begun,
            with_known(row.fresh, row.mixed_in),
            tour_first=row.requires_tour and user.toured_at is None,
            quota_used=not row.within_quota,
            deadline=row.deadline,
            overdue=row.overdue,
        )
        if row.qualification_items and row.assigned and row.within_quota:
            asks = given.Open(batch.id, 0, row.qualification_items, row.qualification_percent)
            stands = gold.standing(session, user.id, asks)
            # staff make the known answers before there are any
            makes = stands.state is State.NOT_READY and user.role is not Role.ANNOTATOR
            batch = batch if makes else replace(batch, standing=stands)
        found.append(batch)
    return found


def others_only(session: Session, user: User) -> bool:
    """Whether a batch is open of which ``user`` gets nothing, because it is assigned to others."""
    theirs = ~given.assigned_to(literal(user.id, BigInteger), Batch.id)
    return session.scalar(select(Batch.id).where(Batch.state == BatchState.OPEN, theirs).limit(1)) is not None


def waiting_columns(
    batch_id: SQLColumnExpression[int], annotator: SQLColumnExpression[int]
) -> tuple[ColumnElement[int], ColumnElement[int], ColumnElement[int]]:
    """What waits in a batch for ``annotator``, with ``Batch`` in the statement: ``begun``, ``fresh`` and ``mixed_in``."""
    # Known answers are counted with the work that they are mixed into: or the number would tell who has just been given one.
    mixed_in = count_fresh(batch_id, annotator, Asked.KNOWN_ANSWER, up_to=COUNT_UP_TO)
    return (
        seats.begun(batch_id, annotator).label("begun"),
        count_fresh(batch_id, annotator, up_to=COUNT_UP_TO).label("fresh"),
        case((Batch.gold_percent > 0, mixed_in), else_=0).label("mixed_in"),
    )


def with_known(fresh: int, mixed_in: int) -> int:
    """Items that are new to somebody: known answers come only with other work."""
    return fresh + mixed_in if fresh else 0


def _visible(user: User) -> Select[Any]:
    annotator = literal(user.id, BigInteger)
    return (
        select(
            Batch.id,
            Batch.name,
            Batch.state,
            func.left(Batch.guidelines, 600).label("guidelines"),
            *waiting_columns(Batch.id, annotator),
            Batch.qualification_items,
            Batch.qualification_percent,
            Batch.requires_tour,
            given.assigned_to(annotator, Batch.id).label("assigned"),
            given.within_quota(annotator, Batch.id).label("within_quota"),
            Batch.deadline,
            given.OVERDUE.label("overdue"),
        )
        .where(cast(Batch.state, String).in_([BatchState.OPEN.value, BatchState.PAUSED.value]))
        .where(Batch.kind == BatchKind.PROMPTS)
        .order_by(*given.URGENCY)
    )
