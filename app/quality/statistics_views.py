"""HTML of statistics: one's own, and for staff everybody's. They help people to see their habits; nobody is ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from app.accounts.access import Reviewer, SignedIn
from app.accounts.models import Role
from app.db import DbSession
from app.quality import measuring
from app.quality.measuring import Edits, Measured
from app.quality.statistics import ENOUGH, Share, Statistics
from app.web import render

router = APIRouter()

Key = Annotated[int, Query(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Line:
    """One share, with what it means and how it was obtained."""

    name: str
    label: str
    share: Share
    even: float | None
    """What chance would give, where that is what one compares with."""
    how: str


@dataclass(frozen=True)
class MyStatisticsPage:
    """Context of ``quality/mine.html``."""

    statistics: Statistics
    lines: list[Line]
    enough: int


@dataclass(frozen=True)
class AnnotatorsPage:
    """Context of ``quality/annotators.html``; ``names`` are for admins, who know people by name anyway."""

    people: list[Measured]
    names: bool
    edits: list[Edits]
    enough: int
    next: int | None
    first: bool


@router.get("/me/statistics")
def mine(request: Request, session: DbSession, user: SignedIn) -> HTMLResponse:
    """What the numbers say about the reader's own work."""
    found = measuring.measure(session, [user.id], exact=False)[user.id]
    return render(request, "quality/mine.html", MyStatisticsPage(found, _lines(found), ENOUGH))


@router.get("/review/annotators")
def annotators(request: Request, session: DbSession, user: Reviewer, after: Key = 0) -> HTMLResponse:
    """The same numbers of everybody, in the order in which people joined."""
    people = measuring.annotators(session, after=after, limit=measuring.PAGE + 1)
    page = AnnotatorsPage(
        people=people[: measuring.PAGE],
        names=user.role is Role.ADMIN,
        edits=measuring.edits_by_batch(session),
        enough=ENOUGH,
        next=people[measuring.PAGE - 1].user_id if len(people) > measuring.PAGE else None,
        first=after == 0,
    )
    return render(request, "quality/annotators.html", page)


def _lines(found: Statistics) -> list[Line]:
    return [
        Line(
            "gold",
            "Agreement with known answers",
            found.gold,
            None,
            "Some items have an answer that a reviewer has explained. This is how often yours was the same. Answers are counted "
            "in tens, so that no single item can be told from the others.",
        ),
        Line(
            "first",
            "First response preferred",
            found.first_preferred,
            50.0,
            "Of the pairs that you ranked: how often the better one was the one shown first. The order is drawn at random, so "
            "without a habit this is near 50 %.",
        ),
        Line(
            "longer",
            "Longer response preferred",
            found.longer_preferred,
            50.0,
            "Of the pairs that you ranked whose responses differ in length: how often the better one was the longer. Longer "
            "ones may well be better; a number far from 50 % is worth a thought, no more.",
        ),
        Line(
            "edits",
            "Edits preferred by others",
            found.edits_preferred,
            50.0,
            "Of your edits that somebody else compared with the original, without knowing which was which: how often they "
            "preferred yours.",
        ),
    ]
