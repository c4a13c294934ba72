"""One person's day of work: what was done since midnight where they are, and what stands at the head of each item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import BigInteger, DateTime, Integer, Select, and_, bindparam, case, func, literal_column, select, true
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import queries, queues
from app.annotations.models import STANDING, Annotation, Qualification
from app.annotations.queries import COUNT_UP_TO
from app.comparisons.models import Comparison
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.prompts.models import Batch

GOAL_MOST = 1_000
RECENT = 500
"""How many of a person's newest annotations the head of an item looks at: it costs the same with ten and with a million."""


@dataclass(frozen=True)
class Day:
    """What somebody did today. Only seconds that they were active count as work."""

    done: int
    active_seconds: float
    goal: int
    """0: none was set."""

    @property
    def active_text(self) -> str:
        """The active time in words."""
        minutes = round(self.active_seconds / 60)
        if minutes >= 60:
            return _("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)
        return _("{minutes} min", minutes=minutes) if minutes or not self.active_seconds else _("under a minute")


@dataclass(frozen=True, slots=True)
class Head:
    """What the line above an item counts, all of the reader's own."""

    done: int
    """Items today."""
    goal: int
    """0: none was set."""
    median_seconds: float | None
    """Of today's items, of each as it stands; None where none was timed."""
    in_batch: int | None
    """Items of this batch; None where they are more than are counted."""
    waiting: int | None
    """Items of this batch that wait for the reader; None where they are more than are counted, or decided by a qualification."""
    returned: int
    """Items that a reviewer asks the reader to correct."""

    @property
    def texts(self) -> list[str]:
        """The counts in words; the day comes first."""
        done, goal = self.done, self.goal
        said = [_("{done} of {goal} today", done=done, goal=goal) if goal else _("{done} today", done=done)]
        judged, waiting = self.in_batch, self.waiting
        if judged is not None and waiting is not None:
            said.append(_("{done} of {all} in this batch", done=judged, all=judged + waiting))
        elif judged is not None:
            said.append(_("{done} in this batch", done=judged))
        elif waiting is not None:
            said.append(_("{n} left in this batch", n=waiting))
        median = self.median_seconds
        if median is not None and median >= 99.5:
            said.append(_("{minutes} min median", minutes=number(median / 60)))
        elif median is not None:
            said.append(_("{seconds} s median", seconds=number(median)))
        return said


_annotator, _batch = bindparam("annotator", type_=BigInteger), bindparam("batch", type_=BigInteger)
_midnight = func.coalesce(bindparam("began", type_=DateTime(timezone=True)), func.date_trunc("day", func.now()))
_today = select(
    func.count(Annotation.assignment_id.distinct()).label("done"),
    func.coalesce(func.sum(Annotation.active_seconds), 0.0).label("seconds"),
    func.percentile_cont(0.5)
    .within_group(Annotation.active_seconds)
    .filter(Annotation.superseded_by_id.is_(None))
    .label("median"),
).where(Annotation.annotator_id == _annotator, Annotation.created_at >= _midnight, Annotation.withdrawn_at.is_(None))


def _head() -> Select[Any]:
    """One row; built once, because building it costs more than running it."""
    newest = (
        select(Annotation.id)
        .where(Annotation.annotator_id == _annotator)
        .order_by(Annotation.created_at.desc())
        .limit(literal_column(str(RECENT), Integer))
        .subquery("newest")
    )
    # the person's work in the batch is all among the newest where these are few, or reach back to before the batch
    made = select(Batch.created_at).where(Batch.id == _batch).scalar_subquery()
    all_seen = func.count() < RECENT
    recent = (
        select(
            case(
                (
                    all_seen | (func.min(Annotation.created_at) < made),
                    func.count().filter(and_(STANDING, Comparison.batch_id == _batch)),
                )
            ).label("in_batch"),
            func.count().filter(and_(STANDING, queues.RETURNED_WAITS)).label("returned"),
        )
        .select_from(newest)
        .join(Annotation, Annotation.id == newest.c.id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .subquery("recent")
    )
    passed = select(Qualification.passed).where(Qualification.batch_id == Batch.id, Qualification.user_id == _annotator)
    asks = and_(Batch.qualification_items > 0, func.coalesce(passed.scalar_subquery(), False).is_(False))
    waiting = select(asks.label("asks"), *queries.waiting_columns(Batch.id, _annotator)).where(Batch.id == _batch)
    today, waits = _today.subquery("today"), waiting.subquery("waits")
    return (
        select(today.c.done, today.c.median, recent.c.in_batch, recent.c.returned, waits)
        .select_from(today)
        .join(recent, true())
        .join(waits, true())
    )


_HEAD = _head()


def goal_of(preferences: Mapping[str, Any]) -> int:
    """The daily goal; 0 where none, or none that makes sense, is stored."""
    goal = preferences.get("daily_goal")
    return goal if type(goal) is int and 0 < goal <= GOAL_MOST else 0


def _midnight_in(zone: tzinfo | None) -> datetime | None:
    return datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0) if zone else None


def today(session: Session, user: User, zone: tzinfo | None = None) -> Day:
    """Since midnight in ``zone``, else by the database's clock.

    An item that was corrected counts once; what was taken back does not.
    """
    values = {"annotator": user.id, "began": _midnight_in(zone)}
    row = session.execute(_today, values).one()
    return Day(row.done, row.seconds or 0.0, goal_of(user.preferences))


def head(session: Session, user: User, batch_id: int, zone: tzinfo | None = None) -> Head:
    """What stands above an item of a batch, in one statement that costs no more however much was done or waits.

    ``zone`` as in :func:`today`. What a reviewer returned is looked for among the person's newest ``RECENT`` annotations.
    """
    values = {"annotator": user.id, "batch": batch_id, "began": _midnight_in(zone)}
    row = session.connection().execute(_HEAD, values).one()
    waiting = row.begun + queries.with_known(row.fresh, row.mixed_in)
    return Head(
        done=row.done,
        goal=goal_of(user.preferences),
        median_seconds=row.median,
        in_batch=row.in_batch,
        waiting=None if row.asks or waiting >= COUNT_UP_TO else waiting,
        returned=row.returned,
    )
