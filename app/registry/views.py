"""HTML of the registry: checkpoints, their lineage, the rotation, and the engine's banner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts import service as accounts
from app.accounts.access import Admin, Reviewer, reviewer
from app.accounts.models import Role
from app.db import DbSession
from app.registry import queries, service
from app.registry.models import CheckpointState
from app.registry.queries import CheckpointRow, EngineView, Lineage
from app.settings import get_settings
from app.web import redirect, render

PAGE = 50

router = APIRouter()


@dataclass(frozen=True)
class CheckpointsPage:
    """Context of ``registry/checkpoints.html``."""

    rows: Sequence[CheckpointRow]
    next: int | None
    first: bool
    engine: EngineView


@dataclass(frozen=True)
class CheckpointPage:
    """Context of ``registry/checkpoint.html``."""

    row: CheckpointRow
    lineage: Lineage
    may_write: bool
    may_deploy: bool


@dataclass(frozen=True)
class EngineFragment:
    """Context of ``registry/_engine.html``."""

    engine: EngineView


@router.get("/checkpoints", dependencies=[Depends(reviewer)])
def checkpoints(
    request: Request, session: DbSession, before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None
) -> HTMLResponse:
    """Every checkpoint, newest first, with its place in the rotation."""
    rows = queries.list_checkpoints(session, before=before, limit=PAGE + 1)
    older = rows[PAGE - 1].checkpoint.id if len(rows) > PAGE else None
    engine = queries.engine_view(session, get_settings().engine_url)
    return render(request, "registry/checkpoints.html", CheckpointsPage(rows[:PAGE], older, before is None, engine))


@router.get("/checkpoints/{checkpoint_id}")
def checkpoint(request: Request, session: DbSession, user: Reviewer, checkpoint_id: int) -> HTMLResponse:
    """One checkpoint: metrics, lineage, rotation."""
    found = queries.access_checkpoint(session, user, checkpoint_id)
    row = queries.checkpoint_row(session, found)
    admin = user.role is Role.ADMIN
    sampled = found.kind in service.SAMPLED_KINDS and found.state is CheckpointState.READY
    page = CheckpointPage(row, queries.lineage(session, found), admin, admin and sampled and not row.deployments)
    return render(request, "registry/checkpoint.html", page)


@router.post("/checkpoints/{checkpoint_id}/deploy")
def deploy(request: Request, session: DbSession, user: Admin, checkpoint_id: int) -> Response:
    """Put it into the rotation beside what is there."""
    found = queries.access_checkpoint(session, user, checkpoint_id)
    service.deploy(session, found)
    accounts.audit(session, user, "checkpoint.deploy", "checkpoint", found.id)
    said = f"{found.name} is in rotation; it is sampled as soon as the engine has loaded it."
    return redirect(request, f"/checkpoints/{found.id}", flash=said)


@router.post("/deployments/{deployment_id}/end")
def end(request: Request, session: DbSession, user: Admin, deployment_id: int) -> Response:
    """Take it out of the rotation; the last one stays."""
    deployment = queries.access_deployment(session, user, deployment_id)
    service.end_deployment(session, deployment)
    accounts.audit(session, user, "checkpoint.withdraw", "checkpoint", deployment.checkpoint_id, label=deployment.label)
    said = f"{deployment.checkpoint.name} ({deployment.label}) has left the rotation."
    return redirect(request, f"/checkpoints/{deployment.checkpoint_id}", flash=said)


@router.get("/engine", dependencies=[Depends(reviewer)])
def engine(request: Request, session: DbSession) -> HTMLResponse:
    """The banner's content: nothing while the engine answers."""
    view = queries.engine_view(session, get_settings().engine_url)
    return render(request, "registry/_engine.html", EngineFragment(view))
