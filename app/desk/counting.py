"""Counts of work by day, kept and not counted: what they say, and the step that keeps them short.

A trigger appends a row in the transaction of the judgement, so nothing is lost or doubled, and nobody waits for anybody: no row
is shared until it is folded. Every number is a sum over rows, folded or not, so folding changes none of them
(docs/decisions/0073-counts-of-work.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, cast, func, select, text, tuple_
from sqlalchemy.orm import Session

from app.desk.models import WorkCount
from app.quality.statistics import ENOUGH

NOT_TIMED = -1
PER_OCTAVE = 2
"""Classes of time between a number of seconds and its double."""
FOLDED_AT_ONCE = 10_000
_FOLD = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM work_counts WHERE NOT folded ORDER BY id LIMIT :some FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM work_counts WHERE id IN (SELECT id FROM due)
        RETURNING user_id, batch_id, day, time_class, items, milliseconds
    ), kept AS (
        INSERT INTO work_counts AS k (user_id, batch_id, day, time_class, items, milliseconds, folded)
        SELECT user_id, batch_id, day, time_class, sum(items), sum(milliseconds), true FROM taken
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (user_id, batch_id, day, time_class) WHERE folded
        DO UPDATE SET items = k.items + excluded.items, milliseconds = k.milliseconds + excluded.milliseconds
    )
    SELECT count(*) FROM taken
""")


@dataclass(frozen=True, slots=True)
class Work:
    """Items and their active time."""

    items: int = 0
    milliseconds: int = 0
    timed: int = 0
    """Items whose time was measured."""

    def __add__(self, other: Work) -> Work:
        return Work(self.items + other.items, self.milliseconds + other.milliseconds, self.timed + other.timed)

    @property
    def hours(self) -> float:
        """The active time."""
        return self.milliseconds / 3_600_000


@dataclass(frozen=True)
class Counts:
    """The work of a span of days, added up along each way that a page shows it."""

    since: date
    until: date
    """The last day."""
    by_day: Mapping[date, Mapping[int, Work]] = field(default_factory=dict)
    """By day, by person."""
    times_by_day: Mapping[date, Mapping[int, int]] = field(default_factory=dict)
    """Timed items by class of time."""
    times_by_person: Mapping[int, Mapping[int, int]] = field(default_factory=dict)

    @property
    def days(self) -> list[date]:
        """All of them, the first one first."""
        return [self.since + timedelta(each) for each in range((self.until - self.since).days + 1)]

    @property
    def people(self) -> dict[int, Work]:
        """Who worked, and how much over all days; who did most comes first."""
        found: dict[int, Work] = defaultdict(Work)
        for works in self.by_day.values():
            for who, work in works.items():
                found[who] += work
        return dict(sorted(found.items(), key=lambda each: (-each[1].items, each[0])))

    @property
    def times(self) -> Mapping[int, int]:
        """Timed items of everybody on all days by class of time."""
        found: Counter[int] = Counter()
        for times in self.times_by_day.values():
            found.update(times)
        return found

    def of_day(self, day: date) -> Work:
        """Of everybody."""
        return total(self.by_day.get(day, {}).values())


def total(works: Iterable[Work]) -> Work:
    """Added up."""
    return sum(works, Work())


def fold(session: Session) -> int:
    """One step of folding what was appended into one row a key; how many rows it took. Safe at any time, by anybody."""
    return int(session.execute(_FOLD, {"some": FOLDED_AT_ONCE}).scalar_one())


def counts(session: Session, since: date, until: date, user_id: int | None = None) -> Counts:
    """The work from ``since`` to ``until``, both in it; of one person or of everybody. One statement, one pass."""
    user, day, times = WorkCount.user_id, WorkCount.day, WorkCount.time_class
    items, *sums = _sums()
    query = (
        select(user, day, times, items, *sums)
        .where(day.between(since, until))
        .group_by(func.grouping_sets(tuple_(user, day), tuple_(day, times), tuple_(user, times)))
        .having(items > 0)
    )
    if user_id is not None:
        query = query.where(user == user_id)
    by_day: dict[date, dict[int, Work]] = defaultdict(dict)
    by_time: dict[date, dict[int, int]] = defaultdict(dict)
    of_people: dict[int, dict[int, int]] = defaultdict(dict)
    row: Any
    for row in session.execute(query):
        who, when, timed_as, done, milliseconds, timed = row
        if timed_as is None:
            by_day[when][who] = Work(done, milliseconds, timed)
        elif timed_as != NOT_TIMED:
            (by_time[when] if who is None else of_people[who])[timed_as] = done
    return Counts(since, until, by_day, by_time, of_people)


def by_batch(session: Session) -> dict[int, Work]:
    """All work there ever was, by batch; the newest batch first."""
    items, *sums = _sums()
    query = (
        select(WorkCount.batch_id, items, *sums)
        .group_by(WorkCount.batch_id)
        .having(items > 0)
        .order_by(WorkCount.batch_id.desc())
    )
    rows: Iterable[Any] = session.execute(query)
    return {batch: Work(done, milliseconds, timed) for batch, done, milliseconds, timed in rows}


def _sums() -> list[ColumnElement[int]]:
    """Of the rows of a group: items, milliseconds, timed items. As integers: a sum of bigint is a decimal."""
    items = func.sum(WorkCount.items)
    timed = func.coalesce(items.filter(WorkCount.time_class != NOT_TIMED), 0)
    return [cast(each, BigInteger) for each in (items, func.sum(WorkCount.milliseconds), timed)]


def median(times: Mapping[int, int]) -> float | None:
    """Seconds of the middle item, from items by class of time; within its class as if times were spread evenly over it.

    At most 42% from the true one, and with a hundred items or more within a few percent; None of fewer than ``ENOUGH``.
    """
    timed, passed = sum(times.values()), 0
    if timed < ENOUGH:
        return None
    half = timed / 2
    for each, items in sorted(times.items()):
        if items and passed + items >= half:
            return float(2.0 ** ((each + (half - passed) / items) / PER_OCTAVE))
        passed += items
    return None
