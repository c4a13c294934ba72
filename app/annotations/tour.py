"""The tour of a first visit: three examples with their answers discussed. That somebody has finished it is all that is stored.

What is said on the way goes back to its page and nowhere else: no comparison, annotation or seat is made, so nothing of it can
reach an export, agreement or training.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, func, literal, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.tour_items import EXAMPLES, Example
from app.comparisons import given
from app.kernel.errors import NotFound
from app.kernel.locales import N_
from app.prompts.models import Batch, BatchState

REQUIRED = N_("This batch starts with a tour of three examples. Take it at /tour, then ask for an item again.")


def example(number: int) -> Example:
    """The example of a number, from 1.

    Raises:
        NotFound: there is none.
    """
    if not 1 <= number <= len(EXAMPLES):
        raise NotFound
    return EXAMPLES[number - 1]


def awaits(session: Session, user: User, batch_id: int | None) -> bool:
    """Whether an open batch gives ``user`` nothing new before they have finished the tour."""
    if user.toured_at is not None or batch_id is None:
        return False
    theirs = given.gives(literal(user.id, BigInteger), Batch.id)
    required = select(Batch.id).where(Batch.id == batch_id, Batch.state == BatchState.OPEN, Batch.requires_tour, theirs)
    return session.scalar(required) is not None


def finish(session: Session, user: User) -> None:
    """Note that ``user`` has finished the tour; the first time counts."""
    if user.toured_at is None:
        user.toured_at = func.now()
        session.flush()
        session.refresh(user)
