"""The sweeper: what was left lying is picked up again. Everything it does may be done twice."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy.orm import Session

from app.accounts.upkeep import forget_old
from app.annotations.service import release_expired as release_assignments
from app.candidates import live
from app.candidates import service as candidates
from app.db import session_scope
from app.jobs import Job, enqueue
from app.preferences.service import ring_for_unfinished as ring_for_snapshots
from app.prompts.service import forget_old_uploads
from app.rounds.runs import release_silent as release_trainings
from workers.celery_app import app

log = structlog.get_logger()


def release_prompts(session: Session) -> None:
    """Take back generation leases that ran out, and ring when prompts wait: the doorbell may be lost with its broker."""
    candidates.release_expired(session)
    if candidates.work_is_due(session):
        enqueue(session, Job.GENERATE)


SWEEPS: tuple[Callable[[Session], object], ...] = (
    release_prompts,
    release_assignments,
    release_trainings,
    live.release_expired,
    ring_for_snapshots,
)


@app.task(name=Job.SWEEP.value)
def sweep() -> None:
    """Every sweep in a transaction of its own: one that fails leaves the others done."""
    for one in SWEEPS:
        try:
            with session_scope() as session:
                one(session)
        except Exception:  # the next sweep comes in seconds, and the log says which one it was
            log.exception("sweep_failed", sweep=one.__name__)


@app.task(name=Job.FORGET.value)
def forget() -> None:
    """Delete what has run out: tries to sign in, old sessions and invites, kept answers, files nobody confirmed."""
    with session_scope() as session:
        forget_old(session)
        forget_old_uploads(session)
