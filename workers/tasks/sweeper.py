"""The sweeper: what was left lying is picked up again. Everything it does may be done twice."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy.orm import Session

from app.accounts.inviting import ring_if_due as ring_for_mails
from app.accounts.upkeep import forget_old
from app.annotations import texts
from app.annotations.service import release_expired as release_assignments
from app.board.service import ring_for_due as ring_for_board
from app.candidates import live
from app.candidates import service as candidates
from app.desk.counting import fold as fold_counts_of_work
from app.findings import service as checks
from app.findings.orders import forget_drafts
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.lineage.erasing import remove_files as remove_erased_files
from app.preferences.service import ring_for_unfinished as ring_for_snapshots
from app.prompts.service import forget_old_uploads
from app.rounds.endings import release_silent as release_trainings
from app.sources.storing import remove_deleted as remove_deleted_sources
from app.synthesis.ledger import ring_if_due as ring_for_syntheses
from app.webhooks.occasions import find as find_occasions
from workers.celery_app import app

log = structlog.get_logger()

STEPS = 60
"""Steps of making annotations findable in one sweep: 3,000 annotations in some five seconds, more than 10,000 people submit
in the fifteen between two sweeps."""


def release_prompts(session: Session) -> None:
    """Take back generation leases that ran out, and ring when prompts wait."""
    candidates.release_expired(session)
    candidates.ring_if_due(session)


def release_checks(session: Session) -> None:
    """Take back the leases of checks that ran out, and ring when some wait."""
    checks.release_expired(session)
    checks.ring_if_due(session)


def make_annotations_findable(session: Session) -> None:
    """Each step stands by itself: it holds what somebody may be about to take back."""
    for _step in range(STEPS):
        if not texts.fill(session):
            break
        session.commit()


SWEEPS: tuple[Callable[[Session], object], ...] = (
    release_prompts,
    release_assignments,
    release_trainings,
    live.release_expired,
    release_checks,
    ring_for_snapshots,
    ring_for_board,
    ring_for_syntheses,
    remove_erased_files,
    remove_deleted_sources,
    find_occasions,
    ring_for_mails,
    make_annotations_findable,
    fold_counts_of_work,
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
    """Delete what has run out: tries to sign in, old sessions and invites, kept answers, what nobody confirmed or submitted."""
    with session_scope() as session:
        forget_old(session)
        forget_old_uploads(session)
        forget_drafts(session)
