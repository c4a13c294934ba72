"""One person's working day: what was done, against the goal that they set themselves, and what waits to be gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import queues
from app.annotations.models import Annotation
from app.annotations.queues import Queue, Row
from app.prompts import guidelines

GOAL_MOST = 1_000
SHOWN = 5
"""Items of each kind on the start page; the queues have them all."""


@dataclass(frozen=True)
class Day:
    """What somebody did today. Only seconds that they were active count as work."""

    done: int
    active_seconds: float
    goal: int
    """0: none was set."""

    @property
    def active_text(self) -> str:
        """The active time in words."""
        minutes = round(self.active_seconds / 60)
        hours = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        return hours if minutes or not self.active_seconds else "under a minute"


@dataclass(frozen=True)
class Waiting:
    """What there is to come back to."""

    returned: list[Row]
    begun: list[Row]
    more_returned: bool
    more_begun: bool
    guidelines: list[tuple[int, str, int, int]]
    """Batches whose guidelines changed since they were read: id, name, version read, version now."""


def goal_of(preferences: Mapping[str, Any]) -> int:
    """The daily goal; 0 where none, or none that makes sense, is stored."""
    goal = preferences.get("daily_goal")
    return goal if type(goal) is int and 0 < goal <= GOAL_MOST else 0


def today(session: Session, user: User, zone: tzinfo | None = None) -> Day:
    """Since midnight in ``zone``, else by the database's clock.

    An item that was corrected counts once; what was taken back does not.
    """
    began, now = session.execute(select(func.date_trunc("day", func.now()), func.now())).one()
    if zone is not None:
        began = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    query = select(
        func.count(Annotation.assignment_id.distinct()), func.coalesce(func.sum(Annotation.active_seconds), 0.0)
    ).where(
        Annotation.annotator_id == user.id,
        Annotation.created_at >= began,
        Annotation.withdrawn_at.is_(None),
    )
    done, seconds = session.execute(query).one()
    return Day(done, seconds or 0.0, goal_of(user.preferences))


def set_goal(session: Session, user: User, goal: int) -> None:
    """Remember the daily goal; 0 takes it away."""
    user.preferences = {**user.preferences, "daily_goal": goal}
    session.flush()


def waiting(session: Session, user: User) -> Waiting:
    """Returned items first, then what was begun, the newest of each."""
    returned = queues.queue_page(session, user, Queue.RETURNED).rows
    begun = queues.queue_page(session, user, Queue.DRAFTS).rows + queues.queue_page(session, user, Queue.PENDING).rows
    begun = sorted((row for row in begun if row.can_go_on), key=lambda row: -row.id)
    return Waiting(
        returned=returned[:SHOWN],
        begun=begun[:SHOWN],
        more_returned=len(returned) > SHOWN,
        more_begun=len(begun) > SHOWN,
        guidelines=guidelines.changed_batches(session, user),
    )
