"""Checkpoints, who is in the rotation, and what is known of the engine.

The database wishes and the reconciler (``workers.serving``) makes it so: ``deploy`` only writes a row. A new policy takes
the place of older ones when it is *loaded*, not when it is wished for, so one that never loads changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.errors import Conflict
from app.jobs import Job, enqueue
from app.registry.manifest import weights_mark
from app.registry.models import (
    Checkpoint,
    CheckpointKind,
    CheckpointState,
    Deployment,
    EngineState,
    EngineStatus,
    LoadState,
)

log = structlog.get_logger()

SAMPLED_KINDS = frozenset({CheckpointKind.BASE, CheckpointKind.SFT, CheckpointKind.POLICY})
BASE_SAMPLINGS: dict[str, dict[str, Any]] = {
    "focused": {"temperature": 0.7, "top_p": 0.9},
    "varied": {"temperature": 1.0, "top_p": 0.95},
}
"""Before any training there is one model: two samplings of it are what can be compared."""
POLICY_SAMPLING: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95}


def ensure_base(session: Session, path: str) -> Checkpoint:
    """The base checkpoint at ``path`` (a folder or a hub id), created when new, with something in rotation.

    Other weights than last time, also under the same name, retire the old base together with the adapters that were
    trained on it: they fit no other weights. The same weights in another folder are the same base.
    """
    mark = weights_mark(path)
    found = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE).order_by(Checkpoint.id.desc())
    bases = list(session.scalars(found))
    bases.sort(key=lambda known: known.state is not CheckpointState.READY)  # the current one first, in case of doubt
    base = next((known for known in bases if _same_base(known, path, mark)), None)
    if base is None or base.state is not CheckpointState.READY:
        _retire_all(session)
    if base is None:
        base = Checkpoint(name=_free_name(session, path, mark), kind=CheckpointKind.BASE, path=path)
        session.add(base)
    base.path, base.weights_mark, base.state = path, mark or base.weights_mark, CheckpointState.READY
    session.flush()
    ensure_rotation(session)
    return base


def _same_base(known: Checkpoint, path: str, mark: str | None) -> bool:
    """By their weights, as far as both are known; a hub id, or a folder that this process cannot see, by its path."""
    return known.path == path if None in {mark, known.weights_mark} else known.weights_mark == mark


def _free_name(session: Session, path: str, mark: str | None) -> str:
    """The folder's name, with a piece of what is in it where another checkpoint has that name."""
    name = PurePath(path).name
    if session.scalar(select(Checkpoint.id).where(Checkpoint.name == name)) is None:
        return name
    return f"{name[:70]}-{mark or hashlib.sha256(path.encode()).hexdigest():.8}"


def _retire_all(session: Session) -> None:
    session.execute(update(Deployment).where(Deployment.ended_at.is_(None)).values(ended_at=func.now()))
    session.execute(
        update(Checkpoint).where(Checkpoint.state == CheckpointState.READY).values(state=CheckpointState.RETIRED)
    )


def ensure_rotation(session: Session) -> None:
    """Put the base's two samplings into an empty rotation: there is always something to sample from."""
    base = session.scalar(
        select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE, Checkpoint.state == CheckpointState.READY)
    )
    if base is not None and not in_rotation(session):
        for label, sampling in BASE_SAMPLINGS.items():
            deploy(session, base, label=label, sampling=sampling)


def register_checkpoint(
    session: Session,
    *,
    name: str,
    kind: CheckpointKind,
    path: str,
    parent: Checkpoint | None,
    metrics: dict[str, Any],
    manifest_sha256: str,
) -> Checkpoint:
    """Record a finished checkpoint. The same name with the same manifest is the same checkpoint: a retry changes nothing.

    Raises:
        Conflict: the name is taken by other weights; names are immutable, because the engine caches by them.
    """
    known = session.scalar(select(Checkpoint).where(Checkpoint.name == name))
    if known is not None:
        if known.manifest_sha256 != manifest_sha256:
            raise Conflict(f"A checkpoint named {name} exists with other weights. Choose another name.")
        return known
    checkpoint = Checkpoint(
        name=name,
        kind=kind,
        path=path,
        parent_id=parent.id if parent else None,
        metrics=metrics,
        manifest_sha256=manifest_sha256,
    )
    session.add(checkpoint)
    session.flush()
    log.info("checkpoint_registered", name=name, kind=kind.value)
    return checkpoint


def in_rotation(session: Session, *, lock: bool = False) -> list[Deployment]:
    """Every deployment that is wished for, loaded or not, oldest first."""
    query = (
        select(Deployment)
        .where(Deployment.ended_at.is_(None))
        .options(joinedload(Deployment.checkpoint))
        .order_by(Deployment.id)
    )
    if lock:
        query = query.with_for_update(of=Deployment).execution_options(populate_existing=True)
    return list(session.scalars(query))


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
    share: float = 1.0,
    replaces: Iterable[int] = (),
) -> Deployment:
    """Wish for ``checkpoint`` in the rotation; with the same label it stays the one that is there already.

    Raises:
        Conflict: it cannot be sampled (a reward model), or its files no longer match its manifest.
    """
    if checkpoint.kind not in SAMPLED_KINDS:
        raise Conflict(f"{checkpoint.name} is a reward model: it scores answers and writes none.")
    if checkpoint.state is not CheckpointState.READY:
        raise Conflict(f"{checkpoint.name} is {checkpoint.state.value} and cannot be served. Train it again.")
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
        "share": share,
        "load_state": LoadState.PENDING,
        "replaces": sorted(replaces),
    }
    session.execute(
        insert(Deployment)
        .values(values)
        .on_conflict_do_nothing(index_elements=["checkpoint_id", "label"], index_where=Deployment.ended_at.is_(None))
    )
    enqueue(session, Job.RECONCILE_SERVING)
    wished = select(Deployment).where(
        Deployment.checkpoint_id == checkpoint.id, Deployment.label == label, Deployment.ended_at.is_(None)
    )
    return session.scalars(wished.options(joinedload(Deployment.checkpoint))).one()


