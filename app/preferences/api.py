"""JSON of preferences: the streamed export, and snapshots."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from app.accounts.access import ApiReviewer, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.preferences import queries, service
from app.preferences.download import asked_since, download, download_snapshot, snapshot_card
from app.preferences.exporters import Format
from app.preferences.forms import ExportFilter, ExportRequest, SnapshotRequest
from app.preferences.models import Snapshot, SnapshotState

router = APIRouter(tags=["preferences"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows, streamed.",
        "headers": {
            "Corral-Cursor": {
                "description": "Asked with `since`: where the next export goes on.",
                "schema": {"type": "string"},
            }
        },
        "content": {each.exporter.media_type: {"schema": each.exporter.schema} for each in Format},
    }
}


SNAPSHOT: dict[str, Any] = {
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


class SnapshotJson(BaseModel):
    """A frozen export. ``sha256`` is of its JSON Lines; it is there once ``state`` is ``ready``."""

    model_config = ConfigDict(json_schema_extra={"examples": [SNAPSHOT]})

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

    @classmethod
    def of(cls, snapshot: Snapshot, **more: Any) -> Self:
        """The snapshot, with what a detail of it says beside."""
        names = SnapshotJson.model_fields
        return cls.model_validate({name: getattr(snapshot, name) for name in names} | more)


class SnapshotList(BaseModel):
    """A page of snapshots, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"snapshots": [SNAPSHOT], "next": None}]})

    snapshots: list[SnapshotJson]
    next: int | None


@router.get("/preferences/export", responses=_FILE, response_class=StreamingResponse)
def export_preferences(
    session: DbSession, user: ApiReviewer, asked: Annotated[ExportRequest, Query()]
) -> StreamingResponse:
    """Stream the current preferences. Annotations that were corrected, are returned, or are retracted are never in.

    For reviewers, comparisons that still need annotators are left out, because the rows name the models.

    With `since` come the rows of judgements that are new or count again, and one for each that no longer counts, whose `outcome`
    says why; all rows of an `annotation_id` take the place of those that you have of it. Keep the cursor once you have read the
    last row: after a broken connection, ask again with the one before.
    """
    wanted = queries.visible_to(user, asked.wanted(asked.shape))
    window = asked_since(session, asked.since, asked.shape, wanted)
    return download(user, asked.shape, asked.form, wanted, window)


@router.get("/snapshots", dependencies=[Depends(api_staff)])
def list_snapshots(
    session: DbSession,
    before: Cursor = None,
    limit: Limit = 25,
) -> SnapshotList:
    """Snapshots, newest first."""
    page = queries.list_snapshots(session, before=before, limit=limit)
    return SnapshotList(
        snapshots=[SnapshotJson.of(snapshot) for snapshot in page.rows],
        next=page.next,
    )


@router.post("/snapshots", status_code=202, response_model=SnapshotJson, dependencies=[TAKES_KEY])
def freeze_snapshot(request: Request, session: DbSession, user: ApiReviewer, wish: SnapshotRequest) -> Response:
    """Freeze an export; a worker builds it.

    For reviewers, comparisons that still need annotators are left out, because the rows name the models.
    """

    def work() -> SnapshotJson:
        snapshot = service.request_snapshot(session, user, wish.filter)
        session.refresh(snapshot)
        return SnapshotJson.of(snapshot)

    return once(session, user, request, wish.model_dump_json().encode(), work, status=202)


@router.get("/snapshots/{snapshot_id}/preferences.jsonl", responses=_FILE, response_class=FileResponse)
def snapshot_file(session: DbSession, user: ApiReviewer, snapshot_id: int) -> FileResponse:
    """The frozen rows: exactly the bytes that `sha256` covers.

    A reviewer gets 409 while some comparisons in it still need annotators, because the rows name the models.
    """
    return download_snapshot(session, user, queries.access_snapshot(session, user, snapshot_id))


_CARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "The card.", "content": {"text/markdown": {"schema": {"type": "string"}}}}
}


@router.get("/snapshots/{snapshot_id}/README.md", responses=_CARD, response_class=PlainTextResponse)
def snapshot_description(session: DbSession, user: ApiReviewer, snapshot_id: int) -> Response:
    """The dataset card of the frozen rows: what they are, the selection, and every column. 409 until the snapshot is ready."""
    return snapshot_card(queries.access_snapshot(session, user, snapshot_id))
