"""One training run as its worker sees it: claim, report, end. Each step is a conditional update under a fencing token.

A worker that lost its run (it went silent for a lease, and another took over) learns it from its next report, whose update
finds no row, and kills its subprocess. So a run is never trained twice at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.preferences import service as preferences
from app.preferences.models import Snapshot, SnapshotState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import gate
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun
from app.settings import get_settings

log = structlog.get_logger()

MAX_ATTEMPTS = 5
LOG_TAIL_CHARS = 8_000
KILLED = (
    (
        "The training process was ended from outside {attempts} times without getting any further, most likely because memory "
        "ran out."
    ),
    (
        "Free memory and retry: it resumes from its last saved step. Or set CORRAL_TRAINING_RECIPE to a recipe with a smaller "
        "batch and start a new training."
    ),
)
BUSY = (
    "Another process was still training this run, {attempts} times.",
    "Find it by the run's folder, which its command names, and wait for it or stop it; then retry.",
)
STALLED = (
    (
        "The training process hung {attempts} times without getting any further: it said nothing for {stall:.0f} minutes "
        "and was ended."
    ),
    (
        "See in the last lines below what it waits for, then retry: it resumes from its last saved step. If a step may take "
        "that long on this machine, raise CORRAL_TRAINING_STALL first."
    ),
)


@dataclass(frozen=True)
class Imitation:
    """Of whose prompts samples are taken, how many of each, and the reward model that chooses."""

    snapshot: Path
    samples: int
    reward_model: Path


@dataclass(frozen=True)
class Claim:
    """A run that this worker holds, with all it needs to start it."""

    run_id: int
    token: int
    kind: RunKind
    folder: Path
    output: Path
    config: dict[str, Any]
    """What the run file says."""
    imitation: Imitation | None = None
    """Set where the data has to be sampled and chosen first."""


@dataclass(frozen=True)
class Event:
    """One line of ``events.jsonl``; ``seq`` is its number in the file."""

    seq: int
    event: str
    at: datetime
    step: int | None
    values: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What is new since the last report."""

    events: Sequence[Event] = ()
    log_tail: str = ""


