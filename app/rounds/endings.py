"""How a run ends: as a checkpoint, with a reason, cancelled, or queued again to resume where it was saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.kernel.locales import N_
from app.kernel.settings import get_settings
from app.registry import service as registry
from app.registry.models import Checkpoint
from app.rounds import checking, gate, plan
from app.rounds.claims import Claim, held
from app.rounds.gate import Made
from app.rounds.models import InputRole, RunInput, RunKind, RunState, TrainingRun
from app.rounds.plan import Stage
from app.rounds.reports import LOG_TAIL_CHARS, Order

log = structlog.get_logger()

MAX_ATTEMPTS = 5
KILLED = (
    N_(
        "The training process was killed from outside {attempts} times without making progress, most likely because memory "
        "ran out."
    ),
    N_(
        "Free memory and retry: it resumes from its last saved step. Or set CORRAL_TRAINING_RECIPE to a recipe with a smaller "
        "batch and start a new training."
    ),
)
BUSY = (
    N_("Another process was still training this run on each of {attempts} attempts."),
    N_("Find the process by the run's folder in its command line, wait for it or stop it, then retry."),
)
STALLED = (
    N_(
        "The training process hung {attempts} times without making progress: it printed nothing for {stall} minutes and was "
        "stopped."
    ),
    N_(
        "Check the last lines below for what it was waiting for, then retry: it resumes from its last saved step. If a step "
        "may take that long on this machine, raise CORRAL_TRAINING_STALL first."
    ),
)


@dataclass(frozen=True)
class Failure:
    """Why a run failed, and what a person can do about it."""

    error: str
    remedy: str
    refused: bool = False
    """By a gate, which would refuse the same again."""


def pass_gates(session: Session, claim: Claim, stage: Stage) -> None:
    """Judge what ``stage`` has made before the next one builds on it.

    Raises:
        NotPromotable: it does not pass.
    """
    run = held(session, claim)
    if run is not None:
        gate.judge(stage.gates, _made(session, run, claim, stage))


def _made(session: Session, run: TrainingRun, claim: Claim, stage: Stage) -> Made:
    return Made(session, run, claim.place(stage.makes[-1]), Path(claim.config["snapshot"]))


def succeed(session: Session, claim: Claim, log_tail: str) -> Order:
    """Pass what was trained through the gate and register it as a checkpoint.

    Who cancels in the moment in which a run ends has still cancelled it: nothing is registered, and the round goes no
    further. The files stay, so a retry finds them finished.

    Raises:
        NotPromotable: it does not pass.
    """
    run = held(session, claim)
    if run is None:
        return Order.LOST
    if run.cancel_requested_at is not None:
        _end(run, RunState.CANCELLED, log_tail)
        session.flush()
        return Order.CANCEL
    for stage in claim.stages:
        gate.judge(stage.gates, _made(session, run, claim, stage))
    if run.kind is RunKind.CHECK:
        checking.record(session, run, claim.folder)
    else:
        _register(session, run, claim)
    _end(run, RunState.SUCCEEDED, log_tail)
    session.flush()
    return Order.GO_ON


def _register(session: Session, run: TrainingRun, claim: Claim) -> None:
    product = gate.product(Made(session, run, claim.output, Path(claim.config["snapshot"])))
    checkpoint = registry.register_checkpoint(
        session,
        name=product.name,
        kind=product.kind,
        parent=_started_from(session, run),
        metrics=product.metrics,
        manifest_sha256=product.manifest_sha256,
    )
    if run.kind is RunKind.SFT:
        _note_choice(session, run, claim.folder)
    run.checkpoint_id, run.metrics = checkpoint.id, {**run.metrics, **product.metrics}


def _note_choice(session: Session, run: TrainingRun, folder: Path) -> None:
    """The policy whose answers are imitated, and the reward model that chose them."""
    chose = session.scalar(select(TrainingRun.checkpoint_id).where(TrainingRun.id == run.after_run_id))
    inputs = [(InputRole.CHOSE, chose)]
    report = folder / plan.SAMPLED
    if report.exists():
        name = json.loads(report.read_text(encoding="utf-8"))["checkpoint"]
        inputs.append((InputRole.SAMPLED, session.scalar(select(Checkpoint.id).where(Checkpoint.name == name))))
    rows = [{"run_id": run.id, "role": role, "checkpoint_id": key} for role, key in inputs if key is not None]
    session.execute(insert(RunInput).values(rows).on_conflict_do_nothing())


def _started_from(session: Session, run: TrainingRun) -> Checkpoint:
    """The policy before it in its chain, where this one goes on from that; else the base."""
    before = session.get(TrainingRun, run.after_run_id) if run.after_run_id else None
    if before is not None and before.kind in {RunKind.SFT, RunKind.DPO}:
        return session.get_one(Checkpoint, before.checkpoint_id)
    return session.get_one(Checkpoint, run.config["base_id"])


def fail(session: Session, claim: Claim, failure: Failure, log_tail: str) -> Order:
    """Give the run up, with its last lines, the reason and the remedy."""
    run = held(session, claim)
    if run is None:
        return Order.LOST
    run.error, run.remedy, run.refused = failure.error, failure.remedy, failure.refused
    _end(run, RunState.FAILED, log_tail)
    session.flush()
    log.warning("training_failed", run=run.id, error=failure.error)
    return Order.GO_ON


def end_cancelled(session: Session, claim: Claim, log_tail: str) -> Order:
    """The subprocess has stopped as it was asked to."""
    run = held(session, claim)
    if run is None:
        return Order.LOST
    _end(run, RunState.CANCELLED, log_tail)
    session.flush()
    return Order.GO_ON


def put_back(
    session: Session, claim: Claim, log_tail: str, *, blameless: bool, last_words: tuple[str, str] = KILLED
) -> Order:
    """Queue the run again, to resume where it was saved.

    Its worker shuts down (``blameless``), or its process ended in a way that may pass. ``last_words`` are the error and
    the remedy for the time that is one too many.
    """
    run = held(session, claim)
    if run is None:
        return Order.LOST
    run.attempts -= int(blameless)
    run.log_tail = log_tail[-LOG_TAIL_CHARS:] or run.log_tail
    _put_back(run, last_words)
    session.flush()
    return Order.GO_ON


def _put_back(run: TrainingRun, last_words: tuple[str, str] = KILLED) -> None:
    if run.cancel_requested_at is not None:
        _end(run, RunState.CANCELLED, "")
    elif run.attempts >= MAX_ATTEMPTS:
        error, run.remedy = last_words
        run.error = error.format(attempts=run.attempts, stall=f"{get_settings().training_stall / 60:.0f}")
        _end(run, RunState.FAILED, "")
    else:
        run.state, run.heartbeat_at = RunState.QUEUED, None


def _end(run: TrainingRun, state: RunState, log_tail: str) -> None:
    run.state, run.finished_at = state, func.now()
    run.log_tail = log_tail[-LOG_TAIL_CHARS:] or run.log_tail


def queue_again(run: TrainingRun) -> None:
    """Clear how a run ended, so that it restarts from its last saved step."""
    run.state, run.attempts, run.finished_at = RunState.QUEUED, 0, None
    run.error = run.remedy = run.cancel_requested_at = run.heartbeat_at = None
    run.refused = False


def release_silent(session: Session) -> int:
    """Queue every run again whose worker has not reported for a lease; the number of them."""
    lease = timedelta(seconds=get_settings().training_lease)
    query = select(TrainingRun).where(
        TrainingRun.state == RunState.RUNNING, TrainingRun.heartbeat_at < func.now() - lease
    )
    silent = session.scalars(query.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    for run in silent:
        log.warning("training_worker_silent", run=run.id, attempts=run.attempts)
        run.fencing_token += 1  # whoever held it until now is told so by the next report
        _put_back(run)
    session.flush()
    return len(silent)
