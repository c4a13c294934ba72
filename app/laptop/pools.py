"""The Celery worker of each queue: how many at a time, and of which kind. ``workers.celery_app`` reasons what each needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.kernel.jobs import Queue


@dataclass(frozen=True)
class Pool:
    """Tasks at a time, in processes (``prefork``) or ``threads``."""

    concurrency: int
    kind: str

    def of(self, queue: Queue) -> list[str]:
        """The words behind ``celery … worker`` that take this queue in this pool."""
        return ["-Q", queue.value, "-c", str(self.concurrency), "-P", self.kind]


POOLS: Final = {
    Queue.GENERATION: Pool(1, "prefork"),
    Queue.TRAINING: Pool(1, "prefork"),
    Queue.CONTROL: Pool(4, "threads"),
    Queue.LIVE: Pool(16, "threads"),
    Queue.CHECKS: Pool(1, "prefork"),
}
