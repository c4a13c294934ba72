"""Reads of quality: the annotations to review, known answers, and who is qualified. All of it is for staff.

Nothing here says which model wrote a response: reviewers are asked to judge as well. What they have been shown of an item is
noted where it is loaded, and the item is not given to them any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from markupsafe import Markup
from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.access import STAFF
from app.accounts.models import User
from app.annotations import gold
from app.annotations.models import STANDING, Annotation, Decision, GoldAnswer, Qualification, Review
from app.annotations.queues import BEGINNING
from app.comparisons.claims import WORKED_ON, in_work, mark_read
from app.comparisons.models import KNOWN_ANSWER_IN_USE, Comparison, Purpose
from app.comparisons.purposes import PURPOSES
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.kernel.paging import Order, Page, read_rows
from app.prompts.models import Batch, BatchState, Prompt

PAGE = 25
ITEMS_COUNTED = 100
"""Of known answers that are left; no batch asks for so many."""
BATCHES_OFFERED = 200


class Show(StrEnum):
    """Which annotations a reviewer wants to see."""

    ALL = "all"
    UNREVIEWED = "unreviewed"
    RETURNED = "returned"
    EDITED = "edited"
    FLAGGED = "flagged"
    DOUBTED = "doubted"
    """A reward model contradicted the first judgement with confidence, and a second person has judged as well."""
    AGAINST_GOLD = "against_gold"
    """Answers to items with a known answer that say something else."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filter of the review list."""

    batch_id: int | None = None
    annotator: str = ""
    """A pseudonym."""
    outcome: Outcome | None = None
    show: Show = Show.ALL


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation of the list."""

    id: int
    prompt_id: int
    batch_name: str
    prompt: str
    annotator: str
    outcome: str
    edited: bool
    flagged: bool
    purpose: Purpose
    verdict: Decision | None
    at: datetime

    @property
    def purpose_words(self) -> str:
        """Why the item exists, where it is not to be collected."""
        return (words := PURPOSES[self.purpose].words) and _(words)


@dataclass(frozen=True, slots=True)
class GoldRow:
    """An item with a known answer."""

    id: int
    prompt_id: int
    batch_id: int
    batch_name: str
    batch_state: BatchState
    prompt: str
    outcome: Outcome
    explanation: str
    from_annotation_id: int | None
    answered: int
    retired: bool

    @property
    def explained(self) -> Markup:
        """The explanation as markup."""
        return to_html(self.explanation)


@dataclass(frozen=True, slots=True)
class QualifiedRow:
    """What somebody reached in the qualification of a batch."""

    batch_id: int
    batch_name: str
    user_id: int
    annotator: str
    answered: int
    correct: int
    passed: bool
    items_left: int
    """Known answers of the batch that this person could still be asked, those begun included."""
    items_needed: int


_later = aliased(Review)
_verdict = (
    select(_later.verdict)
    .where(_later.annotation_id == Annotation.id)
    .order_by(_later.id.desc())
    .limit(1)
    .scalar_subquery()
)
is_right = and_(
    Annotation.outcome == GoldAnswer.outcome,
    or_(
        GoldAnswer.best_candidate_id.is_(None),
        Annotation.ranking[0] == func.jsonb_build_array(GoldAnswer.best_candidate_id),
    ),
)
"""Whether an annotation is the known answer: :func:`app.annotations.gold.is_right` as a condition."""
_is_flagged = Annotation.flags != {}
_shows: dict[Show, ColumnElement[bool]] = {
    Show.UNREVIEWED: _verdict.is_(None),
    Show.RETURNED: _verdict == Decision.RETURNED,
    Show.EDITED: Annotation.edited_candidate_id.is_not(None),
    Show.FLAGGED: _is_flagged,
    # told too early, it would sway whoever is asked next
    Show.DOUBTED: and_(
        Comparison.doubted_by_id.is_not(None), Comparison.annotators_done >= Comparison.annotators_wanted
    ),
    Show.AGAINST_GOLD: select(GoldAnswer.comparison_id)
    .where(GoldAnswer.comparison_id == Annotation.comparison_id, ~is_right)
    .correlate(Annotation)
    .exists(),
}


def _found(query: Select[Any], reader: User, wanted: Wanted) -> Select[Any]:
    """What stands, without what the reader is judging at this moment: that judgement has to be their own."""
    reviewable = and_(STANDING, Comparison.prompt_id.not_in(in_work(reader.id)))
    query = query.join(Comparison, Comparison.id == Annotation.comparison_id).where(reviewable)
    if wanted.batch_id is not None:
        query = query.where(Comparison.batch_id == wanted.batch_id)
    if wanted.annotator:
        who = select(User.id).where(User.pseudonym == wanted.annotator).scalar_subquery()
        query = query.where(Annotation.annotator_id == who)
    if wanted.outcome is not None:
        query = query.where(Annotation.outcome == wanted.outcome)
    return query.where(_shows[wanted.show]) if wanted.show in _shows else query


def review_page(
    session: Session, reader: User, wanted: Wanted, *, before: int | None = None, limit: int = PAGE
) -> Page[Row]:
    """One page of the annotations that ``wanted`` keeps, newest first. Shown is read: the outcome stands in the list."""
    query = select(
        Annotation.id,
        Comparison.prompt_id,
        Batch.name,
        func.left(Prompt.messages[-1]["content"].astext, BEGINNING),
        User.pseudonym,
        Annotation.outcome,
        Annotation.ranking,
        Annotation.order_shown,
        Annotation.edited_candidate_id.is_not(None),
        _is_flagged,
        Comparison.purpose,
        _verdict,
        Annotation.created_at,
    )
    query = (
        _found(query, reader, wanted)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(User, User.id == Annotation.annotator_id)
    )
    page = read_rows(session, query, Order(Annotation.id), before, limit).map(lambda row: _row(*row))
    mark_read(session, reader.id, (row.prompt_id for row in page.rows if row.annotator != reader.pseudonym))
    return page


def _row(
    key: int,
    prompt_id: int,
    batch: str,
    prompt: str,
    who: str,
    outcome: Outcome,
    ranking: list[list[int]],
    shown: list[int],
    *rest: Any,
) -> Row:
    return Row(key, prompt_id, batch, prompt, who, in_words(outcome, ranking, shown), *rest)


def neighbours(session: Session, reader: User, wanted: Wanted, annotation_id: int) -> tuple[int | None, int | None]:
    """The annotations above and below ``annotation_id`` in the list, for walking through it."""
    above = _found(select(Annotation.id), reader, wanted).where(Annotation.id > annotation_id).order_by(Annotation.id)
    below = _found(select(Annotation.id), reader, wanted).where(Annotation.id < annotation_id)
    below = below.order_by(Annotation.id.desc())
    return session.scalar(above.limit(1)), session.scalar(below.limit(1))


def access_annotation(session: Session, user: User, annotation_id: int) -> Annotation:
    """An annotation with its annotator, as long as it is not of an item that ``user`` is judging.

    Raises:
        NotFound: no such annotation, or not for this user.
    """
    found = session.scalars(
        select(Annotation)
        .where(Annotation.id == annotation_id)
        .options(joinedload(Annotation.annotator), joinedload(Annotation.comparison))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None or user.role not in STAFF:
        raise NotFound
    prompt_id = found.comparison.prompt_id
    _refuse_in_work(session, user, prompt_id)
    if found.annotator_id != user.id:
        mark_read(session, user.id, [prompt_id])
    return found


def _refuse_in_work(session: Session, user: User, prompt_id: int) -> None:
    if session.scalar(in_work(user.id).where(WORKED_ON.prompt_id == prompt_id).limit(1)) is not None:
        raise NotFound(
            _("You are judging this item yourself: submit or skip it first, so that your judgement stays independent.")
        )


def gold_of_prompt(session: Session, annotation: Annotation) -> GoldAnswer | None:
    """The known answer of the prompt that an annotation is about, if it has one."""
    return session.scalars(
        select(GoldAnswer)
        .join(Comparison, Comparison.id == GoldAnswer.comparison_id)
        .where(Comparison.prompt_id == annotation.comparison.prompt_id)
    ).one_or_none()


def access_gold(session: Session, user: User, comparison_id: int) -> Comparison:
    """An item with a known answer, as long as ``user`` is not judging its prompt.

    Raises:
        NotFound: no such item, or not for this user.
    """
    found = session.get(Comparison, comparison_id)
    if found is None or found.purpose is not Purpose.GOLD or user.role not in STAFF:
        raise NotFound
    _refuse_in_work(session, user, found.prompt_id)
    return found


def list_gold(
    session: Session, reader: User, *, batch_id: int | None = None, before: int | None = None, limit: int = PAGE
) -> Page[GoldRow]:
    """Items with a known answer, newest first, without what ``reader`` is judging at this moment. Shown is read."""
    query = (
        select(
            Comparison.id,
            Comparison.prompt_id,
            Batch.id,
            Batch.name,
            Batch.state,
            func.left(Prompt.messages[-1]["content"].astext, BEGINNING),
            GoldAnswer.outcome,
            GoldAnswer.explanation,
            GoldAnswer.from_annotation_id,
            Comparison.annotators_done,
            not_(KNOWN_ANSWER_IN_USE),
        )
        .join(GoldAnswer, GoldAnswer.comparison_id == Comparison.id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .where(Comparison.prompt_id.not_in(in_work(reader.id)))
    )
    if batch_id is not None:
        query = query.where(Comparison.batch_id == batch_id)
    page = read_rows(session, query, Order(Comparison.id), before, limit).map(lambda row: GoldRow(*row))
    mark_read(session, reader.id, (row.prompt_id for row in page.rows))
    return page


def list_qualifications(session: Session, batch_id: int | None = None, limit: int = 200) -> list[QualifiedRow]:
    """Decided qualifications, newest first, with what is left for another attempt."""
    left = gold.available(Qualification.batch_id, Qualification.user_id, up_to=ITEMS_COUNTED)
    query = (
        select(
            Batch.id,
            Batch.name,
            User.id,
            User.pseudonym,
            Qualification.answered,
            Qualification.correct,
            Qualification.passed,
            left,
            Batch.qualification_items,
        )
        .select_from(Qualification)
        .join(Batch, Batch.id == Qualification.batch_id)
        .join(User, User.id == Qualification.user_id)
        .where(Qualification.answered > 0)
        .order_by(Qualification.decided_at.desc(), User.id)
        .limit(limit)
    )
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    return [QualifiedRow(*row) for row in session.execute(query)]


def access_batch(session: Session, user: User, batch_id: int) -> Batch:
    """A batch, for staff.

    Raises:
        NotFound: no such batch, or not for this user.
    """
    batch = session.get(Batch, batch_id)
    if batch is None or user.role not in STAFF:
        raise NotFound
    return batch


def batches_offered(session: Session) -> list[tuple[int, str]]:
    """Batches to filter by, newest first."""
    query = select(Batch.id, Batch.name).order_by(Batch.id.desc()).limit(BATCHES_OFFERED)
    return [(row.id, row.name) for row in session.execute(query)]
