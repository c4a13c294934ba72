"""Reads of the team: who works now, what was done by day, what is left, and one person's work. All of it is for staff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from app.accounts.access import STAFF
from app.accounts.models import User
from app.annotations.models import Annotation
from app.board import queries as board
from app.board.results import Agreement, Alpha, Reliable
from app.comparisons import asking
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.purposes import is_asked_for
from app.desk import counting, rates
from app.desk.counting import Counts, Work, median
from app.desk.forecast import LOOKS_BACK, Forecast, forecast
from app.desk.models import WorkRate
from app.kernel.errors import NotFound
from app.prompts.models import Batch, BatchState
from app.quality import measuring
from app.quality.statistics import Share, Statistics

SPANS = (30, 90)
"""Days that can be looked at: plots cost the same in the tenth year as in the first."""
WORKS = "15 minutes"
"""Who did nothing for so long, and has no item open, does not work now."""
BATCHES = 200
"""Batches that are listed, the newest."""


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody, as those who may know people by name do, and the others."""

    id: int
    pseudonym: str
    name: str
    """For admins alone."""


@dataclass(frozen=True, slots=True)
class AtWork:
    """Somebody who works now."""

    who: Named
    open_items: int
    last_act: datetime
    """Their last judgement, or when they opened an item, whichever is later."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What somebody did in the days that are looked at."""

    who: Named
    work: Work
    median_seconds: float | None
    """None of fewer than ``ENOUGH`` timed items."""


@dataclass(frozen=True, slots=True)
class BatchWork:
    """All that was ever done in a batch, and what is left of it."""

    id: int
    name: str
    work: Work
    left: int


@dataclass(frozen=True)
class Team:
    """The team as it is now, and its work on some days."""

    at_work: Sequence[AtWork]
    counts: Counts
    people: Sequence[Worked]
    """Who did most comes first."""
    left: int
    """Judgements that open batches still ask for."""
    forecast: Forecast | None
    batches: Sequence[BatchWork]
    rate: WorkRate | None
    agreement: Alpha | None
    """Of everybody on everything, as the last board has it."""


@dataclass(frozen=True)
class Person:
    """One person's work."""

    who: Named
    counts: Counts
    statistics: Statistics
    gold: Sequence[tuple[date, Share]]
    """First answers to items with a known one, by the Monday of the week."""
    agreement: Sequence[tuple[Named | str, Alpha]]
    """With each other person, as the last board has it; their pseudonym where there is no such account."""
    reliable: Reliable | None
    """Against a model of what was said of other prompts, of the same board."""
    agreement_at: datetime | None


def today() -> date:
    """In UTC, as days are counted."""
    return datetime.now(UTC).date()


def span(asked: int) -> int:
    """Days to look at: ``asked``, where that can be chosen."""
    return asked if asked in SPANS else SPANS[0]


def team(session: Session, reader: User, days: int) -> Team:
    """The last ``days`` days, today among them, and what is so now.

    Raises:
        NotFound: the reader is not staff.
    """
    _for_staff(reader)
    counts = _last(session, days)
    people = counts.people
    named = _named(session, list(people))
    left = _left(session)
    return Team(
        at_work=_at_work(session),
        counts=counts,
        people=[
            Worked(named[who], work, median(counts.times_by_person.get(who, {})))
            for who, work in people.items()
            if who in named
        ],
        left=sum(left.values()),
        forecast=forecast(sum(left.values()), [counts.of_day(day).items for day in counts.days[-LOOKS_BACK - 1 : -1]]),
        batches=_batches(session, left),
        rate=rates.current(session),
        agreement=_agreement(session, reader)[0].overall,
    )


def person(session: Session, reader: User, user_id: int, days: int) -> Person:
    """One person's work: the last ``days`` days by day, and the rest as far as it goes back.

    Raises:
        NotFound: no such person, or the reader is not staff.
    """
    _for_staff(reader)
    named = _named(session, [user_id])
    if user_id not in named:
        raise NotFound
    found, computed_at = _agreement(session, reader)
    who = named[user_id]
    reliable = found.reliability.people if found.reliability else []
    return Person(
        who=who,
        counts=_last(session, days, user_id),
        statistics=measuring.measure(session, [user_id], exact=True)[user_id],
        gold=measuring.gold_by_week(session, user_id),
        agreement=_with_others(session, who.pseudonym, found.people),
        reliable=next((each for each in reliable if each.name == who.pseudonym), None),
        agreement_at=computed_at,
    )


