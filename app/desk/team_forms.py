"""The JSON of the team: what the pages of ``/desk/team`` and ``/desk/people`` show."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.board.results import Alpha
from app.desk.models import Per
from app.desk.rates import CURRENCY
from app.quality.statistics_api import ShareJson, StatisticsJson

_WHO: dict[str, Any] = {"user_id": 7, "pseudonym": "annotator-5d3f0c9a1b2e", "name": None}
_WORK: dict[str, Any] = {"items": 212, "active_seconds": 8162.4}
_BATCH: dict[str, Any] = {
    **_WORK,
    "batch_id": 4,
    "batch": "Everyday questions",
    "left": 88,
    "cost": "41.9457",
    "cost_per_item": "0.1979",
}
_RATE: dict[str, Any] = {"amount": "18.50", "per": "hour", "currency": "EUR"}


class WhoOut(BaseModel):
    """Somebody who annotates."""

    user_id: int
    pseudonym: str
    name: str | None = Field(description="For admins.")


class WorkOut(BaseModel):
    """Judgements that stand and are not retracted, and seconds of activity on them."""

    items: int
    active_seconds: float


class AtWorkOut(WhoOut):
    """Somebody who has an item open, or submitted one within 15 minutes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_WHO | {"open_items": 1, "last_act": "2026-11-23T10:04:12Z"}]}
    )

    open_items: int
    last_act: datetime = Field(description="Their last submission, or when they opened an item.")


class WorkedOut(WhoOut, WorkOut):
    """What somebody did in the days that were asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WHO | _WORK | {"median_seconds": 38.5}]})

    median_seconds: float | None = Field(
        description="Of an item, from classes of time; null of fewer than ten timed ones."
    )


class DayOut(WorkOut):
    """What somebody did on a day, in UTC."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-11-23", "user_id": 7, **_WORK}]})

    day: date
    user_id: int


class BatchWorkOut(WorkOut):
    """All that was ever done in a batch, and what is left of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BATCH]})

    batch_id: int
    batch: str
    left: int = Field(description="Judgements that it still asks for; 0 of one that is not open.")
    cost: str | None = Field(description="In the currency of the rate; null without one, or where nothing was timed.")
    cost_per_item: str | None


class ForecastOut(BaseModel):
    """When what is left will be done, at the mean pace of the last full days, with a 95% interval."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{"days": 12.1, "low": 9.8, "high": 15.9, "pace": 74.2, "over": 14}]},
    )

    days: float
    low: float
    high: float | None = Field(description="Null where days differ too much to say.")
    pace: float = Field(description="Items a day, days without work among them.")
    over: int = Field(description="Days that the pace is the mean of.")


class RateOut(BaseModel):
    """What work costs."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RATE]})

    amount: str
    per: Per
    currency: str


class RateIn(BaseModel):
    """What work is to cost, in place of the rate before."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_RATE]})

    amount: str = Field(max_length=20, description="Above 0, with a point and at most four decimals.")
    per: Per
    currency: str = Field(min_length=1, max_length=CURRENCY)


class TeamOut(BaseModel):
    """The team now, and its work from ``since`` to ``until``, both in it."""

    since: date = Field(examples=["2026-10-25"])
    until: date = Field(examples=["2026-11-23"])
    at_work: list[AtWorkOut]
    days: list[DayOut] = Field(description="Days without work are not listed.")
    people: list[WorkedOut] = Field(description="Who did most comes first.")
    left: int = Field(examples=[900], description="Judgements that open batches still ask for.")
    forecast: ForecastOut | None = Field(description="Null where there is too little work to say.")
    batches: list[BatchWorkOut] = Field(description="The newest first.")
    rate: RateOut | None


class GoldWeekOut(BaseModel):
    """First answers to items with a known one in a week."""

    week: date = Field(examples=["2026-11-23"], description="Its Monday, in UTC.")
    matched: ShareJson


class PairOut(BaseModel):
    """Agreement with another person, as the last board has it."""

    annotator: str = Field(examples=["annotator-1f0c9a5d3b2e"])
    agreement: Alpha


class PersonOut(WhoOut):
    """One person's work: by day from ``since`` to ``until``, the rest from the beginning."""

    user_id: int = Field(examples=[7])
    pseudonym: str = Field(examples=["annotator-5d3f0c9a1b2e"])
    name: str | None = Field(examples=[None], description="For admins.")
    since: date = Field(examples=["2026-10-25"])
    until: date = Field(examples=["2026-11-23"])
    days: list[DayOut]
    median_seconds: float | None = Field(examples=[38.5], description="Of an item in these days, from classes of time.")
    statistics: StatisticsJson
    gold: list[GoldWeekOut]
    agreement: list[PairOut]
