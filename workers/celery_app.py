"""The receiving half of the jobs: queues, schedule, and which task modules exist.

One worker a queue, started as::

    celery -A workers.celery_app worker -Q generation -c 1 -P prefork -n generation@%h
    celery -A workers.celery_app worker -Q training   -c 1 -P prefork -n training@%h
    celery -A workers.celery_app worker -Q control    -c 4 -P threads -n control@%h
    celery -A workers.celery_app worker -Q live       -c 16 -P threads -n live@%h
    celery -A workers.celery_app worker -Q checks     -c 1 -P prefork -n checks@%h
    celery -A workers.celery_app beat

Generation, training and checks run in a prefork child: what kills it (a prompt, the out-of-memory killer) leaves the parent,
which starts another. Concurrency inside a generation task is asyncio, so one child keeps the engine full; more throughput is
more workers, on any machine. Control tasks wait on the database and the network, and a snapshot must not hold up a probe.

Messages are only doorbells (``app.kernel.jobs``), so losing them is allowed: late acknowledgement brings some back, the sweeper
and beat ring for the rest. The visibility timeout is longer than any task, because a message that is delivered again
while its task still runs would only find the row taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging, worker_shutting_down

from app.kernel.jobs import CELERY_OPTIONS, QUEUES, Job, Queue
from app.kernel.settings import Settings, get_settings
from app.shell import logs
from app.site import tables as _tables  # noqa: F401 - so that foreign keys between domains resolve
from workers import stopping
from workers import traced as _traced  # noqa: F401 - its signals

TASK_MODULES = [
    "workers.tasks.board",
    "workers.tasks.checks",
    "workers.tasks.choosing",
    "workers.tasks.generation",
    "workers.tasks.languages",
    "workers.tasks.live",
    "workers.tasks.mails",
    "workers.tasks.rounds",
    "workers.tasks.serving",
    "workers.tasks.snapshots",
    "workers.tasks.sweeper",
    "workers.tasks.synthesis",
    "workers.tasks.webhooks",
]
DAY = 24 * 3600
RECONCILE_INTERVAL = 10
ADVANCE_INTERVAL = 30
FORGET_INTERVAL = 3600
CHOOSE_INTERVAL = 5
FEATURES_INTERVAL = 20
LANGUAGES_INTERVAL = 60


def local_now() -> datetime:
    """The wall clock by which an admin set ``nightly_at``."""
    return datetime.now().astimezone()


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Who is rung when. A message that waited for longer than its interval expires: the next one is on its way."""
    intervals: dict[Job, float] = {
        Job.SWEEP: settings.sweep_interval,
        Job.GENERATE: settings.sweep_interval,
        Job.CHECK: settings.sweep_interval,
        Job.DETECT_LANGUAGES: LANGUAGES_INTERVAL,
        Job.RECONCILE_SERVING: RECONCILE_INTERVAL,
        Job.ADVANCE_ROUND: ADVANCE_INTERVAL,
        Job.FORGET: FORGET_INTERVAL,
        Job.CHOOSE_PAIRS: CHOOSE_INTERVAL,
        Job.READ_FEATURES: FEATURES_INTERVAL,
    }
    schedule: dict[str, dict[str, Any]] = {
        job.name.lower(): _entry(job, interval, expires=interval) for job, interval in intervals.items()
    }
    if settings.nightly_at:
        hour, minute = settings.nightly_at.split(":")
        nightly = crontab(hour=int(hour), minute=int(minute), nowfun=local_now)
        schedule["nightly"] = _entry(Job.NIGHTLY, nightly, expires=DAY / 2)
    return schedule


def _entry(job: Job, schedule: Any, *, expires: float) -> dict[str, Any]:
    return {"task": job.value, "schedule": schedule, "options": {"queue": QUEUES[job].value, "expires": expires}}


def make_app(settings: Settings) -> Celery:
    """The Celery application of this process."""
    celery = Celery("corral", broker=settings.broker_url, include=TASK_MODULES)
    celery.conf.update(
        CELERY_OPTIONS,
        broker_transport_options={**CELERY_OPTIONS["broker_transport_options"], "visibility_timeout": DAY},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a broker that comes back after any time finds its workers
        task_acks_late=True,
        task_default_queue=Queue.CONTROL.value,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        beat_schedule=beat_schedule(settings),
        beat_scheduler="workers.clock:Clock",
        beat_max_loop_interval=5,
    )
    return celery


@setup_logging.connect
def _log_like_the_rest(**_: Any) -> None:
    """All processes log in one form, through structlog; Celery would add handlers of its own."""
    logs.configure(json=get_settings().log_json)


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """A warm shutdown waits for tasks to end, so long ones are told to."""
    stopping.request()


app = make_app(get_settings())
