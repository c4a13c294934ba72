"""Reads of the desk: annotations by what they say, and all judgements of an item side by side. All of it is for staff.

What an annotation says, and the grams of its text, are terms of one index; the rest is read. So a page takes the next few
annotations that the index gives and reads those, then ``WINDOW`` of them: it costs the same with a thousand and with a million,
and where few are left of what was read, the page is short and goes on behind them.

Shown is read: whoever sees a judgement here is not given its item any more, and an item that the reader is judging is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, func, literal, literal_column, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations import texts
from app.annotations.models import OVERRULED, STANDING, Adjudication, Annotation, AnnotationText, Decision, Review
from app.annotations.queues import BEGINNING
from app.comparisons import asking
from app.comparisons.claims import in_work, mark_read
from app.comparisons.models import Assignment, Comparison, Purpose
from app.comparisons.purposes import PURPOSES
from app.desk.models import DeskView
from app.findings.models import STANDS, Check, Finding
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.kernel import grams
from app.kernel.locales import gettext as _
from app.kernel.paging import Order, Page
from app.loops.models import Round
from app.prompts.models import LANGUAGE, Batch, Prompt

PAGE = 50
WINDOW = 3_000
"""Annotations that are read for a page at most."""
AT_ONCE = 1_000
"""Annotations that can be chosen and acted on at once."""
WINDOWS = 10
"""Windows that choosing all that match reads at most."""


class Sort(StrEnum):
    """What comes first. By speed those alone whose work was timed."""

    NEWEST = "newest"
    OLDEST = "oldest"
    QUICKEST = "quickest"
    SLOWEST = "slowest"


class Reviewed(StrEnum):
    """What reviewers have made of it."""

    NOBODY = "not-reviewed"
    ACCEPTED = "accepted"
    RETURNED = "returned"
    ADJUDICATED = "adjudicated"
    """A reviewer said which judgement of its item holds."""


class Failed(StrEnum):
    """What a check found failing."""

    CHOSEN = "chosen"
    """A response in first place."""
    EDIT = "edit"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which annotations: all that stand, but for what is given."""

    text: str = ""
    """Words and, in quotes, phrases: of the prompt, the chosen response, the edit and the comment."""
    batch_id: int | None = None
    round: int | None = None
    """Its number."""
    annotator: str = ""
    """A pseudonym."""
    outcome: Outcome | None = None
    strength: int | None = None
    """Of any two places that follow each other."""
    edited: bool | None = None
    disagreed: bool | None = None
    """Whether another annotator of the item put something else first, or came to another outcome."""
    attribute: str = ""
    """A name and a level, of any response: ``helpful=3``."""
    flag: str = ""
    failed: Failed | None = None
    reviewed: Reviewed | None = None
    language: str = ""
    """A code."""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is out."""
    sort: Sort = Sort.NEWEST

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, each.name) not in (None, "") for each in fields(self) if each.name != "sort")


@dataclass(frozen=True, slots=True)
class Row:
    """One annotation of the table."""

    id: int
    prompt_id: int
    batch_id: int
    batch_name: str
    prompt: str
    pseudonym: str
    name: str
    """Of its annotator: for admins alone."""
    outcome: str
    edited: bool
    flagged: bool
    purpose: Purpose
    disagreed: bool
    overruled: bool
    holds: bool
    """Whether a reviewer chose it as the judgement of its item that holds."""
    retracted: bool
    assigned: bool
    """Whether its item waits for somebody who was asked for one more judgement of it."""
    verdict: Decision | None
    seen: int
    """Of its latest review, 0 where there is none: who acts on it says what they had before them."""
    seconds: float | None
    at: datetime

    @property
    def purpose_words(self) -> str:
        """Why the item exists, where it is not to be collected."""
        return (words := PURPOSES[self.purpose].words) and _(words)


@dataclass(frozen=True, slots=True)
class Chosen:
    """All that match: each with its latest review. ``whole``: there are no more."""

    rows: list[tuple[int, int]]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """Annotations that the index gave, in order, and where the next ones begin; None where there are none."""

    ids: list[int] = field(default_factory=list)
    edge: int | None = None


_other = aliased(Annotation, name="other")
_first, _others_first = Annotation.ranking[0], _other.ranking[0]
_another_first = not_(and_(_first.contains(_others_first), _others_first.contains(_first)))
DISAGREED = (
    select(literal_column("1"))
    .where(
        _other.comparison_id == Annotation.comparison_id,
        _other.id != Annotation.id,
        _other.superseded_by_id.is_(None),
        _other.withdrawn_at.is_(None),
        _other.retraction_id.is_(None),
        or_(
            _other.outcome != Annotation.outcome,
            and_(Annotation.outcome == literal_column(f"'{Outcome.RANKED}'"), _another_first),
        ),
    )
    .correlate(Annotation)
    .exists()
)
_any = aliased(Review, name="any_review")
latest_review = (
    select(_any.id)
    .where(_any.annotation_id == Annotation.id)
    .order_by(_any.id.desc())
    .limit(1)
    .correlate(Annotation)
    .scalar_subquery()
)
_of_item = and_(Adjudication.comparison_id == Annotation.comparison_id, Adjudication.ended_at.is_(None))
_adjudicated = select(literal_column("1")).where(_of_item).correlate(Annotation).exists()
_holds = (
    select(literal_column("1"))
    .where(_of_item, Adjudication.annotation_id == Annotation.id)
    .correlate(Annotation)
    .exists()
)
_is_asked: Select[Any] = select(literal_column("1")).where(Assignment.comparison_id == Annotation.comparison_id)
_fails: Select[Any] = (
    select(literal_column("1")).select_from(Finding).join(Check, STANDS).where(Finding.passed.is_(False))
)
_failed: dict[Failed, ColumnElement[bool]] = {
    Failed.EDIT: _fails.where(Finding.annotation_id == Annotation.id).correlate(Annotation).exists(),
    Failed.CHOSEN: _fails.where(
        Finding.candidate_id == func.any(Annotation.order_shown),
        _first.contains(func.jsonb_build_array(Finding.candidate_id)),
    )
    .correlate(Annotation)
    .exists(),
}
_returned = select(Review.annotation_id).where(Review.verdict == literal_column(f"'{Decision.RETURNED}'"))


def desk_page(
    session: Session, reader: User, wanted: Wanted, *, before: int | None = None, limit: int = PAGE
) -> Page[Row]:
    """One page of what ``wanted`` keeps; it may be short, and others follow all the same."""
    texts.catch_up(session)
    page: Page[Row] = Page([], None)
    for window in sorted({min(4 * limit, WINDOW), WINDOW}):
        found = _indexed(session, wanted, before, window)
        rows = [_row(row) for row in session.execute(_read(reader, wanted, found.ids).limit(limit + 1))]
        page = Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else found.edge)
        if len(rows) > limit or found.edge is None:
            break
    mark_read(session, reader.id, (row.prompt_id for row in page.rows if row.pseudonym != reader.pseudonym))
    return page


def choose(session: Session, reader: User, wanted: Wanted) -> Chosen:
    """All that ``wanted`` keeps, up to ``AT_ONCE``. That they match says something of each, so they are read."""
    texts.catch_up(session)
    rows: list[tuple[int, int, int, int]] = []
    before: int | None = None
    for _window in range(WINDOWS):
        found = _indexed(session, wanted, before, WINDOW)
        query = _read(reader, wanted, found.ids).with_only_columns(
            Annotation.id, func.coalesce(latest_review, 0), Comparison.prompt_id, Annotation.annotator_id
        )
        rows += [tuple(row) for row in session.execute(query.limit(AT_ONCE + 1 - len(rows)))]
        before = found.edge
        if before is None or len(rows) > AT_ONCE:
            break
    chosen = rows[:AT_ONCE]
    mark_read(session, reader.id, (prompt for _, _, prompt, who in chosen if who != reader.id))
    return Chosen([(key, seen) for key, seen, _, _ in chosen], len(rows) <= AT_ONCE and before is None)


def views_of(session: Session, user: User) -> list[DeskView]:
    """The views that ``user`` keeps, by name."""
    return list(session.scalars(select(DeskView).where(DeskView.user_id == user.id).order_by(DeskView.name)))


def _indexed(session: Session, wanted: Wanted, before: int | None, window: int) -> _Found:
    """The next ``window`` annotations that the index finds."""
    query = select(AnnotationText.annotation_id).where(*_index(session, wanted))
    ids = list(session.scalars(_order(wanted).apply(query, before).limit(window)))
    return _Found(ids, ids[-1] if len(ids) == window else None)


def _index(session: Session, wanted: Wanted) -> list[ColumnElement[bool]]:
    terms = [*map(grams.quoted, _facets(session, wanted)), *grams.seek(wanted.text).terms]
    found: list[ColumnElement[bool]] = []
    if terms:
        found.append(AnnotationText.terms.bool_op("@@")(cast(grams.conjunction(terms), TSQUERY)))
    if wanted.since is not None:
        found.append(AnnotationText.moment >= wanted.since)
    if wanted.until is not None:
        found.append(AnnotationText.moment < wanted.until)
    if wanted.sort in {Sort.QUICKEST, Sort.SLOWEST}:
        found.append(AnnotationText.seconds.is_not(None))
    if wanted.reviewed is Reviewed.RETURNED:  # few of all, and they have an index of their own
        found.append(AnnotationText.annotation_id.in_(_returned))
    if wanted.reviewed is Reviewed.ADJUDICATED:
        of_some = select(Adjudication.comparison_id).where(Adjudication.ended_at.is_(None))
        found.append(
            AnnotationText.annotation_id.in_(select(Annotation.id).where(Annotation.comparison_id.in_(of_some)))
        )
    return found


def _facets(session: Session, wanted: Wanted) -> list[str]:
    """What the index knows of it. Of a round and a person that there are not, a facet that nothing has."""
    given: dict[str, object] = {
        "batch": wanted.batch_id,
        "outcome": wanted.outcome and wanted.outcome.value,
        "strength": wanted.strength,
        "edited": 1 if wanted.edited else None,
        "attribute": wanted.attribute,
        "flag": wanted.flag,
    }
    if wanted.round is not None:
        given["round"] = session.scalar(select(Round.id).where(Round.number == wanted.round)) or "none"
    if wanted.annotator:
        given["by"] = session.scalar(select(User.id).where(User.pseudonym == wanted.annotator)) or "nobody"
    return [texts.facet(kind, value) for kind, value in given.items() if value]


def _order(wanted: Wanted) -> Order:
    timed = wanted.sort in {Sort.QUICKEST, Sort.SLOWEST}
    column = AnnotationText.seconds if timed else AnnotationText.moment
    last = aliased(AnnotationText)
    at = select(last.seconds if timed else last.moment)
    return Order(
        AnnotationText.annotation_id,
        column,
        lambda key: at.where(last.annotation_id == key).scalar_subquery(),
        oldest_first=wanted.sort in {Sort.OLDEST, Sort.QUICKEST},
    )


def _read(reader: User, wanted: Wanted, ids: Sequence[int]) -> Select[Any]:
    """Those of ``ids`` that ``wanted`` keeps, in its order."""
    query = (
        select(
            Annotation.id,
            Comparison.prompt_id,
            Batch.id,
            Batch.name,
            func.left(Prompt.messages[-1]["content"].astext, BEGINNING),
            User.pseudonym,
            User.name,
            Annotation.outcome,
            Annotation.ranking,
            Annotation.order_shown,
            Annotation.strengths,
            Annotation.edited_text.is_not(None),
            Annotation.flags != {},
            Comparison.purpose,
            DISAGREED,
            OVERRULED,
            _holds,
            Annotation.retraction_id.is_not(None),
            _is_asked.where(asking.waits()).correlate(Annotation).exists(),
            Review.verdict,
            func.coalesce(Review.id, 0),
            AnnotationText.seconds,
            Annotation.created_at,
        )
        .select_from(AnnotationText)
        .join(Annotation, Annotation.id == AnnotationText.annotation_id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(User, User.id == Annotation.annotator_id)
        .outerjoin(Review, Review.id == latest_review)
        .where(AnnotationText.annotation_id == func.any(literal(list(ids), ARRAY(BigInteger))))
        .where(STANDING, Comparison.prompt_id.not_in(in_work(reader.id)), *_conditions(wanted))
    )
    return _order(wanted).apply(query, None)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What only reading an annotation can tell."""
    found: list[ColumnElement[bool]] = [
        func.strpos(AnnotationText.folded, needle) > 0 for needle in grams.seek(wanted.text).needles
    ]
    if wanted.edited is False:
        found.append(Annotation.edited_text.is_(None))
    if wanted.disagreed is not None:
        found.append(DISAGREED if wanted.disagreed else ~DISAGREED)
    if wanted.failed is not None:
        found.append(_failed[wanted.failed])
    if wanted.language:
        found.append(LANGUAGE.in_([wanted.language]))
    if wanted.reviewed is Reviewed.ADJUDICATED:
        found.append(_adjudicated)
    elif wanted.reviewed is Reviewed.NOBODY:
        found.append(Review.id.is_(None))
    elif wanted.reviewed is not None:
        found.append(Review.verdict == Decision(wanted.reviewed.value))
    return found


def _row(row: Any) -> Row:
    key, prompt_id, batch_id, batch, prompt, who, name, outcome, ranking, shown, strengths, *rest = row
    words = in_words(Outcome(outcome), ranking, shown, strengths)
    return Row(key, prompt_id, batch_id, batch, prompt, who, name, words, *rest)
