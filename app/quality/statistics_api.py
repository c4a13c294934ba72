"""JSON of statistics: one's own, and for staff everybody's. They show people their habits and rank nobody."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.accounts.access import ApiReviewer, ApiSignedIn
from app.accounts.models import Role
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.quality import measuring
from app.quality.measuring import Measured
from app.quality.statistics import Share, Statistics

router = APIRouter(tags=["quality"])


class ShareJson(BaseModel):
    """k of n, with the Wilson interval (95%) of the share, from 0 to 1; of nothing, the interval is everything."""

    k: int = Field(examples=[14])
    n: int = Field(examples=[20])
    low: float = Field(examples=[0.481])
    high: float = Field(examples=[0.855])

    @classmethod
    def of(cls, share: Share) -> ShareJson:
        """The share with its interval."""
        low, high = share.interval
        return cls(k=share.k, n=share.n, low=low / 100, high=high / 100)


class StatisticsJson(BaseModel):
    """One person's work in numbers. What was returned or retracted does not count."""

    annotations: int = Field(examples=[212])
    median_seconds: float | None = Field(examples=[38.5], description="Active time of the middle annotation.")
    timed: int = Field(examples=[212], description="Annotations whose time was measured.")
    gold: ShareJson = Field(description="Agreement with known answers. One's own are counted in tens.")
    first_preferred: ShareJson = Field(description="Of pairs: the response shown first was preferred.")
    longer_preferred: ShareJson = Field(description="Of pairs of unequal length: the longer one was preferred.")
    edits_preferred: ShareJson = Field(description="Of edits that others compared with their original, blind.")

    @classmethod
    def of(cls, found: Statistics) -> StatisticsJson:
        """The numbers as they are measured."""
        shares = ("gold", "first_preferred", "longer_preferred", "edits_preferred")
        return cls(
            annotations=found.annotations,
            median_seconds=found.median_seconds,
            timed=found.timed,
            **{name: ShareJson.of(getattr(found, name)) for name in shares},
        )


class AnnotatorJson(BaseModel):
    """Somebody with their numbers."""

    user_id: int = Field(examples=[7])
    pseudonym: str = Field(examples=["annotator-5f0c1b2a9d3e"])
    name: str | None = Field(examples=[None], description="For admins.")
    statistics: StatisticsJson


class AnnotatorList(BaseModel):
    """In the order in which people joined; ``next`` is the ``after`` of the page that follows."""

    annotators: list[AnnotatorJson]
    next: int | None


@router.get("/me/statistics")
def my_statistics(session: DbSession, user: ApiSignedIn) -> StatisticsJson:
    """What the numbers say about your own work."""
    return StatisticsJson.of(measuring.measure(session, [user.id], exact=False)[user.id])


@router.get("/review/annotators")
def list_annotators(session: DbSession, user: ApiReviewer, after: Cursor = None, limit: Limit = 50) -> AnnotatorList:
    """The same numbers of everybody who has submitted anything."""
    page = measuring.annotators(session, after=after, limit=limit)
    named = user.role is Role.ADMIN
    return AnnotatorList(annotators=[_json(each, named=named) for each in page.rows], next=page.next)


def _json(found: Measured, *, named: bool) -> AnnotatorJson:
    return AnnotatorJson(
        user_id=found.user_id,
        pseudonym=found.pseudonym,
        name=found.name if named else None,
        statistics=StatisticsJson.of(found.statistics),
    )
