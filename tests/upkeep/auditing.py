"""Breaking a promise past the services, and what the audit then finds."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.upkeep.audit import Problem, audit


def spoil(session: Session, statement: str, **values: object) -> None:
    """As a mistake in the code could, or somebody with the database's keys: triggers are off, constraints are not."""
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(text(statement), values)
    session.execute(text("SET LOCAL session_replication_role = origin"))
    session.commit()


def only(session: Session, row: str, words: str) -> Problem:
    found = [problem for problem in audit(session) if problem.row == row and words in problem.what]
    assert len(found) == 1, audit(session)
    assert found[0].remedy
    return found[0]
