"""What a run says while it goes on, as its worker passes it on, and what the worker is told in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.rounds.claims import Claim, held
from app.rounds.models import TrainingEvent, TrainingRun

LOG_TAIL_CHARS = 8_000


@dataclass(frozen=True)
class Event:
    """One line of ``events.jsonl``; ``seq`` is its number in the file."""

    seq: int
    event: str
    at: datetime
    step: int | None
    values: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What is new since the last report."""

    events: Sequence[Event] = ()
    log_tail: str = ""
    further: bool = False
    """Whether something was made that a next start has no need to make again."""


class Order(StrEnum):
    """The answer to a report."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    LOST = "lost"


def report(session: Session, claim: Claim, news: Report) -> Order:
    """Show that the run lives and copy what it said; copying a line twice changes nothing."""
    run = held(session, claim)
    if run is None:
        return Order.LOST
    run.heartbeat_at = func.now()
    if news.log_tail:
        run.log_tail = news.log_tail[-LOG_TAIL_CHARS:]
    furthest = None
    if news.events:
        furthest = _furthest_resume(session, run)
        rows = [
            {"run_id": run.id, "seq": e.seq, "event": e.event, "at": e.at, "step": e.step, "values": e.values}
            for e in news.events
        ]
        session.execute(insert(TrainingEvent).values(rows).on_conflict_do_nothing())
    for event in news.events:
        _apply(run, event)
    if news.further or (furthest is not None and _furthest_resume(session, run) > furthest):
        run.attempts = 1  # a run that is pre-empted often but still makes progress does not use up its attempts
    session.flush()
    return Order.CANCEL if run.cancel_requested_at is not None else Order.GO_ON


def _furthest_resume(session: Session, run: TrainingRun) -> int:
    """The furthest step at which the run went on from what was saved; 0 while it never did."""
    resumed = select(func.max(TrainingEvent.step)).where(
        TrainingEvent.run_id == run.id, TrainingEvent.event == "resumed"
    )
    return session.scalar(resumed) or 0


def _apply(run: TrainingRun, event: Event) -> None:
    metrics = event.values.get("metrics")
    if event.event == "resumed" and event.step is not None:
        run.step = event.step
    elif event.event == "step" and event.step is not None:
        run.step = event.step
        run.total_steps = event.values.get("total_steps") or run.total_steps
    if isinstance(metrics, dict):
        if event.event == "baseline":
            run.baseline = metrics
        else:
            run.metrics = {**run.metrics, **metrics}
