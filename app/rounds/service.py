"""The round as a state machine: collecting → training → complete, and the next one begins.

A round's training is a chain of runs: the reward model, where samples are asked for the imitation of the best of them, and
the policy. :func:`start_training` writes the chain, workers run what is due (``app.rounds.runs``), and :func:`advance`,
rung by beat and by everything that ends, looks at the rows and does the next step. It may be called at any time and any
number of times. Whoever changes a chain holds the lock on its round's row first, so two starts, or a cancel and an advance,
take turns.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.errors import Conflict
from app.jobs import Job, enqueue
from app.preferences import service as preferences
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.rounds import gate, queries, runs
from app.rounds.config import MIN_STRENGTH, SEED, trained_by
from app.rounds.models import Round, RoundState, RunKind, RunState, TrainingRun
from app.rounds.readiness import new_annotations, readiness
from app.settings import get_settings

log = structlog.get_logger()


def ensure_first_round(session: Session) -> Round:
    """The current round; on a new installation round 1."""
    current = queries.current_round(session)
    if current is None:
        current = Round(number=1 + (session.scalar(select(func.max(Round.number))) or 0))
        session.add(current)
        session.flush()
    return current


def lock_current_round(session: Session) -> Round:
    """The current round, locked until the transaction ends.

    Raises:
        Conflict: the installation has no round yet.
    """
    query = select(Round).where(Round.state != RoundState.COMPLETE).with_for_update()
    current = session.scalar(query.execution_options(populate_existing=True))
    if current is None:
        raise Conflict("There is no round yet. Start the installation with `corral up` first.")
    return current


# ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def start_training(session: Session, user: User | None) -> list[TrainingRun]:
    """Freeze what there is and queue the reward model and the policy; ``user`` is None for the nightly start.

    The reward model learns from all rounds, the policy from the batches of this one (Llama 3, arXiv 2407.21783, 4.1), or
    from all as well while this one has few. Where samples are asked for (``training_samples``), a run between the two imitates
    those that the reward model likes best, and the policy goes on from there.

    Raises:
        Conflict: a training is under way, or there is too little to learn from; the message says how much is missing.
    """
    current = lock_current_round(session)
    ready = readiness(session, current)
    if ready.blocked:
        raise Conflict(ready.blocked)
    base = _base(session)
    everything = preferences.request_snapshot(session, user, ExportFilter())
    latest, scope = everything, "all rounds"
    if ready.own_round:
        wanted = ExportFilter(rounds=(current.number,), until=everything.filter["until"])
        latest, scope = preferences.request_snapshot(session, user, wanted), f"batches of round {current.number}"
    elif ready.other_rounds:
        scope = f"all rounds: round {current.number} has {ready.of_this_round} pairs of its own"
    reward = _queue(session, current, RunKind.REWARD, everything, _config(current, "reward", base, "all rounds"), user)
    chain = [reward]
    if get_settings().training_samples:
        imitation = _config(current, "sft", base, "the best of the newest policy's answers, and people's edits")
        chain.append(_queue(session, current, RunKind.SFT, everything, imitation, user, after=reward))
    policy = _config(current, "policy", base, scope)
    chain.append(_queue(session, current, RunKind.DPO, latest, policy, user, after=chain[-1]))
    current.state = RoundState.TRAINING
    accounts.audit(session, user, "training.start", "round", current.id, runs=[run.id for run in chain])
    session.flush()
    return chain


def start_nightly(session: Session) -> list[TrainingRun]:
    """Start a training when enough was annotated since the last one; otherwise leave, saying why in the log."""
    needed = get_settings().nightly_min_annotations
    found = new_annotations(session)
    if found < needed:
        log.info("nightly_not_due", new_annotations=found, needed=needed)
        return []
    try:
        started = start_training(session, None)
    except Conflict as conflict:
        log.info("nightly_left", reason=conflict.message)
        return []
    log.info("nightly_started", runs=[run.id for run in started])
    return started


def _base(session: Session) -> Checkpoint:
    query = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE, Checkpoint.state == CheckpointState.READY)
    base = session.scalar(query)
    if base is None:
        raise Conflict("There is no base model to train from. Start the installation with `corral up` first.")
    return base


def _config(current: Round, product: str, base: Checkpoint, scope: str) -> dict[str, Any]:
    """``run`` is what the run file says; ``scope`` which preferences it learns from and ``trained_by`` by whom, in words."""
    kind = {"reward": RunKind.REWARD, "sft": RunKind.SFT, "policy": RunKind.DPO}[product]
    samples = {"samples": get_settings().training_samples} if kind is RunKind.SFT else {}
    run: dict[str, Any] = {
        "kind": kind.value,
        "recipe": get_settings().training_recipe,
        "seed": SEED,
        "name": f"{product}-r{current.number}-{secrets.token_hex(4)}",
        "base_model": base.path,
        "data": {} if kind is RunKind.SFT else {"min_strength": MIN_STRENGTH},
    }
    return {"scope": scope, "trained_by": trained_by(kind, run), "base_id": base.id, **samples, "run": run}


def _queue(
    session: Session,
    current: Round,
    kind: RunKind,
    snapshot: Snapshot,
    config: dict[str, Any],
    user: User | None,
    after: TrainingRun | None = None,
) -> TrainingRun:
    run = TrainingRun(
        round_id=current.id,
        kind=kind,
        snapshot_id=snapshot.id,
        after_run_id=after.id if after else None,
        config=config,
        created_by_id=user.id if user else None,
    )
    session.add(run)
    session.flush()
    return run


# ── Cancel and retry ─────────────────────────────────────────────────────────────────────────────────────────────────
def cancel(session: Session, user: User | None, run: TrainingRun) -> None:
    """Ask a run to stop; what waits for it is cancelled with it. A running one stops within seconds.

    Raises:
        Conflict: it has ended already.
    """
    session.execute(select(Round.id).where(Round.id == run.round_id).with_for_update())
    locked = select(TrainingRun).where(TrainingRun.id == run.id).with_for_update()
    run = session.scalars(locked.execution_options(populate_existing=True)).one()
    if run.state not in queries.LIVE:
        raise Conflict(f"Run {run.id} has ended already: it {run.state.value}.")
    run.cancel_requested_at = func.now()
    if run.state is RunState.QUEUED:
        run.state, run.finished_at = RunState.CANCELLED, func.now()
    accounts.audit(session, user, "training.cancel", "training_run", run.id)
    session.flush()
    advance(session)


def retry(session: Session, user: User | None, run: TrainingRun) -> None:
    """Queue a run that failed or was cancelled again, with those that waited for it. It resumes where it was saved.

    Raises:
        Conflict: it did not fail, something else is training, or it belongs to an attempt that is over.
    """
    current = lock_current_round(session)
    attempt = queries.last_attempt(session, current)
    if current.state is not RoundState.COLLECTING or run.id not in {other.id for other in attempt}:
        raise Conflict("This run belongs to an attempt that is over. Start a new training instead.")
    if run.state not in {RunState.FAILED, RunState.CANCELLED}:
        raise Conflict(f"Run {run.id} {run.state.value}; there is nothing to retry.")
    if any(gate.base_is_gone(session, other) for other in attempt):
        raise Conflict(f"{gate.BASE_GONE} Start a new training instead.")
    if any(other.snapshot.state is SnapshotState.FAILED for other in attempt):
        raise Conflict("The snapshot of this run could not be built. Start a new training instead.")
    for other in attempt:
        if other.state in {RunState.FAILED, RunState.CANCELLED}:
            runs.queue_again(other)
    current.state = RoundState.TRAINING
    accounts.audit(session, user, "training.retry", "training_run", run.id)
    session.flush()
    advance(session)


# ── Advance ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def advance(session: Session) -> None:
    """Do the next step of the current round, whatever it is. Safe to call at any time.

    1. Snapshots that wait are rung for; a run whose worker went silent is queued again.
    2. What cannot succeed any more, for want of its snapshot or its base model, ends. A
       chain with a failed or cancelled link ends, and the round goes back to collecting.
    3. A chain whose links all succeeded brings its policy into the rotation, and the next round begins.
    4. Otherwise what is due is rung for.
    """
    preferences.ring_for_unfinished(session)
    current = session.scalar(
        select(Round)
        .where(Round.state == RoundState.TRAINING)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if current is None:
        return
    runs.release_silent(session)
    attempt = queries.last_attempt(session, current)
    _fail_without_snapshot(attempt)
    _stop_without_base(session, attempt)
    if any(run.state in {RunState.FAILED, RunState.CANCELLED} for run in attempt):
        _end_attempt(current, attempt)
    elif all(run.state is RunState.SUCCEEDED for run in attempt):
        _complete(session, current, attempt)
    else:
        for run in attempt:
            if runs.is_due(run, attempt):
                enqueue(session, Job.RUN_TRAINING, run.id)
    session.flush()


def _fail_without_snapshot(attempt: Sequence[TrainingRun]) -> None:
    for run in attempt:
        if run.state is RunState.QUEUED and run.snapshot.state is SnapshotState.FAILED:
            run.state, run.finished_at = RunState.FAILED, func.now()
            run.error = f"The snapshot could not be built. {run.snapshot.error}"
            run.remedy = "Remove the cause and start a new training."


def _stop_without_base(session: Session, attempt: Sequence[TrainingRun]) -> None:
    for run in attempt:
        if run.state in queries.LIVE and gate.base_is_gone(session, run):
            if run.state is RunState.QUEUED:
                run.state, run.finished_at = RunState.FAILED, func.now()
                run.error, run.remedy = gate.BASE_GONE, "Start a new training."
            elif run.cancel_requested_at is None:
                run.cancel_requested_at = func.now()


def _end_attempt(current: Round, attempt: Sequence[TrainingRun]) -> None:
    """Cancel what waits; the round collects again as soon as nothing runs any more."""
    for run in attempt:
        if run.state is RunState.QUEUED:
            run.state, run.finished_at = RunState.CANCELLED, func.now()
        elif run.state is RunState.RUNNING and run.cancel_requested_at is None:
            run.cancel_requested_at = func.now()
    if not any(run.state is RunState.RUNNING for run in attempt):
        current.state = RoundState.COLLECTING
        log.info("round_collects_again", round=current.number)


def _complete(session: Session, current: Round, attempt: Sequence[TrainingRun]) -> None:
    """The gate was passed when the last run ended (``runs.succeed``); now its policy is sampled from."""
    policy = session.get_one(Checkpoint, attempt[-1].checkpoint_id)
    try:
        registry.promote(session, policy)
    except Conflict as conflict:
        current.state = RoundState.COLLECTING
        attempt[-1].error = f"It was trained, but not brought into the rotation. {conflict.message}"
        attempt[-1].remedy = "The policies in rotation stay, and the round collects on. Start a new training."
        log.warning("policy_not_promoted", round=current.number, checkpoint=policy.name, reason=conflict.message)
        return
    current.state, current.completed_at = RoundState.COMPLETE, func.now()
    session.flush()  # before the next round exists: only one may be current
    session.add(Round(number=current.number + 1))
    accounts.audit(session, None, "round.complete", "round", current.id, policy=policy.name)
    log.info("round_complete", round=current.number, policy=policy.name)
