"""Reads of rounds that everything above them needs; pages of rounds load theirs in ``app.rounds``."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.loops.models import Round, RoundState

ENDED_COLLECTING = (RoundState.CHALLENGING, RoundState.COMPLETE)
"""States of rounds that are not current any more."""


def current_round(session: Session) -> Round | None:
    """The one round that collects, trains or checks."""
    return session.scalar(select(Round).where(Round.state.not_in(ENDED_COLLECTING)))


def challenging_round(session: Session) -> Round | None:
    """The round whose policy is in contest with the champion, if there is one."""
    return session.scalar(select(Round).where(Round.state == RoundState.CHALLENGING))


def round_numbers(session: Session, ids: Collection[int]) -> dict[int, int]:
    """The number of each round, by its id."""
    return dict(session.execute(select(Round.id, Round.number).where(Round.id.in_(ids))).all())
