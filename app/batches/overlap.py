"""How many people judge each item of a batch, changed while they work.

A seat that somebody has taken stays: an item never wants fewer people than have judged it or hold it. Submits, skips and the
sweeper change the same rows and may hold one while they wait for another, so a change gives way: where it waits too long for a
row it lets go of all, and begins again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from sqlalchemy import CursorResult, case, func, or_, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.comparisons import purposes
from app.comparisons.models import Comparison
from app.comparisons.service import asked_of_a_second
from app.kernel.errors import Conflict
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.models import Batch

TRIES = 20
PATIENCE = "250ms"
"""Well below PostgreSQL's deadlock_timeout of a second: whoever judges is never the one that is refused."""
LOCK_NOT_AVAILABLE = "55P03"
BUSY = N_(
    "People are submitting to this batch at this moment, so the change could not be made. Nothing was changed: try again."
)


def follow(session: Session, batch: Batch) -> int:
    """Give each item of ``batch`` the number of people that the batch asks for now; how many items changed.

    An item that has enough is done, and one that was done and needs more is given out again. Withdrawn ones stay so.
    """
    wanted = batch.annotators_per_prompt
    held = Comparison.annotators_wanted - Comparison.seats_free
    asked = _twice(session, batch) if wanted == 1 else wanted
    after = func.greatest(asked, held)
    changed = session.execute(
        update(Comparison)
        .where(
            Comparison.batch_id == batch.id,
            purposes.is_asked_for,
            Comparison.annotators_wanted > 0,
            Comparison.annotators_wanted != after,
        )
        .values(annotators_wanted=after, seats_free=after - held)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - what an UPDATE returns
    return changed.rowcount


def _twice(session: Session, batch: Batch) -> object:
    """1, but 2 of those that a second person judges: by the lot that each prompt has, or because of what the first one said."""
    more = select(Comparison.prompt_id).where(
        Comparison.batch_id == batch.id, purposes.is_asked_for, Comparison.annotators_wanted > 1
    )
    twice = asked_of_a_second(session, batch, session.scalars(more))
    return case((or_(Comparison.doubted_by_id.is_not(None), Comparison.prompt_id == func.any(twice)), 2), else_=1)


def giving_way(session: Session, work: Callable[[], object]) -> None:
    """Do ``work`` in one savepoint, again from the start where it waits for a row that somebody else does not let go.

    Raises:
        Conflict: it never got all of its rows.
    """
    for attempt in range(TRIES):
        try:
            with session.begin_nested():
                session.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
                work()
                session.execute(text("SET LOCAL lock_timeout = 0"))
                return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            time.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311 - spreads tries, guards nothing
    raise Conflict(_(BUSY), retry_after=1)
