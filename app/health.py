"""``/healthz`` (the process answers), ``/readyz`` (the database answers, migrations are applied)."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from app.db import DbSession
from app.errors import Unavailable
from app.migrating import current, heads

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(session: DbSession) -> dict[str, str]:
    """The database answers and has the tables that this program was written for; a failure is a 503."""
    if current(session) != _wanted():
        raise Unavailable(
            "The database has no tables yet, or those of another version: run `corral db upgrade`.", retry_after=5
        )
    return {"status": "ready"}


@lru_cache(maxsize=1)
def _wanted() -> frozenset[str]:
    """The newest revisions that the code knows: read once, because a probe comes every few seconds."""
    return frozenset(heads())
