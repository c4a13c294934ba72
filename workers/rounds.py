"""Runs training subprocesses, moves the round along, and starts the nightly training."""

from __future__ import annotations

import os
import time
from enum import StrEnum

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db import session_scope
from app.errors import AppError
from app.jobs import Job
from app.rounds import runs, service
from app.rounds.gate import NotPromotable, set_aside
from app.rounds.runs import Claim, Event, Failure, Order, Report
from app.settings import get_settings
from workers import stopping
from workers.celery_app import app
from workers.trainer import STATUS_BUSY, Trainer, failure_of, was_killed

log = structlog.get_logger()

POLL_SECONDS = 0.5
REPORT_SECONDS = 5.0
STAYS = "Nothing was promoted; the policies in rotation stay."
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


class Stopped(StrEnum):
    """Why this worker ended the subprocess."""

    CANCELLED = "cancelled"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    STALLED = "stalled"


@app.task(name=Job.RUN_TRAINING.value)
def run_training(run_id: int) -> None:
    """Train one run to its end; a second message for the same finds it taken, and leaves."""
    with session_scope() as session:
        claim = runs.claim(session, run_id)
    if claim is None:
        log.info("training_not_due", run=run_id)
        return
    train(claim)
    advance_round()


@app.task(name=Job.ADVANCE_ROUND.value)
def advance_round() -> None:
    """Do the next step of the round, if there is one."""
    with session_scope() as session:
        service.advance(session)


@app.task(name=Job.NIGHTLY.value)
def nightly() -> None:
    """Start the nightly training; of two at once the second leaves."""
    with session_scope() as session:
        service.start_nightly(session)


def train(claim: Claim) -> None:
    """Start the subprocess, watch it, and record how it ended. Whatever happens here, it does not outlive this call."""
    try:
        trainer = Trainer(claim)
    except OSError as error:
        remedy = "Free some space on the disk, or make the data folder writable, then retry."
        _fail(claim, Failure(f"The training could not be started: {error}.", remedy))
        return
    try:
        ended = watch(claim, trainer)
    finally:
        trainer.stop()
    settle(claim, ended, trainer.log_tail())


def watch(claim: Claim, trainer: Trainer) -> int | Stopped:
    """Report until the process ends, or until it has to be ended: the exit status, or the reason."""
    parent = os.getppid()
    reported = 0.0
    held = heard = time.monotonic()
    unsaid: list[Event] = []
    while True:
        status = trainer.wait(POLL_SECONDS)
        if trainer.spoke():
            heard = time.monotonic()
        unsaid += trainer.new_events()
        # a pool child outlives a worker that was killed; nobody would restart what it does
        if status is None and (stopping.requested() or os.getppid() != parent):
            return Stopped.SHUTDOWN
        now = time.monotonic()
        if unsaid or status is not None or now - reported >= REPORT_SECONDS:
            order = _report(claim, Report(unsaid, trainer.log_tail()))
            reported = now
            if order is not None:
                unsaid, held = [], now
            if order is Order.LOST or (order is None and now - held > get_settings().training_lease / 2):
                trainer.stop(grace=0)  # another worker may have started it already
                return Stopped.LOST
            if order is Order.CANCEL and status is None:
                return Stopped.CANCELLED
        if status is None and now - heard > get_settings().training_stall:
            return Stopped.STALLED  # the report is the worker's sign of life, and says nothing of the process
        if status is not None:
            return status


def _report(claim: Claim, news: Report) -> Order | None:
    """The answer to a report; None when the database is away for the moment."""
    try:
        with session_scope() as session:
            return runs.report(session, claim, news)
    except DATABASE_AWAY as error:
        log.warning("training_report_delayed", run=claim.run_id, error=str(error))
        return None


def settle(claim: Claim, ended: int | Stopped, log_tail: str) -> None:
    """Record how the run ended. If the database is away the run falls silent, and is taken over: a finished one at once."""
    if ended is Stopped.LOST:
        log.warning("training_lost", run=claim.run_id)
    elif ended == 0:
        _succeed(claim, log_tail)
    elif ended is Stopped.CANCELLED:
        with session_scope() as session:
            runs.end_cancelled(session, claim, log_tail)
    elif ended is Stopped.STALLED:
        log.warning("training_stalled", run=claim.run_id)
        with session_scope() as session:
            runs.put_back(session, claim, log_tail, blameless=False, last_words=runs.STALLED)
    elif ended == STATUS_BUSY:
        with session_scope() as session:
            runs.put_back(session, claim, log_tail, blameless=False, last_words=runs.BUSY)
    elif isinstance(ended, Stopped) or was_killed(ended):
        with session_scope() as session:
            runs.put_back(session, claim, log_tail, blameless=ended is Stopped.SHUTDOWN)
    else:
        _fail(claim, failure_of(ended, log_tail))


def _succeed(claim: Claim, log_tail: str) -> None:
    try:
        with session_scope() as session:
            runs.succeed(session, claim, log_tail)
    except NotPromotable as refused:
        aside = set_aside(claim.output, claim.token)
        kept = f" What was refused is kept as {aside.name}." if aside else ""
        _fail(claim, Failure(refused.message, STAYS + kept, log_tail))
    except AppError as refused:
        _fail(claim, Failure(refused.message, STAYS, log_tail))


def _fail(claim: Claim, failure: Failure) -> None:
    with session_scope() as session:
        runs.fail(session, claim, failure)
