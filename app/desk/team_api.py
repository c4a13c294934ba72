"""JSON of the team, for staff: who works and how far it is, one person's work, and what work costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.models import Role, User
from app.desk import rates
from app.desk.counting import Counts, Work, median
from app.desk.models import WorkRate
from app.desk.team import SPANS, Named, Team, person, team
from app.desk.team_forms import (
    AtWorkOut,
    BatchWorkOut,
    DayOut,
    ForecastOut,
    GoldWeekOut,
    PairOut,
    PersonOut,
    RateIn,
    RateOut,
    TeamOut,
    WhoOut,
    WorkedOut,
)
from app.kernel.db import DbSession
from app.quality.statistics_api import ShareJson, StatisticsJson

router = APIRouter(prefix="/desk", tags=["review"])

Days = Annotated[int, Query(ge=1, le=SPANS[-1], description="How many, today among them; in UTC.")]


@router.get("/team")
def get_team(session: DbSession, user: ApiReviewer, days: Days = SPANS[0]) -> TeamOut:
    """Who works now, what was done by day and person, what is left, and what batches cost."""
    found = team(session, user, days)
    return TeamOut(
        since=found.counts.since,
        until=found.counts.until,
        at_work=[
            AtWorkOut(**_who(each.who, user), open_items=each.open_items, last_act=each.last_act)
            for each in found.at_work
        ],
        days=_days(found.counts),
        people=[
            WorkedOut(**_who(each.who, user), **_work(each.work), median_seconds=each.median_seconds)
            for each in found.people
        ],
        left=found.left,
        forecast=ForecastOut.model_validate(found.forecast) if found.forecast else None,
        batches=_batches(found),
        rate=_rate(found.rate) if found.rate else None,
    )


@router.get("/people/{user_id:int}")
def get_person(session: DbSession, user: ApiReviewer, user_id: int, days: Days = SPANS[0]) -> PersonOut:
    """One person's work by day, their known answers by week, habits, and agreement with others."""
    found = person(session, user, user_id, days)
    return PersonOut(
        **_who(found.who, user),
        since=found.counts.since,
        until=found.counts.until,
        days=_days(found.counts),
        median_seconds=median(found.counts.times),
        statistics=StatisticsJson.of(found.statistics),
        gold=[GoldWeekOut(week=week, matched=ShareJson.of(share)) for week, share in found.gold],
        agreement=[
            PairOut(annotator=other if isinstance(other, str) else other.pseudonym, agreement=pair)
            for other, pair in found.agreement
        ],
    )


@router.put("/rate")
def set_rate(session: DbSession, user: ApiAdmin, body: RateIn) -> RateOut:
    """Set what work costs, in place of the rate before."""
    return _rate(rates.set_rate(session, user, body.amount, body.per, body.currency))


@router.delete("/rate", status_code=204)
def remove_rate(session: DbSession, user: ApiAdmin) -> None:
    """Show no costs any more."""
    rates.remove_rate(session, user)


def _who(who: Named, reader: User) -> dict[str, Any]:
    named = reader.role is Role.ADMIN
    return WhoOut(user_id=who.id, pseudonym=who.pseudonym, name=who.name if named else None).model_dump()


def _work(work: Work) -> dict[str, Any]:
    return {"items": work.items, "active_seconds": work.milliseconds / 1000}


def _days(counts: Counts) -> list[DayOut]:
    return [
        DayOut(day=day, user_id=who, **_work(work))
        for day in counts.days
        for who, work in sorted(counts.by_day.get(day, {}).items())
    ]


def _batches(found: Team) -> list[BatchWorkOut]:
    return [
        BatchWorkOut(
            batch_id=each.id,
            batch=each.name,
            **_work(each.work),
            left=each.left,
            cost=_amount(rates.cost(found.rate, each.work)),
            cost_per_item=_amount(rates.cost_per_item(found.rate, each.work)),
        )
        for each in found.batches
    ]


def _rate(rate: WorkRate) -> RateOut:
    return RateOut(amount=rates.written(rate), per=rate.per, currency=rate.currency)


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.4f}"
