"""Choosing what is shown, and having read what that takes."""

from __future__ import annotations

from app.kernel.db import session_scope
from app.kernel.jobs import Job
from workers import stopping
from workers.celery_app import app


@app.task(name=Job.CHOOSE_PAIRS.value)
def choose_pairs() -> int:
    """Choose for what waits; returns how many comparisons were made."""
    from workers.selection.pairs import choose  # a second, and only these tasks need what it brings

    with session_scope() as session:
        return choose(session)


@app.task(name=Job.READ_FEATURES.value)
def read_features() -> int:
    """Read responses until none waits for it; returns how many were read."""
    from workers.selection.measuring import measure

    total = 0
    while not stopping.requested() and (read := measure()):
        total += read
    return total
