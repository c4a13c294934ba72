"""JSON of checkpoints and snapshots with their lineage, of where annotations went, and of retractions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.accounts.access import ApiAdmin, ApiReviewer, api_admin, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.annotations.models import RetractionScope
from app.kernel.db import DbSession
from app.kernel.paging import LARGEST, Cursor, Limit
from app.lineage import queries, service, targets
from app.lineage.forms import (
    AnnotationLineageJson,
    CheckpointDetailJson,
    InputJson,
    LineageJson,
    ReachJson,
    RetractionDetail,
    RetractionIn,
    RetractionJson,
    RetractionList,
    SnapshotDetail,
    SourceDetail,
    SourceUseJson,
    UseJson,
)
from app.lineage.marks import Mark, marks
from app.lineage.queries import CheckpointLineage
from app.lineage.reach import reach
from app.preferences.queries import access_snapshot
from app.registry.forms import CheckpointJson, CheckpointList, DeploymentJson
from app.registry.queries import CheckpointRow, access_checkpoint, checkpoint_row, list_checkpoints
from app.rounds import discarding
from app.sources.forms import LearntJson, SourceJson
from app.sources.queries import access_source
from training.formats.trainers import trainer_of

router = APIRouter()


# ── Checkpoints and snapshots ────────────────────────────────────────────────────────────────────────────────────────
@router.get("/checkpoints", tags=["checkpoints"], dependencies=[Depends(api_staff)])
def get_checkpoints(session: DbSession, before: Cursor = None, limit: Limit = 50) -> CheckpointList:
    """Checkpoints, newest first."""
    page, marked = list_checkpoints(session, before=before, limit=limit), marks(session)
    trained_by = queries.trained_by(session, [row.checkpoint.id for row in page.rows])
    return CheckpointList(
        checkpoints=[
            _checkpoint(row, trained_by.get(row.checkpoint.id), marked.get(row.checkpoint.id)) for row in page.rows
        ],
        next=page.next,
    )


@router.get("/checkpoints/{checkpoint_id}", tags=["checkpoints"])
def get_checkpoint(session: DbSession, user: ApiReviewer, checkpoint_id: int) -> CheckpointDetailJson:
    """One checkpoint with where it came from and what came of it."""
    checkpoint = access_checkpoint(session, user, checkpoint_id)
    found = queries.checkpoint_lineage(session, user, checkpoint)
    row = _checkpoint(checkpoint_row(session, checkpoint), found.run.trained_by if found.run else None, found.mark)
    return CheckpointDetailJson(**row.model_dump(), lineage=_lineage(found))


def _checkpoint(row: CheckpointRow, trained_by: str | None, mark: Mark | None) -> CheckpointJson:
    checkpoint = row.checkpoint
    return CheckpointJson(
        id=checkpoint.id,
        name=checkpoint.name,
        kind=checkpoint.kind,
        trainer=trainer_of(trained_by) if trained_by else None,
        state=checkpoint.state,
        broken_reason=checkpoint.broken_reason,
        parent=row.parent.name if row.parent else None,
        manifest_sha256=checkpoint.manifest_sha256,
        metrics=checkpoint.metrics,
        rotation_percent=row.percent,
        roles=list(row.roles),
        deployments=[DeploymentJson.model_validate(each, from_attributes=True) for each in row.deployments],
        mark=mark.value if mark else None,
        created_at=checkpoint.created_at,
    )


def _lineage(found: CheckpointLineage) -> LineageJson:
    learnt = found.learnt_from
    return LineageJson(
        training_run=found.run.id if found.run else None,
        snapshot=found.snapshot.id if found.snapshot else None,
        snapshot_rows=found.snapshot.rows if found.snapshot else None,
        annotations=found.annotations,
        annotators=found.annotators,
        people={author.pseudonym: author.annotations for author in learnt.people} if learnt else {},
        retracted=learnt.retracted if learnt else 0,
        inputs=[InputJson(role=each.role, checkpoint=each.checkpoint.name) for each in found.inputs],
        sources=[LearntJson.of(each.source, each.weight) for each in found.sources],
        candidates=found.responses,
        children=[child.name for child in found.children],
        used_by=[InputJson(role=each.role, checkpoint=each.checkpoint.name) for each in found.given if each.checkpoint],
        contests=[each.contest.id for each in found.contests],
    )


@router.get("/snapshots/{snapshot_id}", tags=["preferences"])
def get_snapshot(session: DbSession, user: ApiReviewer, snapshot_id: int) -> SnapshotDetail:
    """One snapshot with its sources and the runs that used it."""
    snapshot = access_snapshot(session, user, snapshot_id)
    found = queries.snapshot_lineage(session, snapshot.id)
    return SnapshotDetail.of(
        snapshot,
        annotations=found.annotations,
        written=found.written,
        annotators=found.annotators,
        retracted=found.retracted,
        uses=[UseJson.of(use) for use in found.uses],
    )


@router.delete("/sources/{source_id:int}/file", tags=["sources"], response_model=SourceJson, dependencies=[TAKES_KEY])
def delete_source_file(request: Request, session: DbSession, user: ApiAdmin, source_id: int) -> Response:
    """Delete the file of a withdrawn source, once no run that has not ended needs it. What learnt from it keeps its hash."""
    found = access_source(session, user, source_id)

    def work() -> SourceJson:
        discarding.delete_file(session, user, found)
        return SourceJson.model_validate(found)

    return once(session, user, request, b"", work)


@router.get("/sources/{source_id:int}", tags=["sources"])
def get_source(session: DbSession, user: ApiReviewer, source_id: int) -> SourceDetail:
    """One source with the runs that learn from it, and what came of them."""
    source = access_source(session, user, source_id)
    uses = [
        SourceUseJson(**UseJson.of(use).model_dump(), weight=use.weight) for use in queries.source_uses(session, source)
    ]
    return SourceDetail(**SourceJson.model_validate(source).model_dump(), uses=uses)


# ── Annotations and retractions ──────────────────────────────────────────────────────────────────────────────────────
@router.get("/annotations/{annotation_id}/lineage", tags=["lineage"])
def annotation_lineage(session: DbSession, user: ApiReviewer, annotation_id: int) -> AnnotationLineageJson:
    """Where an annotation was used: snapshots, runs, checkpoints, contests, and how many responses those have written.

    For reviewers, once its comparison has its annotators, because it names the models.
    """
    found = queries.access_annotation(session, user, annotation_id)
    return AnnotationLineageJson(
        id=annotation_id,
        annotator=found.annotation.annotator.pseudonym,
        batch_id=found.batch_id,
        stands=found.stands,
        returned=found.returned,
        retraction_id=found.annotation.retraction_id,
        reach=ReachJson.of(found.reach),
    )


@router.get("/retractions", tags=["lineage"], dependencies=[Depends(api_admin)])
def list_retractions(session: DbSession, before: Cursor = None, limit: Limit = 50) -> RetractionList:
    """Retractions, newest first, restored ones included."""
    page = queries.list_retractions(session, before=before, limit=limit)
    return RetractionList(
        retractions=[RetractionJson.model_validate(row.retraction) for row in page.rows], next=page.next
    )


@router.get("/retractions/preview", tags=["lineage"], dependencies=[Depends(api_admin)])
def preview_retraction(
    session: DbSession, scope: RetractionScope, target_id: Annotated[int, Query(ge=1, le=LARGEST)]
) -> ReachJson:
    """What a retraction would remove, and where that was used. Nothing changes."""
    return ReachJson.of(reach(session, service.left_of(targets.find(session, scope, target_id))))


@router.post(
    "/retractions", tags=["lineage"], status_code=201, response_model=RetractionDetail, dependencies=[TAKES_KEY]
)
def retract(request: Request, session: DbSession, user: ApiAdmin, wish: RetractionIn) -> Response:
    """Remove annotations from exports, training and contests. Models trained on them are marked."""

    def work() -> RetractionDetail:
        made = service.retract(session, user, wish.scope, wish.target_id, wish.reason, erase=wish.erase)
        return RetractionDetail.whole(made, queries.retracted_by(session, made))

    return once(session, user, request, wish.model_dump_json().encode(), work, status=201)


@router.get("/retractions/{retraction_id}", tags=["lineage"])
def get_retraction(session: DbSession, user: ApiAdmin, retraction_id: int) -> RetractionDetail:
    """One retraction, with where its annotations were used; nowhere once it is restored."""
    made = queries.access_retraction(session, user, retraction_id)
    return RetractionDetail.whole(made, queries.retracted_by(session, made))


@router.post(
    "/retractions/{retraction_id}/restore", tags=["lineage"], response_model=RetractionJson, dependencies=[TAKES_KEY]
)
def restore(request: Request, session: DbSession, user: ApiAdmin, retraction_id: int) -> Response:
    """Restore what a retraction removed. Annotations that a later retraction covers too stay retracted by that one."""
    made = queries.access_retraction(session, user, retraction_id)

    def work() -> RetractionJson:
        service.restore(session, user, made)
        return RetractionJson.model_validate(made)

    return once(session, user, request, b"", work)
