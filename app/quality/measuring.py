"""Reads the numbers of :mod:`app.quality.statistics`: each is one statement, for one person or for a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.annotations.models import COUNTS, Annotation, GoldAnswer
from app.candidates.models import Candidate
from app.comparisons.models import Comparison, Purpose
from app.judgements.vocabulary import Outcome
from app.kernel.paging import Order, Page, read_page
from app.prompts.models import Batch
from app.quality.queries import is_right
from app.quality.statistics import Share, Statistics, in_tens

PAGE = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """Somebody with their numbers."""

    user_id: int
    pseudonym: str
    name: str
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Edits:
    """How the edits of a batch fared in front of others."""

    batch_id: int
    batch_name: str
    preferred: Share


_first, _second = aliased(Candidate, name="first"), aliased(Candidate, name="second")
_chosen = cast(Annotation.ranking[0][0].astext, BigInteger)
_shown = Annotation.order_shown
_is_pair = and_(Annotation.outcome == Outcome.RANKED, func.cardinality(_shown) == 2)
_lengths = (func.char_length(_first.text), func.char_length(_second.text))
_longer_chosen = or_(
    and_(_lengths[0] > _lengths[1], _chosen == _first.id), and_(_lengths[1] > _lengths[0], _chosen == _second.id)
)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _work(people: Sequence[int]) -> Select[Any]:
    """Annotations, timed ones and their median, pairs with the first preferred, unequal pairs with the longer preferred.

    What is returned or retracted counts here as little as in an export. Of every purpose: a number that did not move with a
    known answer would tell which item had one.
    """
    return (
        select(
            Annotation.annotator_id,
            func.count(),
            func.count(Annotation.active_seconds),
            func.percentile_cont(0.5).within_group(Annotation.active_seconds),
            _count(and_(_is_pair, _chosen == _shown[1])),
            _count(_is_pair),
            _count(and_(_is_pair, _longer_chosen)),
            _count(and_(_is_pair, _lengths[0] != _lengths[1])),
        )
        .outerjoin(_first, and_(_is_pair, _first.id == _shown[1]))
        .outerjoin(_second, and_(_is_pair, _second.id == _shown[2]))
        .where(Annotation.annotator_id.in_(people), COUNTS)
        .group_by(Annotation.annotator_id)
    )


def _gold(people: Sequence[int]) -> Select[Any]:
    """Whether each first answer to an item with a known one was right, and when, in the order in which they were given."""
    first = (
        select(Annotation.id, Annotation.annotator_id, is_right.label("right"), Annotation.created_at)
        .join(GoldAnswer, GoldAnswer.comparison_id == Annotation.comparison_id)
        .where(Annotation.annotator_id.in_(people))
        .ext(distinct_on(Annotation.assignment_id))
        .order_by(Annotation.assignment_id, Annotation.id)
        .subquery()
    )
    return select(first.c.annotator_id, first.c.right, first.c.created_at).order_by(first.c.id)


_author = aliased(Annotation, name="author")
_edit = aliased(Candidate, name="edit")


def _edits() -> Select[Any]:
    """Judgements of edits by others, joined to the annotation with the edit and to the edit itself."""
    return (
        select()
        .select_from(Annotation)
        .join(Comparison, and_(Comparison.id == Annotation.comparison_id, Comparison.purpose == Purpose.VERIFY_EDIT))
        .join(_author, _author.id == Comparison.verifies_id)
        .join(_edit, and_(_edit.id == func.any(_shown), _edit.edited_from_id.is_not(None)))
        .where(COUNTS)
    )


_edit_preferred = _count(and_(Annotation.outcome == Outcome.RANKED, _chosen == _edit.id))


def measure(session: Session, people: Sequence[int], *, exact: bool) -> dict[int, Statistics]:
    """The numbers of ``people``. For their own eyes ``exact`` is off: known answers are then counted in tens."""
    work = {row[0]: row[1:] for row in session.execute(_work(people))}
    answers: dict[int, list[bool]] = {}
    for who, right, _ in session.execute(_gold(people)):
        answers.setdefault(who, []).append(right)
    query = _edits().add_columns(_author.annotator_id, _edit_preferred, func.count())
    query = query.where(_author.annotator_id.in_(people)).group_by(_author.annotator_id)
    edits = {who: Share(k, n) for who, k, n in session.execute(query)}
    made = {}
    for who in people:
        total, timed, median, first, pairs, longer, unequal = work.get(who, (0, 0, None, 0, 0, 0, 0))
        known = answers.get(who, [])
        made[who] = Statistics(
            annotations=total,
            gold=Share(sum(known), len(known)) if exact else in_tens(known),
            median_seconds=median,
            timed=timed,
            first_preferred=Share(first, pairs),
            longer_preferred=Share(longer, unequal),
            edits_preferred=edits.get(who, Share(0, 0)),
        )
    return made


def gold_by_week(session: Session, user_id: int) -> list[tuple[date, Share]]:
    """One person's agreement with known answers by week, each named by its Monday in UTC. For staff: it is not in tens."""
    weeks: dict[date, list[bool]] = {}
    for _, right, at in session.execute(_gold([user_id])):
        day = at.astimezone(UTC).date()
        weeks.setdefault(day - timedelta(day.weekday()), []).append(right)
    return [(week, Share(sum(answers), len(answers))) for week, answers in sorted(weeks.items())]


def annotators(session: Session, *, after: int | None = None, limit: int = PAGE) -> Page[Measured]:
    """People who have submitted anything, in the order in which they joined, with their numbers."""
    has_work = select(Annotation.id).where(Annotation.annotator_id == User.id).exists()
    people = read_page(session, select(User).where(has_work), Order(User.id, oldest_first=True), after, limit)
    numbers = measure(session, [user.id for user in people.rows], exact=True)
    return people.map(lambda user: Measured(user.id, user.pseudonym, user.name, numbers[user.id]))


def edits_by_batch(session: Session, limit: int = 200) -> list[Edits]:
    """How often edits were preferred to their originals, by batch, newest first."""
    query = (
        _edits()
        .add_columns(Batch.id, Batch.name, _edit_preferred, func.count())
        .join(Batch, Batch.id == Comparison.batch_id)
        .group_by(Batch.id, Batch.name)
        .order_by(Batch.id.desc())
        .limit(limit)
    )
    return [Edits(batch_id, name, Share(k, n)) for batch_id, name, k, n in session.execute(query)]
