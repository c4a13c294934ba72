"""HTML of the start page and of the API reference, and the OpenAPI document itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import JSONResponse, Response

from app.accounts.access import STAFF, SignedIn, api_signed_in, signed_in
from app.annotations.day import GOAL_MOST, Day, today
from app.annotations.queries import OpenBatch, others_only
from app.dashboard import day, queries, reference
from app.dashboard.day import Waiting
from app.dashboard.queries import Overview, Step
from app.dialogues.queries import OpenDialogues
from app.dialogues.queries import open_batches as open_dialogues
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.rounds.better import Better, better
from app.rounds.contest_views import CONTEST_POLL_SECONDS
from app.rounds.drawing import RoundCharts, of_rounds
from app.shell.web import public_url, redirect, render
from app.shell.zones import zone_of

router = APIRouter()


@dataclass(frozen=True)
class HomePage:
    """Context of ``home.html``; what follows ``to_do`` is for reviewers and admins."""

    batches: Sequence[OpenBatch]
    dialogues: Sequence[OpenDialogues]
    others_only: bool
    """Whether there is nothing, and something is open that is assigned to others."""
    waiting: int
    unfinished: bool
    day: Day
    to_do: Waiting
    overview: Overview | None
    step: Step | None
    better: Better | None
    charts: RoundCharts | None
    poll_seconds: int


@dataclass(frozen=True)
class ReferencePage:
    """Context of ``reference.html``."""

    operations: dict[str, list[reference.Operation]]
    base: str


@router.get("/")
def home(request: Request, session: DbSession, user: SignedIn) -> Response:
    """Where everybody starts."""
    batches = queries.open_batches(session, user)
    waiting = sum(each.waiting for each in batches)
    staff = user.role in STAFF
    overview = queries.overview(session) if staff else None
    found = better(session, user) if staff else None
    dialogues = open_dialogues(session, user)
    page = HomePage(
        batches=batches,
        dialogues=dialogues,
        others_only=not batches and not dialogues and others_only(session, user),
        waiting=waiting,
        unfinished=any(each.begun for each in batches),
        day=today(session, user, zone_of(request)),
        to_do=day.waiting(session, user),
        overview=overview,
        step=queries.next_step(user, overview, waiting, found.gate if found else None) if overview else None,
        better=found,
        charts=of_rounds(found.entries) if found else None,
        poll_seconds=CONTEST_POLL_SECONDS,
    )
    return render(request, "home.html", page)


@router.post("/goal")
def set_goal(
    request: Request,
    session: DbSession,
    user: SignedIn,
    goal: Annotated[int, Form(ge=0, le=GOAL_MOST)],
    back: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Remember how many items the reader wants to do a day."""
    day.set_goal(session, user, goal)
    said = _("Your goal is {n} a day.", n=number(goal)) if goal else _("Daily goal removed.")
    return redirect(request, "/profile" if back == "profile" else "/", flash=said)


@router.get("/api", dependencies=[Depends(signed_in)])
def api_reference(request: Request) -> Response:
    """What the API can do, for people."""
    page = ReferencePage(reference.operations(request.app.openapi()), public_url(request))
    return render(request, "dashboard/reference.html", page)


@router.get("/api/v1/openapi.json", dependencies=[Depends(api_signed_in)])
def openapi_document(request: Request) -> Response:
    """What the API can do, for programs."""
    return JSONResponse(request.app.openapi())
