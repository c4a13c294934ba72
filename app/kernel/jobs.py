"""Jobs: the doorbell. Work is a row with a state; a message only says "look", so losing one costs a sweep, not work.

``enqueue`` notes the message on the session; it leaves after the outer commit and is dropped on rollback. A broker that
is away never fails a request: the sweeper finds the row.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Any

import structlog
from celery import Celery
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.kernel import tracing
from app.kernel.settings import get_settings

log = structlog.get_logger()


class Queue(StrEnum):
    """One Celery worker per queue, so that a training run never holds up a generation."""

    GENERATION = "generation"
    TRAINING = "training"
    CONTROL = "control"
    LIVE = "live"
    CHECKS = "checks"


class Job(StrEnum):
    """Task names. Bodies live in ``workers``; an argument is an id, never data."""

    GENERATE = "corral.generate"
    LIVE = "corral.live"
    SWEEP = "corral.sweep"
    RECONCILE_SERVING = "corral.reconcile_serving"
    BUILD_SNAPSHOT = "corral.build_snapshot"
    RUN_TRAINING = "corral.run_training"
    ADVANCE_ROUND = "corral.advance_round"
    NIGHTLY = "corral.nightly"
    FORGET = "corral.forget"
    BOARD = "corral.board"
    CHOOSE_PAIRS = "corral.choose_pairs"
    READ_FEATURES = "corral.read_features"
    CHECK = "corral.check"
    DETECT_LANGUAGES = "corral.detect_languages"
    MAKE_PROMPTS = "corral.make_prompts"
    DELIVER = "corral.deliver"
    MAIL = "corral.mail"


QUEUES: dict[Job, Queue] = {
    Job.GENERATE: Queue.GENERATION,
    Job.LIVE: Queue.LIVE,
    Job.SWEEP: Queue.CONTROL,
    Job.RECONCILE_SERVING: Queue.CONTROL,
    Job.BUILD_SNAPSHOT: Queue.CONTROL,
    Job.RUN_TRAINING: Queue.TRAINING,
    Job.ADVANCE_ROUND: Queue.CONTROL,
    Job.NIGHTLY: Queue.CONTROL,
    Job.FORGET: Queue.CONTROL,
    Job.BOARD: Queue.CONTROL,
    Job.CHOOSE_PAIRS: Queue.CONTROL,
    Job.READ_FEATURES: Queue.TRAINING,
    Job.CHECK: Queue.CHECKS,
    Job.DETECT_LANGUAGES: Queue.CHECKS,
    Job.MAKE_PROMPTS: Queue.CONTROL,
    Job.DELIVER: Queue.CONTROL,
    Job.MAIL: Queue.CONTROL,
}

CELERY_OPTIONS: dict[str, Any] = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "broker_connection_timeout": 2,
    "broker_transport_options": {"socket_connect_timeout": 2, "socket_timeout": 5},
}


@lru_cache(maxsize=1)
def producer() -> Celery:
    """The sending half; the receiving half with the task bodies is ``workers.celery_app``."""
    app = Celery("corral", broker=get_settings().broker_url)
    app.conf.update(CELERY_OPTIONS)
    return app


def ring(job: Job, *args: int) -> bool:
    """Send one message now. False, and a log line, when the broker is away."""
    try:
        with tracing.span(f"send {job.value}", "producer", messaging_destination_name=QUEUES[job].value):
            sent = tracing.carried() or None
            producer().send_task(job.value, args=args, queue=QUEUES[job].value, retry=False, headers=sent)
    except Exception as error:  # noqa: BLE001 - kombu raises whatever its transport raises; the sweeper re-rings
        log.warning("job_not_sent", job=job.value, args=args, error=str(error))
        return False
    return True


def enqueue(session: Session, job: Job, *args: int) -> None:
    """Send ``job`` after the outer commit of ``session``; the same job with the same ids leaves once."""
    pending: dict[tuple[Job, tuple[int, ...]], None] = session.info.setdefault("jobs", {})
    pending[job, args] = None


@event.listens_for(Session, "after_commit")
def _send(session: Session) -> None:
    for job, args in session.info.pop("jobs", {}):
        ring(job, *args)


@event.listens_for(Session, "after_rollback")
def _drop(session: Session) -> None:
    session.info.pop("jobs", None)
