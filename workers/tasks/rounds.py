"""Runs what is due of a round, moves it along, and starts the nightly training."""

from __future__ import annotations

import structlog

from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.rounds import claims, service
from workers.celery_app import app
from workers.training import stages

log = structlog.get_logger()


@app.task(name=Job.RUN_TRAINING.value)
def run_training(run_id: int) -> None:
    """Train one run to its end; a second message for the same finds it taken, and leaves."""
    with session_scope() as session:
        claim = claims.claim(session, run_id)
    if claim is None:
        log.info("training_not_due", run=run_id)
        return
    stages.run(claim)
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
