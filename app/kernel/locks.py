"""Locks that are no row: one transaction at a time does what a name stands for."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def wait_for_turn(session: Session, name: str) -> None:
    """Wait until no other transaction has the turn called ``name``; it is held until this one ends.

    ``name`` begins with what is locked and, where each has its own turn, ends with whose it is: ``live:7``.
    """
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