class Order(StrEnum):
    """The answer to a report."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    LOST = "lost"


@dataclass(frozen=True)
class Failure:
    """Why a run failed, and what a person can do about it."""

    error: str
    remedy: str
    log_tail: str = field(default="", repr=False)


# ── Claim ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def is_due(run: TrainingRun, attempt: Sequence[TrainingRun]) -> bool:
    """Whether a worker may claim ``run`` now; ``attempt`` is its chain, with snapshots."""
    before = next((other for other in attempt if other.id == run.after_run_id), None)
    return (
        run.state is RunState.QUEUED
        and run.cancel_requested_at is None
        and run.snapshot.state is SnapshotState.READY
        and (before is None or before.state is RunState.SUCCEEDED)
    )


def claim(session: Session, run_id: int) -> Claim | None:
    """Take a run that is due, or None when it is not, or not any more: messages may come twice."""
    before = aliased(TrainingRun)
    query = (
        select(TrainingRun, Snapshot, Checkpoint)
        .join(Snapshot, Snapshot.id == TrainingRun.snapshot_id)
        .outerjoin(before, before.id == TrainingRun.after_run_id)
        .outerjoin(Checkpoint, Checkpoint.id == before.checkpoint_id)
        .where(
            TrainingRun.id == run_id,
            TrainingRun.state == RunState.QUEUED,
            TrainingRun.cancel_requested_at.is_(None),
            Snapshot.state == SnapshotState.READY,
            or_(before.id.is_(None), before.state == RunState.SUCCEEDED),
        )
        .with_for_update(of=TrainingRun, skip_locked=True)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    run, snapshot, made_before = row
    run.state, run.fencing_token, run.attempts = RunState.RUNNING, run.fencing_token + 1, run.attempts + 1
    run.heartbeat_at, run.started_at = func.now(), run.started_at or func.now()
    session.flush()
    settings = get_settings()
    folder, output = settings.runs_dir / f"run-{run.id}", settings.checkpoints_dir / run.config["run"]["name"]
    data, imitation, parent = preferences.folder(snapshot), None, {}
    if run.kind is RunKind.SFT:
        imitation = Imitation(data, run.config["samples"], Path(made_before.path))
        data = folder / gate.CHOSEN_FILE
    elif run.after_run_id is not None and made_before.kind is CheckpointKind.SFT:
        parent = {"parent_adapter": made_before.path}
    config = {"snapshot": str(data), "output": str(output), **parent, **run.config["run"]}
    return Claim(run.id, run.fencing_token, run.kind, folder, output, config, imitation)


# ── Report ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def report(session: Session, claim: Claim, news: Report) -> Order:
    """Show that the run lives and copy what it said; copying a line twice changes nothing."""
    run = _mine(session, claim)
    if run is None:
        return Order.LOST
    run.heartbeat_at = func.now()
    if news.log_tail:
        run.log_tail = news.log_tail[-LOG_TAIL_CHARS:]
    furthest = None
    if news.events:
        furthest = _furthest_resume(session, run)
        rows = [
            {"run_id": run.id, "seq": e.seq, "event": e.event, "at": e.at, "step": e.step, "values": e.values}
            for e in news.events
        ]
        session.execute(insert(TrainingEvent).values(rows).on_conflict_do_nothing())
    for event in news.events:
        _apply(run, event)
    if furthest is not None and _furthest_resume(session, run) > furthest:
        run.attempts = 1  # what is taken away again and again, but gets on, is not given up
    session.flush()
    return Order.CANCEL if run.cancel_requested_at is not None else Order.GO_ON


def _furthest_resume(session: Session, run: TrainingRun) -> int:
    """The furthest step at which the run went on from what was saved; 0 while it never did."""
    resumed = select(func.max(TrainingEvent.step)).where(
        TrainingEvent.run_id == run.id, TrainingEvent.event == "resumed"
    )
    return session.scalar(resumed) or 0


def _mine(session: Session, claim: Claim) -> TrainingRun | None:
    """The claimed run, locked, unless it was taken over."""
    query = select(TrainingRun).where(
        TrainingRun.id == claim.run_id,
        TrainingRun.fencing_token == claim.token,
        TrainingRun.state == RunState.RUNNING,
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _apply(run: TrainingRun, event: Event) -> None:
    metrics = event.values.get("metrics")
    if event.event == "resumed" and event.step is not None:
        run.step = event.step
    elif event.event == "step" and event.step is not None:
        run.step = event.step
        run.total_steps = event.values.get("total_steps") or run.total_steps
    if isinstance(metrics, dict):
        if event.event == "baseline":
            run.baseline = metrics
        else:
            run.metrics = {**run.metrics, **metrics}


# ── End ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def succeed(session: Session, claim: Claim, log_tail: str) -> Order:
    """Pass what was trained through the gate and register it as a checkpoint.

    Who cancels in the moment in which a run ends has still cancelled it: nothing is registered, and the round goes no
    further. The files stay, so a retry finds them finished.

    Raises:
        NotPromotable: it does not pass.
    """
    run = _mine(session, claim)
    if run is None:
        return Order.LOST
    if run.cancel_requested_at is not None:
        _end(run, RunState.CANCELLED, log_tail)
        session.flush()
        return Order.CANCEL
    product = gate.judge(session, run, claim.output)
    checkpoint = registry.register_checkpoint(
        session,
        name=product.name,
        kind=product.kind,
        path=str(product.path),
        parent=_started_from(session, run),
        metrics=product.metrics,
        manifest_sha256=product.manifest_sha256,
    )
    run.checkpoint_id, run.metrics = checkpoint.id, {**run.metrics, **product.metrics}
    _end(run, RunState.SUCCEEDED, log_tail)
    session.flush()
    return Order.GO_ON


def _started_from(session: Session, run: TrainingRun) -> Checkpoint:
    """The policy that imitates, where this one goes on from it; else the base."""
    before = session.get(TrainingRun, run.after_run_id) if run.after_run_id else None
    if before is not None and before.kind is RunKind.SFT:
        return session.get_one(Checkpoint, before.checkpoint_id)
    return session.get_one(Checkpoint, run.config["base_id"])


def fail(session: Session, claim: Claim, failure: Failure) -> Order:
    """Give the run up, with its last lines, the reason and the remedy."""
    run = _mine(session, claim)
    if run is None:
        return Order.LOST
    run.error, run.remedy = failure.error, failure.remedy
    _end(run, RunState.FAILED, failure.log_tail)
    session.flush()
    log.warning("training_failed", run=run.id, error=failure.error)
    return Order.GO_ON


def end_cancelled(session: Session, claim: Claim, log_tail: str) -> Order:
    """The subprocess has stopped as it was asked to."""
    run = _mine(session, claim)
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
    run = _mine(session, claim)
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
        run.error = error.format(attempts=run.attempts, stall=get_settings().training_stall / 60)
        _end(run, RunState.FAILED, "")
    else:
        run.state, run.heartbeat_at = RunState.QUEUED, None


def _end(run: TrainingRun, state: RunState, log_tail: str) -> None:
    run.state, run.finished_at = state, func.now()
    run.log_tail = log_tail[-LOG_TAIL_CHARS:] or run.log_tail


def queue_again(run: TrainingRun) -> None:
    """Forget how a run ended: it starts anew and resumes where it was saved."""
    run.state, run.attempts, run.finished_at = RunState.QUEUED, 0, None
    run.error = run.remedy = run.cancel_requested_at = run.heartbeat_at = None


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