def medians(counts: Counts) -> list[tuple[date, float | None]]:
    """Seconds of the middle item of each day; None of fewer than ``ENOUGH`` timed ones."""
    return [(day, median(counts.times_by_day.get(day, {}))) for day in counts.days]


def _agreement(session: Session, reader: User) -> tuple[Agreement, datetime | None]:
    """What the last board says of it, and when that was computed."""
    last = board.latest(session, reader)
    return (Agreement.model_validate(last.agreement), last.computed_at) if last else (Agreement(), None)


def _for_staff(reader: User) -> None:
    if reader.role not in STAFF:
        raise NotFound


def _last(session: Session, days: int, user_id: int | None = None) -> Counts:
    now = today()
    return counting.counts(session, now - timedelta(days - 1), now, user_id)


def _named(session: Session, ids: Sequence[int]) -> dict[int, Named]:
    query = select(User.id, User.pseudonym, User.name).where(User.id.in_(ids))
    return {row.id: Named(*row) for row in session.execute(query)}


def _at_work(session: Session) -> list[AtWork]:
    held = (
        select(
            Assignment.annotator_id.label("who"),
            func.count().label("open_items"),
            func.max(Assignment.created_at).label("opened"),
        )
        .where(Assignment.state == AssignmentState.ACTIVE, Assignment.lease_until > func.now(), ~asking.waits())
        .group_by(Assignment.annotator_id)
        .subquery()
    )
    last = (
        select(Annotation.created_at)
        .where(Annotation.annotator_id == User.id)
        .order_by(Annotation.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    said = select(User.id, User.pseudonym, User.name, last.label("said")).where(User.disabled_at.is_(None)).subquery()
    act = func.greatest(said.c.said, held.c.opened)
    query = (
        select(said.c.id, said.c.pseudonym, said.c.name, func.coalesce(held.c.open_items, 0), act)
        .outerjoin(held, held.c.who == said.c.id)
        .where(or_(held.c.open_items.is_not(None), said.c.said > func.now() - text(f"interval '{WORKS}'")))
        .order_by(act.desc(), said.c.id)
    )
    return [AtWork(Named(*who), items, at) for *who, items, at in session.execute(query)]


def _left(session: Session) -> dict[int, int]:
    """What each open batch still asks for: seats that are free, or taken by somebody who has not submitted.

    The same as wanted minus done, but what is done is not read.
    """
    is_open = Batch.state == BatchState.OPEN
    free = (
        select(Comparison.batch_id, func.sum(Comparison.seats_free))
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(is_open, Comparison.seats_free > 0, is_asked_for)
        .group_by(Comparison.batch_id)
    )
    taken = (
        select(Comparison.batch_id, func.count())
        .select_from(Assignment)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(is_open, Assignment.state == AssignmentState.ACTIVE, is_asked_for)
        .group_by(Comparison.batch_id)
    )
    found: dict[int, int] = {}
    for query in (free, taken):
        for batch_id, seats in session.execute(query):
            found[batch_id] = found.get(batch_id, 0) + int(seats)
    return found


def _batches(session: Session, left: Mapping[int, int]) -> list[BatchWork]:
    done = counting.by_batch(session)
    ids = sorted({*done, *left}, reverse=True)[:BATCHES]
    names = {row.id: row.name for row in session.execute(select(Batch.id, Batch.name).where(Batch.id.in_(ids)))}
    return [BatchWork(each, names[each], done.get(each, Work()), left.get(each, 0)) for each in ids if each in names]


def _with_others(session: Session, pseudonym: str, pairs: Sequence[Alpha]) -> list[tuple[Named | str, Alpha]]:
    """The pairs of the board that ``pseudonym`` is in; it names them "one and other"."""
    found = {
        next((name for name in names if name != pseudonym), pseudonym): pair
        for pair in pairs
        if pseudonym in (names := pair.name.split(" and "))
    }
    query = select(User.id, User.pseudonym, User.name).where(User.pseudonym.in_(found))
    named = {row.pseudonym: Named(*row) for row in session.execute(query)}
    return [(named.get(other, other), pair) for other, pair in found.items()]
