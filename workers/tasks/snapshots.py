"""Builds the snapshots that were asked for."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError

from app.kernel.db import session_scope
from app.kernel.errors import AppError
from app.kernel.jobs import Job
from app.preferences import service
from app.rounds import service as rounds
from workers.celery_app import app

log = structlog.get_logger()


@app.task(name=Job.BUILD_SNAPSHOT.value)
def build_snapshot(snapshot_id: int) -> None:
    """Build one snapshot; a second message for the same finds it built or locked, and leaves."""
    try:
        with session_scope() as session:
            snapshot = service.claim_snapshot(session, snapshot_id)
            if snapshot is None:
                log.info("snapshot_left_to_another", snapshot=snapshot_id)
                return
            service.build_snapshot(session, snapshot)
    except OperationalError:
        raise  # the database is away: the row stays as it is, and the sweeper rings again
    except Exception as error:
        log.exception("snapshot_not_built", snapshot=snapshot_id)
        reason = error.message if isinstance(error, AppError) else f"{type(error).__name__}: {error}"
        with session_scope() as session:
            service.fail_snapshot(session, snapshot_id, reason)
    with session_scope() as session:
        rounds.advance(session)
