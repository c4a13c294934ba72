"""JSON of the registry: checkpoints, their place in the rotation and their lineage."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.accounts.access import ApiReviewer, api_staff
from app.db import DbSession
from app.registry import queries
from app.registry.forms import CheckpointDetailJson, CheckpointJson, CheckpointList, DeploymentJson, LineageJson
from app.registry.queries import CheckpointRow

router = APIRouter(tags=["checkpoints"])

Before = Annotated[int | None, Query(ge=0, le=2**63 - 1, description="The `next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/checkpoints", dependencies=[Depends(api_staff)])
def list_checkpoints(session: DbSession, before: Before = None, limit: Limit = 50) -> CheckpointList:
    """Checkpoints, newest first."""
    rows = queries.list_checkpoints(session, before=before, limit=limit + 1)
    last = rows[limit - 1].checkpoint.id if len(rows) > limit else None
    return CheckpointList(checkpoints=[_json(row) for row in rows[:limit]], next=last)


@router.get("/checkpoints/{checkpoint_id}")
def get_checkpoint(session: DbSession, user: ApiReviewer, checkpoint_id: int) -> CheckpointDetailJson:
    """One checkpoint with where it came from and what came of it."""
    checkpoint = queries.access_checkpoint(session, user, checkpoint_id)
    found = queries.lineage(session, checkpoint)
    lineage = LineageJson(
        training_run=found.run_id,
        snapshot=found.snapshot_id,
        snapshot_rows=found.snapshot_rows,
        annotations=found.annotations,
        annotators=found.annotators,
        candidates=found.candidates,
        children=[child.name for child in found.children],
    )
    return CheckpointDetailJson(**_json(queries.checkpoint_row(session, checkpoint)).model_dump(), lineage=lineage)


def _json(row: CheckpointRow) -> CheckpointJson:
    checkpoint = row.checkpoint
    return CheckpointJson(
        id=checkpoint.id,
        name=checkpoint.name,
        kind=checkpoint.kind,
        state=checkpoint.state,
        broken_reason=checkpoint.broken_reason,
        parent=row.parent.name if row.parent else None,
        manifest_sha256=checkpoint.manifest_sha256,
        metrics=checkpoint.metrics,
        rotation_percent=row.percent,
        deployments=[DeploymentJson.model_validate(each, from_attributes=True) for each in row.deployments],
        created_at=checkpoint.created_at,
    )
