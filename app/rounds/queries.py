"""Reads of rounds and runs; loaders check the caller."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.loops.models import Round
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun

STAFF = frozenset({Role.REVIEWER, Role.ADMIN})
LIVE = (RunState.QUEUED, RunState.RUNNING)
EVENTS_LIMIT = 2_000
RECENT_STEPS = 20


# ── Loaders ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def access_run(session: Session, user: User, run_id: int) -> TrainingRun:
    """The run with its snapshot and checkpoint, for reviewers and admins; for anybody else there is none."""
    options = (joinedload(TrainingRun.snapshot), joinedload(TrainingRun.checkpoint))
    found = session.get(TrainingRun, run_id, options=options) if user.role in STAFF else None
    if found is None:
        raise NotFound
    return found


def access_round(session: Session, user: User, number: int) -> Round:
    """The round with this number, for reviewers and admins."""
    found = session.scalar(select(Round).where(Round.number == number)) if user.role in STAFF else None
    if found is None:
        raise NotFound
    return found


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def last_attempt(session: Session, current: Round) -> Sequence[TrainingRun]:
    """The newest chain of runs in a round, as it stands now; earlier attempts failed or were cancelled."""
    first = (
        select(func.max(TrainingRun.id))
        .where(TrainingRun.round_id == current.id, TrainingRun.kind == RunKind.REWARD)
        .scalar_subquery()
    )
    query = select(TrainingRun).where(TrainingRun.round_id == current.id, TrainingRun.id >= first)
    query = query.options(joinedload(TrainingRun.checkpoint), joinedload(TrainingRun.snapshot)).order_by(TrainingRun.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def list_runs(session: Session, *, before: int | None = None, limit: int = 50) -> Page[TrainingRun]:
    """Newest first."""
    query = select(TrainingRun).options(joinedload(TrainingRun.checkpoint), joinedload(TrainingRun.snapshot))
    return read_page(session, query, Order(TrainingRun.id), before, limit)


def in_training(session: Session) -> bool:
    """Whether a worker has a run, or had it when it was last heard of."""
    return bool(session.scalar(select(exists().where(TrainingRun.state == RunState.RUNNING))))


def runs_by_id(session: Session, ids: Sequence[int]) -> Sequence[TrainingRun]:
    """These runs as the database has them now, in the order of their ids."""
    query = select(TrainingRun).where(TrainingRun.id.in_(ids)).order_by(TrainingRun.id)
    query = query.options(joinedload(TrainingRun.checkpoint), joinedload(TrainingRun.snapshot))
    return session.scalars(query.execution_options(populate_existing=True)).all()


def events(session: Session, run_id: int, *, after: int = -1, limit: int = EVENTS_LIMIT) -> Sequence[TrainingEvent]:
    """What a run said, in its order, from the event behind number ``after`` on."""
    query = select(TrainingEvent).where(TrainingEvent.run_id == run_id, TrainingEvent.seq > after)
    return session.scalars(query.order_by(TrainingEvent.seq).limit(limit)).all()


def milestones(session: Session, run_id: int) -> Sequence[TrainingEvent]:
    """What a run said beside its steps and evaluations: data, baseline, warnings."""
    query = select(TrainingEvent).where(
        TrainingEvent.run_id == run_id, TrainingEvent.event.not_in(("step", "evaluation"))
    )
    return session.scalars(query.order_by(TrainingEvent.seq).limit(EVENTS_LIMIT)).all()


def recent_steps(session: Session, run_id: int) -> Sequence[TrainingEvent]:
    """The last steps, in their order."""
    query = select(TrainingEvent).where(TrainingEvent.run_id == run_id, TrainingEvent.event == "step")
    return session.scalars(query.order_by(TrainingEvent.seq.desc()).limit(RECENT_STEPS)).all()[::-1]
