"""HTML of the start page and of the API reference, and the OpenAPI document itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from app.accounts.access import STAFF, SignedIn, api_signed_in, signed_in
from app.annotations.queries import OpenBatch
from app.dashboard import queries, reference
from app.dashboard.queries import Overview, Step
from app.db import DbSession
from app.web import public_url, render

router = APIRouter()


@dataclass(frozen=True)
class HomePage:
    """Context of ``home.html``; ``overview`` and ``step`` are for reviewers and admins."""

    batches: Sequence[OpenBatch]
    waiting: int
    unfinished: bool
    done_today: int
    overview: Overview | None
    step: Step | None


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
    overview = queries.overview(session) if user.role in STAFF else None
    page = HomePage(
        batches=batches,
        waiting=waiting,
        unfinished=any(each.begun for each in batches),
        done_today=queries.done_today(session, user),
        overview=overview,
        step=queries.next_step(user, overview, waiting) if overview else None,
    )
    return render(request, "home.html", page)


@router.get("/api", dependencies=[Depends(signed_in)])
def api_reference(request: Request) -> Response:
    """What the API can do, for people."""
    page = ReferencePage(reference.operations(request.app.openapi()), public_url(request))
    return render(request, "dashboard/reference.html", page)


@router.get("/api/v1/openapi.json", dependencies=[Depends(api_signed_in)])
def openapi_document(request: Request) -> Response:
    """What the API can do, for programs."""
    return JSONResponse(request.app.openapi())
