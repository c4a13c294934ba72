"""``/metrics`` for Prometheus: request durations by route template, the database pool, the queues, engine, disk and backup.

It is for reviewers and admins, like everything that tells of other people's work: scrape it with a bearer token that has the
scope ``read`` (``authorization: {credentials: …}`` in Prometheus). Loopback is no exemption, because a proxy on
the same machine would turn it into one for everybody.

Each web process counts its own requests. The queues are read from the database, in queries that cost the same however
much has been collected, and at most every ten seconds.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import QueuePool, text

from app.accounts.access import api_staff
from app.kernel.db import get_engine
from app.kernel.settings import get_settings
from app.shell.request_metrics import registry

router = APIRouter()
MAX_AGE = 10.0

# Only what partial indexes or planner statistics answer: no query here grows with the number of annotations.
QUEUES = text("""
SELECT 'prompts_pending', count(*)::float FROM prompts WHERE state = 'pending'
UNION ALL SELECT 'prompts_generating', count(*) FROM prompts WHERE state = 'generating'
UNION ALL SELECT 'prompts_quarantined', coalesce(sum(found.n), 0) FROM batches, LATERAL (
    SELECT count(*) AS n FROM prompts WHERE prompts.batch_id = batches.id AND prompts.state = 'quarantined') AS found
UNION ALL SELECT 'assignments_active', count(*) FROM assignments WHERE state = 'active'
UNION ALL SELECT 'checks_waiting', count(*) FROM checks WHERE state = 'pending'
UNION ALL SELECT 'training_runs_live', count(*) FROM training_runs WHERE state IN ('queued', 'running')
UNION ALL SELECT 'annotations', CASE WHEN reltuples < 100000 THEN (SELECT count(*) FROM annotations) ELSE reltuples END
    FROM pg_class WHERE oid = 'annotations'::regclass
UNION ALL SELECT 'engine_up', coalesce((SELECT (state = 'ready')::int FROM engine_status WHERE url = :engine), 0)
UNION ALL SELECT 'engine_probe_timestamp_seconds', coalesce((
    SELECT extract(epoch FROM checked_at) FROM engine_status WHERE url = :engine), 0)
UNION ALL SELECT 'backup_timestamp_seconds', coalesce((
    SELECT extract(epoch FROM at) FROM audit_events WHERE action = 'installation.backed_up' ORDER BY id DESC LIMIT 1), 0)
""")
HELP = {
    "prompts_pending": "Prompts without candidates yet; beyond the bound of generation they wait for people to work.",
    "prompts_generating": "Prompts held by a generation worker.",
    "prompts_quarantined": "Prompts quarantined after the last attempt.",
    "assignments_active": "Comparisons held by an annotator.",
    "checks_waiting": "Texts that verifiers have not looked at yet.",
    "training_runs_live": "Training runs that are queued or running.",
    "annotations": "Annotations submitted in total; the planner's estimate from 100,000 on.",
    "engine_up": "1 where the last probe of the engine got an answer, else 0.",
    "engine_probe_timestamp_seconds": "When the control worker last probed the engine; 0 where it never did.",
    "backup_timestamp_seconds": "When the last `corral backup` was whole; 0 where there was none.",
}


class State(Collector):
    """The pool of this process and the queues of the database, when they are asked for."""

    def __init__(self) -> None:
        self._queues: dict[str, float] = {}
        self._read_at = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge each."""
        pool = get_engine().pool
        if isinstance(pool, QueuePool):
            yield GaugeMetricFamily("corral_db_pool_size", "Open connections.", pool.size())
            yield GaugeMetricFamily("corral_db_pool_in_use", "Connections in use.", pool.checkedout())
        free = shutil.disk_usage(get_settings().data_dir).free
        yield GaugeMetricFamily("corral_data_free_bytes", "Free space of the disk that holds the data folder.", free)
        for name, value in self._fresh().items():
            yield GaugeMetricFamily(f"corral_{name}", HELP[name], value)

    def _fresh(self) -> dict[str, float]:
        if time.monotonic() - self._read_at > MAX_AGE:
            with get_engine().connect() as connection:
                found = connection.execute(QUEUES, {"engine": get_settings().engine_url})
                self._queues = {row[0]: float(row[1]) for row in found}
            self._read_at = time.monotonic()
        return self._queues


registry.register(State())


@router.get("/metrics", dependencies=[Depends(api_staff)])
def metrics() -> Response:
    """Everything above in Prometheus' text format."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
