"""JSON of preferences: the streamed export, and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.accounts.access import ApiReviewer, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.db import DbSession
from app.preferences import queries, service
from app.preferences.download import download, download_snapshot
from app.preferences.forms import ExportFilter, Format, Id, Number, Shape, Side, SnapshotRequest, split_for
from app.preferences.models import Snapshot, SnapshotState

router = APIRouter(tags=["preferences"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows, as they are made: JSON Lines, or Parquet.",
        "content": {
            "application/jsonl": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


_SNAPSHOT: dict[str, Any] = {
    "id": 3,
    "name": "snapshot-5d8f01c2",
    "state": "ready",
    "filter": {"rounds": [1], "until": 128},
    "rows": 412,
    "train_rows": 371,
    "held_out_rows": 41,
    "sha256": "9f2c1a7be0d35c64a8f1e2d3b4c5968778695a4b3c2d1e0f9182736455463728",
    "error": None,
    "created_at": "2026-11-23T02:30:00Z",
}
_USE: dict[str, Any] = {"run_id": 8, "kind": "dpo", "state": "succeeded", "round": 1, "checkpoint": "policy-r1-04"}


class SnapshotJson(BaseModel):
    """A frozen export. ``sha256`` is of its JSON Lines; it is there once ``state`` is ``ready``."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SNAPSHOT]})

    id: int
    name: str
    state: SnapshotState
    filter: ExportFilter
    rows: int | None
    train_rows: int | None
    held_out_rows: int | None
    sha256: str | None
    error: str | None
    created_at: datetime


class UseJson(BaseModel):
    """A training run that named the snapshot."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_USE]})

    run_id: int
    kind: str
    state: str
    round: int
    checkpoint: str | None


class SnapshotDetail(SnapshotJson):
    """A snapshot with its lineage."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_SNAPSHOT, "annotations": 128, "annotators": 5, "uses": [_USE]}]}
    )

    annotations: int
    annotators: int
    uses: list[UseJson]


class SnapshotList(BaseModel):
    """A page of snapshots, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"snapshots": [_SNAPSHOT], "next": None}]})

    snapshots: list[SnapshotJson]
    next: int | None


@router.get("/preferences/export", responses=_FILE, response_class=StreamingResponse)
def export_preferences(
    *,
    user: ApiReviewer,
    shape: Shape = Shape.CANONICAL,
    form: Annotated[Format, Query(alias="format")] = Format.JSONL,
    batch: Annotated[list[Id], Query(description="Only these batches.")] = [],  # noqa: B006 - FastAPI copies it
    rounds: Annotated[list[Number], Query(alias="round", description="Only these rounds.")] = [],  # noqa: B006
    split: Annotated[
        Side | None, Query(description="One side of the split by prompt, or all; without it `trl` is the train side.")
    ] = None,
    min_strength: Annotated[int | None, Query(ge=1, le=4, description="Only ranked pairs this strong.")] = None,
) -> StreamingResponse:
    """Stream the current preferences. Superseded annotations are never in.

    For reviewers, comparisons that still want annotators are left out, because the rows name the models.
    """
    wanted = ExportFilter(
        batch_ids=tuple(batch), rounds=tuple(rounds), split=split_for(shape, split), min_strength=min_strength
    )
    return download(user, shape, form, queries.visible_to(user, wanted))


@router.get("/snapshots", dependencies=[Depends(api_staff)])
def list_snapshots(
    session: DbSession,
    before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> SnapshotList:
    """Snapshots, newest first."""
    found = queries.list_snapshots(session, before=before, limit=limit)
    return SnapshotList(
        snapshots=[SnapshotJson.model_validate(_fields(snapshot)) for snapshot in found],
        next=found[-1].id if len(found) == limit else None,
    )


@router.post("/snapshots", status_code=202, response_model=SnapshotJson, dependencies=[TAKES_KEY])
def freeze_snapshot(request: Request, session: DbSession, user: ApiReviewer, wish: SnapshotRequest) -> Response:
    """Freeze an export; a worker builds it.

    For reviewers, comparisons that still want annotators are left out, because the rows name the models.
    """

    def work() -> SnapshotJson:
        snapshot = service.request_snapshot(session, user, wish.filter)
        session.refresh(snapshot)
        return SnapshotJson.model_validate(_fields(snapshot))

    return once(session, user, request, wish.model_dump_json().encode(), work, status=202)


@router.get("/snapshots/{snapshot_id}")
def get_snapshot(session: DbSession, user: ApiReviewer, snapshot_id: int) -> SnapshotDetail:
    """One snapshot with what it was made of and what was made of it."""
    return _detail(session, queries.access_snapshot(session, user, snapshot_id))


@router.get("/snapshots/{snapshot_id}/preferences.jsonl", responses=_FILE, response_class=FileResponse)
def snapshot_file(session: DbSession, user: ApiReviewer, snapshot_id: int) -> FileResponse:
    """The frozen rows: the very bytes that `sha256` is of.

    A reviewer gets 409 while some comparisons in it still want annotators, because the rows name the models.
    """
    return download_snapshot(session, user, queries.access_snapshot(session, user, snapshot_id))


def _fields(snapshot: Snapshot) -> dict[str, Any]:
    return {name: getattr(snapshot, name) for name in SnapshotJson.model_fields}


def _detail(session: Session, snapshot: Snapshot) -> SnapshotDetail:
    lineage = queries.lineage(session, snapshot)
    return SnapshotDetail(
        **_fields(snapshot),
        annotations=lineage.annotations,
        annotators=lineage.annotators,
        uses=[UseJson.model_validate(use) for use in lineage.uses],
    )
