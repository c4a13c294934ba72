"""``/healthz`` (the process answers), ``/readyz`` (the database answers, migrations are applied)."""

from __future__ import annotations

from functools import lru_cache

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import APIRouter

from app.kernel.db import session_scope
from app.kernel.errors import Unavailable
from app.services.migrating import current, heads

router = APIRouter()

READY_SECONDS = 3.0
"""A probe of ``/readyz`` has to wait longer than this; docker-compose.yml gives it five seconds."""
_threads: RunVar[CapacityLimiter] = RunVar("corral_ready_threads")


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz() -> dict[str, str]:
    """The database answers and has the tables that this program was written for; a failure is a 503.

    It asks with a thread and a connection that pages do not use: a server that is merely busy is not restarted.
    """
    threads = _threads.get(None)
    if threads is None:
        threads = CapacityLimiter(2)
        _threads.set(threads)
    try:
        with anyio.fail_after(READY_SECONDS):
            found = await anyio.to_thread.run_sync(_revisions, limiter=threads, abandon_on_cancel=True)
    except TimeoutError:
        raise Unavailable(f"The database did not answer within {READY_SECONDS:g} seconds.", retry_after=5) from None
    if found != _wanted():
        raise Unavailable(
            "The database has no tables yet, or tables of another version: run `corral db upgrade`.", retry_after=5
        )
    return {"status": "ready"}


def _revisions() -> set[str]:
    with session_scope() as session:
        return current(session)


@lru_cache(maxsize=1)
def _wanted() -> frozenset[str]:
    """The newest revisions that the code knows: read once, because a probe comes every few seconds."""
    return frozenset(heads())
