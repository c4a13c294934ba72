"""The rows of the rotation: what is to be sampled, how, and with which share. They are the desired state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.registry.appointments import roles
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState, Deployment, LoadState, LoopRole
from app.registry.rotation import Rotation

SAMPLED_KINDS = frozenset(CheckpointKind) - {CheckpointKind.REWARD}
BASE_SAMPLINGS: dict[str, dict[str, Any]] = {
    "focused": {"temperature": 0.7, "top_p": 0.9},
    "varied": {"temperature": 1.0, "top_p": 0.95},
}
"""Before any training there is one model: two samplings of it are what can be compared."""
POLICY_SAMPLING: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95}


def in_rotation(session: Session, *, lock: bool = False) -> list[Deployment]:
    """Every desired deployment, loaded or not, oldest first."""
    query = (
        select(Deployment)
        .where(Deployment.ended_at.is_(None))
        .options(joinedload(Deployment.checkpoint).joinedload(Checkpoint.external))
        .order_by(Deployment.id)
    )
    if lock:
        query = query.with_for_update(of=Deployment).execution_options(populate_existing=True)
    return list(session.scalars(query))


def serving(session: Session) -> Rotation:
    """What may be sampled now, with who is who."""
    return Rotation(rotation(session), roles(session))


def rotation(session: Session) -> list[Deployment]:
    """What may be sampled now: in rotation and loaded by the engine."""
    return [
        deployment
        for deployment in in_rotation(session)
        if deployment.load_state is LoadState.LOADED and deployment.checkpoint.state is CheckpointState.READY
    ]


def deploy(
    session: Session,
    checkpoint: Checkpoint,
    *,
    label: str = "default",
    sampling: dict[str, Any] | None = None,
) -> Deployment:
    """Add ``checkpoint`` to the rotation; with the same label the existing deployment stays.

    Raises:
        Conflict: it cannot be sampled (a reward model), or its files no longer match its manifest.
    """
    check_sampled(checkpoint)
    session.flush()
    # Rows of the rotation are locked so that two admins, or an admin and a promotion, take turns.
    for deployment in in_rotation(session, lock=True):
        if deployment.checkpoint_id == checkpoint.id and deployment.label == label:
            return deployment
    # Who waited for the lock does not see what was added meanwhile: the index lets one through, the other takes its row.
    values = {
        "checkpoint_id": checkpoint.id,
        "label": label,
        "sampling": sampling if sampling is not None else dict(POLICY_SAMPLING),
        "load_state": LoadState.PENDING,
    }
    session.execute(
        insert(Deployment)
        .values(values)
        .on_conflict_do_nothing(index_elements=["checkpoint_id", "label"], index_where=Deployment.ended_at.is_(None))
    )
    enqueue(session, Job.RECONCILE_SERVING)
    desired = select(Deployment).where(
        Deployment.checkpoint_id == checkpoint.id, Deployment.label == label, Deployment.ended_at.is_(None)
    )
    return session.scalars(desired.options(joinedload(Deployment.checkpoint))).one()


def check_sampled(checkpoint: Checkpoint) -> None:
    """Raises :class:`Conflict` where the engine cannot be asked for answers of it."""
    if checkpoint.kind not in SAMPLED_KINDS:
        raise Conflict(_("{name} is a reward model: it scores answers and writes none.", name=checkpoint.name))
    if checkpoint.is_imported:
        raise Conflict(_("{name} is known by imported responses alone: no endpoint serves it.", name=checkpoint.name))
    if checkpoint.state is not CheckpointState.READY:
        raise Conflict(
            _(
                "{name} is {state} and cannot be served. Train it again.",
                name=checkpoint.name,
                state=checkpoint.state.label,
            )
        )


def serve(session: Session, *wanted: LoopRole) -> None:
    """Put those in these roles into the rotation where they are not; the base with its two samplings."""
    there = {deployment.checkpoint_id for deployment in in_rotation(session)}
    held = roles(session)
    for checkpoint_id in sorted({held[role] for role in wanted if role in held} - there):
        checkpoint = session.get_one(Checkpoint, checkpoint_id)
        base = checkpoint.kind is CheckpointKind.BASE
        for label, sampling in (BASE_SAMPLINGS if base else {"default": POLICY_SAMPLING}).items():
            deploy(session, checkpoint, label=label, sampling=dict(sampling))


def leave(session: Session, checkpoint_id: int | None) -> None:
    """Out of the rotation with it, unless it has a role."""
    if checkpoint_id is not None and checkpoint_id not in roles(session).values():
        end(session, [each.id for each in in_rotation(session) if each.checkpoint_id == checkpoint_id])


def end(session: Session, ids: Iterable[int]) -> None:
    """Out of the rotation with these."""
    session.execute(
        update(Deployment)
        .where(Deployment.id.in_(list(ids)), Deployment.ended_at.is_(None))
        .values(ended_at=func.now())
        .execution_options(synchronize_session="fetch")
    )
    enqueue(session, Job.RECONCILE_SERVING)


def weigh_alike(session: Session, checkpoint_id: int) -> None:
    """A challenger's share is its own for as long as its contest."""
    of_it = Deployment.checkpoint_id == checkpoint_id, Deployment.ended_at.is_(None)
    session.execute(update(Deployment).where(*of_it).values(share=1.0).execution_options(synchronize_session="fetch"))
