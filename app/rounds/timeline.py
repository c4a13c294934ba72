"""Rounds with what belongs to each: its batches, its annotations and its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.loops.models import Round, RoundState
from app.prompts.models import Batch
from app.rounds import cards, findings, recent
from app.rounds.findings import Measured
from app.rounds.models import Contest, ContestKind, TrainingRun


@dataclass(frozen=True)
class RoundRow:
    """One round as the timeline shows it."""

    round: Round
    batches: Sequence[tuple[int, str]]
    annotations: int
    """What was judged in it, whenever the responses were written (``app.rounds.recent``)."""
    written: int
    """Of these, answers that were written from scratch."""
    runs: Sequence[TrainingRun]
    contest: Contest | None
    """Of its gate, with the two policies; None where there is none, and for a reader who may not see it yet."""
    measured: list[Measured]
    kept_back: bool
    """Whether there is more that this reader may see only after the verdict."""


def rows(session: Session, rounds: Sequence[Round], user: User) -> list[RoundRow]:
    """What belongs to each of ``rounds``, as far as ``user`` may see it."""
    ids = [found.id for found in rounds]
    runs = session.scalars(
        select(TrainingRun)
        .where(TrainingRun.round_id.in_(ids))
        .options(joinedload(TrainingRun.checkpoint), joinedload(TrainingRun.snapshot))
        .order_by(TrainingRun.id.desc())
    ).all()
    batches = session.execute(
        select(Batch.round_id, Batch.id, Batch.name).where(Batch.round_id.in_(ids)).order_by(Batch.id)
    ).all()
    judged = recent.by_round(session)
    visible = {found.id for found in rounds if findings.shown(user, found)}
    measured = findings.of_rounds(session, visible)
    of_gates = cards.with_policies().where(Contest.round_id.in_(ids), Contest.kind == ContestKind.GATE)
    contests = {
        contest.round_id: contest
        for contest in session.scalars(of_gates.order_by(Contest.id))
        if cards.shows(user, contest)
    }
    return [
        RoundRow(
            round=found,
            batches=[(batch_id, name) for round_id, batch_id, name in batches if round_id == found.id],
            annotations=judged.get(found.number, recent.Judged()).annotations,
            written=judged.get(found.number, recent.Judged()).written,
            runs=[run for run in runs if run.round_id == found.id],
            contest=contests.get(found.id),
            measured=measured.get(found.id, []),
            kept_back=found.state in {RoundState.CHECKING, RoundState.CHALLENGING} and found.id not in visible,
        )
        for found in rounds
    ]


def list_rounds(session: Session, limit: int = 30) -> Sequence[Round]:
    """Newest first."""
    return session.scalars(select(Round).order_by(Round.number.desc()).limit(limit)).all()
