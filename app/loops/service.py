"""Makes the first loop and its first round where they are missing, and hands the current round to whoever changes it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.kernel.errors import Conflict
from app.kernel.locales import gettext as _
from app.loops import queries
from app.loops.models import FIRST_LOOP, Loop, Round

FIRST_NAME = "Main"


def ensure_first_loop(session: Session) -> Loop:
    """The loop that every installation has."""
    session.execute(insert(Loop).values(id=FIRST_LOOP, name=FIRST_NAME).on_conflict_do_nothing(index_elements=["id"]))
    return session.get_one(Loop, FIRST_LOOP)


def ensure_first_round(session: Session) -> Round:
    """The current round; on a new installation round 1."""
    current = queries.current_round(session)
    if current is None:
        current = Round(
            loop_id=ensure_first_loop(session).id, number=1 + (session.scalar(select(func.max(Round.number))) or 0)
        )
        session.add(current)
        session.flush()
    return current


def lock_current_round(session: Session) -> Round:
    """The current round, locked until the transaction ends.

    Raises:
        Conflict: the installation has no round yet.
    """
    query = select(Round).where(Round.state.not_in(queries.ENDED_COLLECTING)).with_for_update()
    current = session.scalar(query.execution_options(populate_existing=True))
    if current is None:
        raise Conflict(_("There is no round yet. Start the installation with `corral up` first."))
    return current
