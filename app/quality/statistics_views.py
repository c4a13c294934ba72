"""HTML of statistics: one's own, and for staff everybody's. They show people their habits and rank nobody."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.accounts.access import Reviewer, SignedIn
from app.accounts.models import Role
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor
from app.quality import measuring
from app.quality.measuring import Edits, Measured
from app.quality.statistics import ENOUGH, Share, Statistics
from app.shell.web import render

router = APIRouter()


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
def annotators(request: Request, session: DbSession, user: Reviewer, after: Cursor = None) -> HTMLResponse:
    """The same numbers of everybody, in the order in which people joined."""
    found = measuring.annotators(session, after=after)
    page = AnnotatorsPage(
        people=found.rows,
        names=user.role is Role.ADMIN,
        edits=measuring.edits_by_batch(session),
        enough=ENOUGH,
        next=found.next,
        first=not after,
    )
    return render(request, "quality/annotators.html", page)


def _lines(found: Statistics) -> list[Line]:
    return [
        Line(
            "gold",
            _("Agreement with known answers"),
            found.gold,
            None,
            _(
                "Some items have a known answer that a reviewer has explained. This is how often yours matched. Answers "
                "are counted in tens, so that no single item can be identified."
            ),
        ),
        Line(
            "first",
            _("First response preferred"),
            found.first_preferred,
            50.0,
            _(
                "Of the pairs that you ranked: how often the better one was shown first. The order is random, so without "
                "a bias this is near 50%."
            ),
        ),
        Line(
            "longer",
            _("Longer response preferred"),
            found.longer_preferred,
            50.0,
            _(
                "Of the pairs that you ranked whose responses differ in length: how often the better one was the longer. Longer "
                "ones may well be better; a number far from 50% is only a hint."
            ),
        ),
        Line(
            "edits",
            _("Edits preferred by others"),
            found.edits_preferred,
            50.0,
            _(
                "Of your edits that somebody else compared with the original, without knowing which was which: how often they "
                "preferred yours."
            ),
        ),
    ]
