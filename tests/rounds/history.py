"""Rounds with their contests, settled and open, as if people had judged."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from app.loops.models import FIRST_LOOP, Round, RoundState, Verdict
from app.registry.models import Appointment, Checkpoint, LoopRole
from app.rounds.models import Contest
from tests.factories import (
    make_checkpoint,
    make_contest,
)

DETAILS: dict[str, Any] = {
    "path": [[3, 0.67, 0.1, 0.99, 0.0], [40, 0.6, 0.44, 0.75, 1.2]],
    "capabilities": {"coding": {"counted": 12, "score": 0.62, "low": 0.4, "high": 0.8}},
    "people": {"annotator-aa": {"counted": 22, "score": 0.64, "without": 0.55}},
    "length_controlled": {"score": 0.59, "low": 0.43, "high": 0.74},
}


def crown(session: Session, checkpoint: Checkpoint) -> None:
    session.merge(Appointment(loop_id=FIRST_LOOP, role=LoopRole.CHAMPION, checkpoint_id=checkpoint.id))
    session.commit()


def settle(
    session: Session, number: int, champion: Checkpoint, verdict: Verdict, score: float, **values: Any
) -> Checkpoint:
    """A complete round with its contest; gives its policy."""
    found = Round(number=number, state=RoundState.COMPLETE, verdict=verdict, verdict_reason="Said so.")
    session.add(found)
    session.flush()
    policy = make_checkpoint(session, f"okapi-r{number}")
    contest = make_contest(session, policy, champion, of=found, counted=143, people=4)
    contest.score, contest.low, contest.high = score, score - 0.06, score + 0.06
    contest.verdict, contest.closed_at, contest.reason = verdict, contest.opened_at, "Said so."
    for name, value in values.items():
        setattr(contest, name, value)
    session.commit()
    return policy


def challenge(session: Session, number: int, champion: Checkpoint, **values: Any) -> Contest:
    """A round whose policy is in contest, and the one after it, which collects."""
    found = Round(number=number, state=RoundState.CHALLENGING)
    session.add_all([found, Round(number=number + 1)])
    session.flush()
    policy = make_checkpoint(session, f"okapi-r{number}")
    sums: dict[str, Any] = {"counted": 40, "score": 0.6, "low": 0.44, "high": 0.75, "log_e": 1.2, "people": 2}
    contest = make_contest(session, policy, champion, of=found, **(sums | {"details": DETAILS} | values))
    session.commit()
    return contest
