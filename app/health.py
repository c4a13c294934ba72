"""``/healthz`` (the process answers), ``/readyz`` (the database answers, migrations are applied)."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import text

from app.db import DbSession

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(session: DbSession) -> dict[str, str]:
    """The database answers and has our tables; a failure is a 503 from the error handlers."""
    session.execute(text("SELECT version_num FROM alembic_version"))
    return {"status": "ready"}
