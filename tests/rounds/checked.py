"""What tests of checks ask: what was measured, who challenges, who is in charge."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from app.kernel.db import session_scope
from app.loops.models import Round
from app.registry import service as registry
from app.registry.models import Checkpoint, LoopRole
from app.rounds.models import Contest, Evaluation, RunKind
from tests.rounds.conftest import run_of


def only_round() -> Round:
    """The first round, where there is no other or whatever there is."""
    with session_scope() as session:
        return session.scalars(select(Round).where(Round.number == 1)).one()


def contests() -> int:
    """How many there are."""
    with session_scope() as session:
        return session.scalar(select(func.count()).select_from(Contest)) or 0


def evaluations() -> list[Evaluation]:
    """Every measurement, oldest first."""
    with session_scope() as session:
        return list(session.scalars(select(Evaluation).order_by(Evaluation.id)))


def champion() -> str:
    """Its name."""
    with session_scope() as session:
        found = registry.appointed(session, LoopRole.CHAMPION)
        assert found is not None
        return found.name


def findings(level: str) -> str:
    """What the findings of a level say, all in one."""
    return " ".join(each["words"] for row in evaluations() for each in row.findings if each["level"] == level)


def folder_made_by(kind: RunKind) -> Path:
    """Where the checkpoint of the newest run of a kind lies."""
    with session_scope() as session:
        return session.get_one(Checkpoint, run_of(kind).checkpoint_id).folder


def challenger() -> Checkpoint:
    """Of the newest contest."""
    with session_scope() as session:
        contest = session.scalars(select(Contest).order_by(Contest.id.desc())).first()
        assert contest is not None
        return session.get_one(Checkpoint, contest.challenger_id)
