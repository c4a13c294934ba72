"""Reads of checkpoints with their place in the rotation, and of the engine's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_rows
from app.registry.appointments import roles
from app.registry.deployments import in_rotation
from app.registry.models import Checkpoint, Deployment, EngineState, EngineStatus, LoopRole
from app.registry.rotation import Rotation

STAFF = frozenset({Role.ADMIN, Role.REVIEWER})


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint with its place in the lineage and in the rotation."""

    checkpoint: Checkpoint
    parent: Checkpoint | None
    deployments: Sequence[Deployment]
    """Those in rotation."""
    percent: int
    """Of the prompts, how many it answers now, as far as shares say; 0 when out of rotation."""
    roles: Sequence[LoopRole]
    """What it is to the loop, in the order in which :class:`LoopRole` names them; most are nothing."""


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


def list_checkpoints(session: Session, *, limit: int = 200, before: int | None = None) -> Page[CheckpointRow]:
    """Newest first."""
    parent = aliased(Checkpoint)
    query = select(Checkpoint, parent).outerjoin(parent, parent.id == Checkpoint.parent_id)
    page = read_rows(session, query, Order(Checkpoint.id), before, limit)
    return Page(_rows(session, [(checkpoint, above) for checkpoint, above in page.rows]), page.next)


def checkpoint_row(session: Session, checkpoint: Checkpoint) -> CheckpointRow:
    """One checkpoint as the list shows it."""
    parent = session.get(Checkpoint, checkpoint.parent_id) if checkpoint.parent_id else None
    return _rows(session, [(checkpoint, parent)])[0]


def _rows(session: Session, pairs: list[tuple[Checkpoint, Checkpoint | None]]) -> list[CheckpointRow]:
    current = in_rotation(session)
    held = roles(session)
    rotation = Rotation(current, held)
    parts = {rotation.champion: 1.0} | rotation.beside()
    return [
        CheckpointRow(
            checkpoint,
            parent,
            [deployment for deployment in current if deployment.checkpoint_id == checkpoint.id],
            round(100 * parts.get(checkpoint.id, 0.0)),
            [role for role in LoopRole if held.get(role) == checkpoint.id],
        )
        for checkpoint, parent in pairs
    ]


@dataclass(frozen=True)
class EngineView:
    """What the last probe of the engine found."""

    state: EngineState
    since: datetime | None
    version: str | None
    error: str | None
    place: str = ""
    """Host and port, of one of several engines."""

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.state is EngineState.READY

    @property
    def away(self) -> bool:
        """Whether generation waits for it."""
        return self.state is EngineState.AWAY


def engine_view(session: Session, url: str) -> EngineView:
    """The engine at ``url``; one that was never probed is starting."""
    status = session.get(EngineStatus, url)
    if status is None:
        return EngineView(EngineState.STARTING, None, None, None)
    return EngineView(status.state, status.changed_at, status.version, status.error)


def engines_view(session: Session, url: str) -> list[EngineView]:
    """Each of several engines, by its address; none where ``url`` is the only one."""
    query = select(EngineStatus).where(EngineStatus.url != url).order_by(EngineStatus.url)
    return [
        EngineView(each.state, each.changed_at, each.version, each.error, urlsplit(each.url).netloc)
        for each in session.scalars(query)
    ]
