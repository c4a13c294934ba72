"""Reads of checkpoints, their lineage both ways, and the engine's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.models import Role, User
from app.errors import NotFound
from app.registry.models import Checkpoint, Deployment, EngineState, EngineStatus

STAFF = frozenset({Role.ADMIN, Role.REVIEWER})


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint with its place in the lineage and in the rotation."""

    checkpoint: Checkpoint
    parent: Checkpoint | None
    deployments: Sequence[Deployment]
    """Those in rotation."""
    percent: int
    """Of the samples that are drawn now, as far as shares say; 0 when out of rotation."""


@dataclass(frozen=True)
class Lineage:
    """Where a checkpoint came from and what came of it. Names are None where a step does not exist (the base)."""

    run_id: int | None
    run_kind: str | None
    snapshot_id: int | None
    snapshot_name: str | None
    snapshot_rows: int | None
    annotations: int
    annotators: int
    candidates: int
    children: Sequence[Checkpoint]


def access_checkpoint(session: Session, user: User, checkpoint_id: int) -> Checkpoint:
    """The checkpoint, for reviewers and admins; annotators never learn a model's name."""
    checkpoint = session.get(Checkpoint, checkpoint_id) if user.role in STAFF else None
    if checkpoint is None:
        raise NotFound
    return checkpoint


def access_deployment(session: Session, user: User, deployment_id: int) -> Deployment:
    """The deployment with its checkpoint, for reviewers and admins."""
    query = select(Deployment).where(Deployment.id == deployment_id).options(joinedload(Deployment.checkpoint))
    deployment = session.scalar(query) if user.role in STAFF else None
    if deployment is None:
        raise NotFound
    return deployment


def list_checkpoints(session: Session, *, limit: int = 200, before: int | None = None) -> list[CheckpointRow]:
    """Newest first; ``before`` is the last id of the page above."""
    parent = aliased(Checkpoint)
    query = select(Checkpoint, parent).outerjoin(parent, parent.id == Checkpoint.parent_id)
    if before is not None:
        query = query.where(Checkpoint.id < before)
    rows = session.execute(query.order_by(Checkpoint.id.desc()).limit(limit)).all()
    return _with_rotation(session, [(checkpoint, above) for checkpoint, above in rows])


def checkpoint_row(session: Session, checkpoint: Checkpoint) -> CheckpointRow:
    """One checkpoint as the list shows it."""
    parent = session.get(Checkpoint, checkpoint.parent_id) if checkpoint.parent_id else None
    return _with_rotation(session, [(checkpoint, parent)])[0]


def _with_rotation(session: Session, pairs: list[tuple[Checkpoint, Checkpoint | None]]) -> list[CheckpointRow]:
    current = list(session.scalars(select(Deployment).where(Deployment.ended_at.is_(None)).order_by(Deployment.id)))
    weights = checkpoint_weights(current)
    total = sum(weights.values())
    return [
        CheckpointRow(
            checkpoint,
            parent,
            [deployment for deployment in current if deployment.checkpoint_id == checkpoint.id],
            round(100 * weights.get(checkpoint.id, 0.0) / total) if total else 0,
        )
        for checkpoint, parent in pairs
    ]


def checkpoint_weights(deployments: Sequence[Deployment]) -> dict[int, float]:
    """The share of each checkpoint: the mean of its deployments', so that two samplings do not count it twice."""
    shares: dict[int, list[float]] = {}
    for deployment in deployments:
        shares.setdefault(deployment.checkpoint_id, []).append(deployment.share)
    return {checkpoint: sum(values) / len(values) for checkpoint, values in shares.items()}


# Runs, snapshots and candidates belong to domains above this one, so they are read by table and not by class.
_ORIGIN = text("""
    SELECT r.id AS run_id, r.kind AS run_kind, s.id AS snapshot_id, s.name AS snapshot_name, s.rows AS snapshot_rows,
           (SELECT count(*) FROM snapshot_annotations sa WHERE sa.snapshot_id = s.id) AS annotations,
           (SELECT count(DISTINCT a.annotator_id)
              FROM snapshot_annotations sa JOIN annotations a ON a.id = sa.annotation_id
             WHERE sa.snapshot_id = s.id) AS annotators
      FROM training_runs r JOIN snapshots s ON s.id = r.snapshot_id
     WHERE r.checkpoint_id = :id
""")
_CANDIDATES = text("SELECT count(*) FROM candidates WHERE checkpoint_id = :id AND edited_from_id IS NULL")


def lineage(session: Session, checkpoint: Checkpoint) -> Lineage:
    """Up to the annotations that a checkpoint was trained on, and down to what it wrote and what was trained from it."""
    origin = session.execute(_ORIGIN, {"id": checkpoint.id}).one_or_none()
    candidates = session.execute(_CANDIDATES, {"id": checkpoint.id}).scalar_one()
    children = session.scalars(select(Checkpoint).where(Checkpoint.parent_id == checkpoint.id).order_by(Checkpoint.id))
    return Lineage(
        run_id=origin.run_id if origin else None,
        run_kind=origin.run_kind if origin else None,
        snapshot_id=origin.snapshot_id if origin else None,
        snapshot_name=origin.snapshot_name if origin else None,
        snapshot_rows=origin.snapshot_rows if origin else None,
        annotations=origin.annotations if origin else 0,
        annotators=origin.annotators if origin else 0,
        candidates=candidates,
        children=list(children),
    )


@dataclass(frozen=True)
class EngineView:
    """What the last probe of the engine found."""

    state: EngineState
    since: datetime | None
    version: str | None
    error: str | None

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.state is EngineState.READY


def engine_view(session: Session, url: str) -> EngineView:
    """The engine at ``url``; one that was never probed is starting."""
    status = session.get(EngineStatus, url)
    if status is None:
        return EngineView(EngineState.STARTING, None, None, None)
    return EngineView(status.state, status.changed_at, status.version, status.error)
