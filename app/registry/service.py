"""Checkpoints, who is in the rotation, and what is known of the engine.

The rows are the desired state, which the reconciler (``workers.tasks.serving``) brings about: ``deploy`` only writes a row.
Who is champion is a pointer (:mod:`app.registry.appointments`) that verdicts move: ``challenge``, ``crown``, ``dismiss`` and
``roll_back``. What is in the rotation follows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.registry import appointments
from app.registry.appointments import appoint, appointed, roles, take_turn
from app.registry.deployments import (
    SAMPLED_KINDS,
    check_sampled,
    deploy,
    end,
    in_rotation,
    leave,
    rotation,
    serve,
    serving,
    weigh_alike,
)
from app.registry.manifest import weights_mark
from app.registry.models import (
    Checkpoint,
    CheckpointKind,
    CheckpointState,
    Deployment,
    EngineState,
    EngineStatus,
    LoadState,
    LoopRole,
)

__all__ = ["SAMPLED_KINDS", "appointed", "deploy", "in_rotation", "rotation", "serving"]  # beside what is defined here

log = structlog.get_logger()


def ensure_base(session: Session, path: str) -> Checkpoint:
    """The base checkpoint at ``path`` (a folder or a hub id), created when new, with something in rotation.

    Other weights than last time, also under the same name, retire the old base together with the adapters that were
    trained on it: they fit no other weights. The same weights in another folder are the same base.
    """
    mark, named = weights_mark(path), get_settings().name_of(path)
    found = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE).order_by(Checkpoint.id.desc())
    bases = list(session.scalars(found))
    bases.sort(key=lambda known: known.state is not CheckpointState.READY)  # the current one first, in case of doubt
    base = next((known for known in bases if _same_base(known, named, mark)), None)
    if base is None or base.state is not CheckpointState.READY:
        _retire_all(session)
    if base is None:
        base = Checkpoint(name=_free_name(session, path, mark), kind=CheckpointKind.BASE, path=named)
        session.add(base)
    base.path, base.weights_mark, base.state = named, mark or base.weights_mark, CheckpointState.READY
    session.flush()
    ensure_rotation(session)
    return base


def _same_base(known: Checkpoint, named: str, mark: str | None) -> bool:
    """By their weights, as far as both are known; a hub id, or a folder that this process cannot see, by its name."""
    return (
        get_settings().name_of(get_settings().place_of(known.path)) == named
        if None in {mark, known.weights_mark}
        else known.weights_mark == mark
    )


def _free_name(session: Session, path: str, mark: str | None) -> str:
    """The folder's name, with a piece of what is in it where another checkpoint has that name."""
    name = PurePath(path).name
    if session.scalar(select(Checkpoint.id).where(Checkpoint.name == name)) is None:
        return name
    return f"{name[:70]}-{mark or hashlib.sha256(path.encode()).hexdigest():.8}"


def _retire_all(session: Session) -> None:
    ours = select(Checkpoint.id).where(Checkpoint.kind != CheckpointKind.EXTERNAL)
    there = Deployment.ended_at.is_(None), Deployment.checkpoint_id.in_(ours)
    session.execute(update(Deployment).where(*there).values(ended_at=func.now()))
    ready = Checkpoint.state == CheckpointState.READY, Checkpoint.kind != CheckpointKind.EXTERNAL
    session.execute(update(Checkpoint).where(*ready).values(state=CheckpointState.RETIRED))


def ensure_rotation(session: Session) -> None:
    """See to it that everybody in a role can serve, and that champion and challenger are in the rotation.

    The base is the champion while there is no other, so there is always something to sample from.
    """
    _take_turns(session)
    appointments.settle(session)
    serve(session, LoopRole.CHAMPION, LoopRole.CHALLENGER)


