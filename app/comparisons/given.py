"""Whom a batch gives new work: everybody, or those whom it is assigned to; nobody who is barred; each as much as its quota.

Whatever hands work out or counts it asks here. What somebody has begun is not asked about: it stays with them, whatever is
changed.

Arguments named ``annotator`` and ``batch`` are ids, and may be columns of the statement around these. In a claim both are
parameters: it asks once, and not for each item that it steps over.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from app.accounts.models import Role, TeamMember, User
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.seats import IN_BATCH, ONE, written_out
from app.prompts.models import Batch, BatchKind, BatchPerson, BatchState, BatchTeam, GuidelineReading, Priority

Id = SQLColumnExpression[int]


class Open(NamedTuple):
    """An open batch that gives somebody new items, with what decides which of its items come first."""

    id: int
    gold_percent: int
    qualification_items: int
    qualification_percent: int
    requires_tour: bool = False
    readers_only: bool = False
    is_new: bool = True
    """Whether they have not been given anything of it yet."""


_asked = aliased(Batch, name="asked")
_person = aliased(BatchPerson, name="person")
_team = aliased(BatchTeam, name="team")
_member = aliased(TeamMember, name="member")
_had = aliased(Assignment, name="had")
_item = aliased(Comparison, name="item")


def assigned_to(annotator: Id, batch: Id) -> ColumnElement[bool]:
    """Whether a batch is assigned to ``annotator``, or to nobody in particular, and they are not barred from it."""
    barred = _barred(annotator, batch)
    # with a LIMIT, as everything that a claim looks up: a join would be planned by statistics of almost nothing
    is_in = select(_member.team_id).where(_member.user_id == annotator, _member.team_id == _team.team_id).limit(ONE)
    in_team = (
        select(_team.team_id)
        .where(_team.batch_id == batch, is_in.correlate_except(_member).scalar_subquery().is_not(None))
        .limit(ONE)
        .correlate_except(_team)
        .scalar_subquery()
    )
    restricted = select(_asked.assigned_only).where(_asked.id == batch).correlate_except(_asked).scalar_subquery()
    return and_(barred.is_not(True), or_(restricted.is_(False), barred.is_(False), in_team.is_not(None)))


def is_barred(annotator: Id, batch: Id) -> ColumnElement[bool]:
    """Whether ``annotator`` gets nothing new of a batch, whatever their teams."""
    return _barred(annotator, batch).is_(True)


def _barred(annotator: Id, batch: Id) -> ScalarSelect[bool]:
    """Null where they are not named."""
    named = select(_person.barred).where(_person.batch_id == batch, _person.user_id == annotator)
    return named.correlate_except(_person).scalar_subquery()


def annotators_of(batch: Id) -> Select[int]:
    """The ids of all annotators with an open account whom a batch is assigned to."""
    return select(User.id).where(User.role == Role.ANNOTATOR, User.disabled_at.is_(None), assigned_to(User.id, batch))


def within_quota(annotator: Id, batch: Id, had: ColumnElement[int] | None = None) -> ColumnElement[bool]:
    """Whether a batch has more for ``annotator`` by its quota; ``had`` is how much of it they have had, else :func:`items_had`.

    It is counted only where there is a quota, over what the person has judged or over the items of the batch, whichever is less.
    """
    more = or_(_asked.quota.is_(None), (items_had(annotator, batch) if had is None else had) < _asked.quota)
    return select(more).where(_asked.id == batch).correlate_except(_asked).scalar_subquery()


def items_had(annotator: Id, batch: Id) -> ColumnElement[int]:
    """How many items of a batch ``annotator`` has judged or begun, without those that they skipped or others have finished."""
    finished = and_(
        _had.state == written_out(AssignmentState.RELEASED), _item.annotators_done >= _item.annotators_wanted
    )
    return (
        select(func.count())
        .select_from(_had)
        .join(_item, _item.id == _had.comparison_id)
        .where(
            _had.annotator_id == annotator,
            _item.batch_id == batch,
            _had.state != written_out(AssignmentState.SKIPPED),
            ~finished,
        )
        .correlate_except(_had, _item)
        .scalar_subquery()
    )


def gives(annotator: Id, batch: Id) -> ColumnElement[bool]:
    """Whether a batch gives ``annotator`` new items."""
    return and_(assigned_to(annotator, batch), within_quota(annotator, batch))


def readers_only(batch: Id) -> ColumnElement[bool]:
    """Whether items of a batch that are in a known language go to nobody who has not said that they read it."""
    return select(_asked.readers_only).where(_asked.id == batch).correlate_except(_asked).scalar_subquery()


def _level(priority: SQLColumnExpression[Any]) -> ColumnElement[int]:
    """0 for the highest."""
    levels = zip(reversed(Priority), (literal_column(str(each), Integer) for each in range(len(Priority))), strict=True)
    return case(*((priority == written_out(each), level) for each, level in levels))


URGENCY: tuple[SQLColumnExpression[Any], ...] = (_level(Batch.priority), Batch.deadline.asc().nulls_last(), Batch.id)
"""The order in which people are given batches: by priority, then those that are due first, then the oldest."""
OVERDUE: ColumnElement[bool] = and_(
    Batch.state != written_out(BatchState.CLOSED), func.coalesce(Batch.deadline < func.now(), literal_column("false"))
)
"""Whether a batch should be done by now, by the database's clock."""
_above = _level(Batch.priority) < (
    select(_level(_asked.priority))
    .where(_asked.id == bindparam("batch", type_=BigInteger))
    .correlate_except(_asked)
    .scalar_subquery()
)
"""Whether a batch has a higher priority than the one that a statement is asked about."""

_open_batches = (
    select(
        Batch.id,
        Batch.gold_percent,
        Batch.qualification_items,
        Batch.qualification_percent,
        Batch.requires_tour,
        Batch.readers_only,
        # looked up for each batch: EXISTS might be answered from a hash of all readings
        select(GuidelineReading.version)
        .where(
            GuidelineReading.batch_id == Batch.id, GuidelineReading.user_id == bindparam("annotator", type_=BigInteger)
        )
        .scalar_subquery()
        .is_(None),
    )
    .where(
        Batch.state == written_out(BatchState.OPEN),
        Batch.kind == written_out(BatchKind.PROMPTS),
        or_(IN_BATCH, and_(bindparam("or_above", type_=Boolean), _above)),
        gives(bindparam("annotator", type_=BigInteger), Batch.id),
    )
    .order_by(*URGENCY)
)


def open_batches(session: Session, annotator_id: int, batch_id: int | None, *, or_above: bool = False) -> list[Open]:
    """Open batches that give ``annotator_id`` new items, in order of urgency.

    With ``batch_id`` at most that one; ``or_above`` those of higher priority too, which come first.
    """
    values = {"annotator": annotator_id, "batch": batch_id, "or_above": or_above}
    return [Open(*row) for row in session.connection().execute(_open_batches, values)]