def promote(session: Session, checkpoint: Checkpoint) -> Deployment:
    """Bring a new policy into the rotation beside the previous policy, or the base where there is none.

    What else is in the rotation leaves once the new one is loaded. Two policies at least are what makes a comparison
    say something about the training.
    """
    there = in_rotation(session, lock=True)
    others = [deployment for deployment in there if deployment.checkpoint_id != checkpoint.id]
    policies = [deployment for deployment in others if deployment.checkpoint.kind is not CheckpointKind.BASE]
    loaded = [deployment for deployment in policies if deployment.load_state is LoadState.LOADED]
    previous = max(loaded or others, key=lambda deployment: deployment.id, default=None)
    leaving = [d.id for d in others if previous is None or d.checkpoint_id != previous.checkpoint_id]
    return deploy(session, checkpoint, replaces=leaving)


def end_deployment(session: Session, deployment: Deployment) -> None:
    """Take a deployment out of the rotation.

    Raises:
        Conflict: it is the last one that can be sampled.
    """
    there = in_rotation(session, lock=True)
    if deployment.id not in {other.id for other in there}:
        return
    rest = [other for other in there if other.id != deployment.id]
    if deployment.load_state is LoadState.LOADED:
        rest = [other for other in rest if other.load_state is LoadState.LOADED]
    if not rest:
        raise Conflict(
            "This is the last model in rotation, and generation needs one. Put another into the rotation first, and "
            "wait until it is loaded."
        )
    _end(session, [deployment.id])


def _end(session: Session, ids: Iterable[int]) -> None:
    session.execute(
        update(Deployment)
        .where(Deployment.id.in_(list(ids)), Deployment.ended_at.is_(None))
        .values(ended_at=func.now())
        .execution_options(synchronize_session="fetch")
    )
    enqueue(session, Job.RECONCILE_SERVING)


# ── What the reconciler found ────────────────────────────────────────────────────────────────────────────────────────
def mark_loaded(session: Session, deployment_id: int) -> None:
    """The engine has it: it is sampled from now on, and what it replaces leaves."""
    deployment = session.get(Deployment, deployment_id, with_for_update=True)
    if deployment is None or deployment.ended_at is not None or deployment.load_state is LoadState.LOADED:
        return
    deployment.load_state, deployment.load_error = LoadState.LOADED, None
    replaced, deployment.replaces = deployment.replaces, []
    session.flush()
    if replaced:
        _end(session, replaced)
    log.info("deployment_loaded", deployment=deployment_id)
    enqueue(session, Job.GENERATE)


def mark_waiting(session: Session, deployment_id: int, reason: str | None = None) -> None:
    """The engine does not have it (yet, or not any more): it is not sampled until it has."""
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id, Deployment.ended_at.is_(None))
        .values(load_state=LoadState.PENDING, load_error=reason)
    )


def mark_failed(session: Session, deployment_id: int, reason: str) -> None:
    """The engine refused it; the reconciler tries again, and the reason is shown meanwhile."""
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id, Deployment.ended_at.is_(None))
        .values(load_state=LoadState.FAILED, load_error=reason)
    )


def mark_broken(session: Session, checkpoint_id: int, reason: str) -> None:
    """A file no longer matches its manifest: out of the rotation for good, and what it was to replace stays."""
    there = in_rotation(session, lock=True)
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.id == checkpoint_id)
        .values(state=CheckpointState.BROKEN, broken_reason=reason)
        .execution_options(synchronize_session="fetch")
    )
    for deployment in there:
        if deployment.checkpoint_id == checkpoint_id:
            deployment.load_state, deployment.load_error, deployment.ended_at = LoadState.FAILED, reason, func.now()
    session.flush()
    log.error("checkpoint_broken", checkpoint=checkpoint_id, reason=reason)
    ensure_rotation(session)


def note_engine(
    session: Session,
    url: str,
    state: EngineState,
    *,
    version: str | None = None,
    models: list[dict[str, Any]] | None = None,
    error: str | None = None,
) -> bool:
    """Write down what a probe found; true when the state changed. ``changed_at`` tells since when it is so."""
    before = session.scalar(select(EngineStatus.state).where(EngineStatus.url == url))
    values: dict[str, Any] = {"state": state, "error": error, "checked_at": func.now()}
    if state is EngineState.READY:
        values |= {"version": version, "models": models or []}
    if before is not state:
        values["changed_at"] = func.now()
    statement = insert(EngineStatus).values(url=url, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["url"], set_=values))
    if before is not state:
        log.info("engine_state", state=state.value, error=error)
    return before is not state
