"""What a person sets and comes back to on the start page; what they did is counted in :mod:`app.annotations.day`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import queues
from app.annotations.queues import Queue, Row
from app.prompts import guidelines

SHOWN = 5
"""Items of each kind on the start page; the queues have them all."""


@dataclass(frozen=True)
class Waiting:
    """What there is to come back to."""

    returned: list[Row]
    begun: list[Row]
    more_returned: bool
    more_begun: bool
    guidelines: list[tuple[int, str, int, int]]
    """Batches whose guidelines changed since they were read: id, name, version read, version now."""


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