def register_checkpoint(
    session: Session,
    *,
    name: str,
    kind: CheckpointKind,
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
            raise Conflict(_("A checkpoint named {name} exists with other weights. Choose another name.", name=name))
        return known
    checkpoint = Checkpoint(
        name=name,
        kind=kind,
        path=name,
        parent_id=parent.id if parent else None,
        metrics=metrics,
        manifest_sha256=manifest_sha256,
    )
    session.add(checkpoint)
    session.flush()
    log.info("checkpoint_registered", name=name, kind=kind.value)
    return checkpoint


# ── Who is champion ──────────────────────────────────────────────────────────────────────────────────────────────────
def challenge(session: Session, checkpoint: Checkpoint) -> Deployment:
    """Appoint a policy challenger and bring it into the rotation beside the champion. Done twice it is the same.

    Those before whom it is measured come in with it; what has no role leaves as soon as it is loaded.

    Raises:
        Conflict: it is the champion, another one is in contest, or it cannot be sampled.
    """
    there = _take_turns(session)
    held = roles(session)
    if held.get(LoopRole.CHAMPION) == checkpoint.id:
        raise Conflict(_("{name} is the champion already.", name=checkpoint.name))
    _check_ours(checkpoint)
    _check_free(session, checkpoint, held)
    share = get_settings().challenger_percent / 100
    staying = {*held.values(), checkpoint.id}
    leaving = [each.id for each in there if each.checkpoint_id not in staying]
    deployment = deploy(session, checkpoint)
    loaded = deployment.load_state is LoadState.LOADED  # where an admin had added it
    deployment.share, deployment.replaces = share, [] if loaded else leaving
    appoint(session, {LoopRole.CHALLENGER: checkpoint.id})
    serve(session, LoopRole.CHAMPION, LoopRole.PREVIOUS, LoopRole.BASE)
    if loaded and leaving:
        end(session, leaving)
    log.info("challenger_appointed", name=checkpoint.name)
    return deployment


def crown(session: Session, checkpoint: Checkpoint) -> None:
    """Make a policy the champion, and the champion the previous one. Done twice it is the same.

    Raises:
        Conflict: another one is in contest, or it cannot be sampled.
    """
    _take_turns(session)
    held = roles(session)
    before = held.get(LoopRole.CHAMPION)
    if before == checkpoint.id:
        return
    _check_ours(checkpoint)
    check_sampled(checkpoint)
    _check_free(session, checkpoint, held)
    appoint(session, {LoopRole.CHAMPION: checkpoint.id, LoopRole.PREVIOUS: before, LoopRole.CHALLENGER: None})
    leave(session, held.get(LoopRole.PREVIOUS))
    serve(session, LoopRole.CHAMPION)
    weigh_alike(session, checkpoint.id)
    log.info("champion_appointed", name=checkpoint.name)


def dismiss(session: Session, checkpoint: Checkpoint) -> None:
    """End a challenger's contest: it leaves the rotation. Nothing happens to one that is no challenger."""
    _take_turns(session)
    if roles(session).get(LoopRole.CHALLENGER) != checkpoint.id:
        return
    appoint(session, {LoopRole.CHALLENGER: None})
    leave(session, checkpoint.id)
    weigh_alike(session, checkpoint.id)
    log.info("challenger_dismissed", name=checkpoint.name)


def roll_back(session: Session) -> Checkpoint | None:
    """Make the previous champion champion again and let the present one leave; returns it, None where there is none.

    Who was before the previous one is not known: a second roll back in a row changes nothing.
    """
    _take_turns(session)
    previous = appointed(session, LoopRole.PREVIOUS)
    return previous and _succeed(session, previous)


def _succeed(session: Session, successor: Checkpoint) -> Checkpoint:
    held = roles(session)
    challenger = held.get(LoopRole.CHALLENGER)
    appoint(
        session,
        {
            LoopRole.CHAMPION: successor.id,
            LoopRole.PREVIOUS: None,
            LoopRole.CHALLENGER: None if challenger == successor.id else challenger,
        },
    )
    serve(session, LoopRole.CHAMPION)
    leave(session, held.get(LoopRole.CHAMPION))
    log.warning("champion_rolled_back", name=successor.name)
    return successor


def end_deployment(session: Session, deployment: Deployment) -> Checkpoint | None:
    """Take a deployment out of the rotation. Of the champion's last one it returns who is champion now: the one before it.

    Raises:
        Conflict: it is the last one that can be sampled, the champion's or the challenger's in a contest, or the base is
            the champion.
    """
    there = _take_turns(session)
    if deployment.id not in {other.id for other in there}:
        return None
    rest = [other for other in there if other.id != deployment.id]
    able = [other for other in rest if other.load_state is LoadState.LOADED]
    if not (able if deployment.load_state is LoadState.LOADED else rest):
        raise Conflict(
            _(
                "This is the last model in rotation, and generation needs one. Add another to the rotation first, and wait "
                "until it is loaded."
            )
        )
    goes = all(other.checkpoint_id != deployment.checkpoint_id for other in rest)
    successor = _successor(session, deployment.checkpoint) if goes else None
    if successor is not None:
        return _succeed(session, successor)
    end(session, [deployment.id])
    return None


def _successor(session: Session, leaving: Checkpoint) -> Checkpoint | None:
    """Who becomes champion when this checkpoint leaves the rotation; None where it is not the champion."""
    held = roles(session)
    contest = LoopRole.CHALLENGER in held
    if held.get(LoopRole.CHALLENGER) == leaving.id:
        raise Conflict(
            _(
                "{name} is in contest with the champion. Withdraw the contest: that removes it from the rotation.",
                name=leaving.name,
            )
        )
    if held.get(LoopRole.CHAMPION) != leaving.id:
        return None
    if contest:
        raise Conflict(_("{name} is the champion of an open contest. Withdraw the contest first.", name=leaving.name))
    successor = appointed(session, LoopRole.PREVIOUS) or appointed(session, LoopRole.BASE)
    if successor is None or successor.id == leaving.id:
        raise Conflict(
            _("{name} is the champion, and no other policy can replace it. Train one first.", name=leaving.name)
        )
    return successor


def _take_turns(session: Session) -> list[Deployment]:
    """What is in rotation, with nobody else changing that or the champion until the transaction ends."""
    take_turn(session)
    return in_rotation(session, lock=True)


def _check_ours(checkpoint: Checkpoint) -> None:
    if checkpoint.kind is CheckpointKind.EXTERNAL:
        raise Conflict(
            _(
                "{name} is an external model: it is compared with ours and never becomes the champion.",
                name=checkpoint.name,
            )
        )


def _check_free(session: Session, checkpoint: Checkpoint, held: Mapping[LoopRole, int]) -> None:
    other = held.get(LoopRole.CHALLENGER)
    if other not in {None, checkpoint.id}:
        name = session.get_one(Checkpoint, other).name
        raise Conflict(
            _("{name} is in contest with the champion. Wait for the verdict, or withdraw the contest first.", name=name)
        )


# ── What the reconciler found ────────────────────────────────────────────────────────────────────────────────────────
def mark_loaded(session: Session, deployment_id: int) -> None:
    """The engine has it: it is sampled from now on, and what it replaces leaves."""
    there = in_rotation(session, lock=True)
    deployment = next((each for each in there if each.id == deployment_id), None)
    if deployment is None or deployment.load_state is LoadState.LOADED:
        return
    deployment.load_state, deployment.load_error = LoadState.LOADED, None
    replaced, deployment.replaces = deployment.replaces, []
    session.flush()
    if replaced:
        end(session, replaced)
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
    there = _take_turns(session)
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


def forget_engines(session: Session, but: Collection[str]) -> None:
    """Drop what was found of engines that are none any more: hosts change, and so does the port on one machine."""
    session.execute(delete(EngineStatus).where(EngineStatus.url.not_in(but)))
