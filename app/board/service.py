"""When a board is recomputed: enough new votes, a day, or a request. Never commits."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import Annotation
from app.board import queries
from app.board.models import Board, BoardSlice, BoardState
from app.kernel.jobs import Job, enqueue
from app.loops.models import FIRST_LOOP

log = structlog.get_logger()

ENOUGH = 20
"""New annotations that trigger a recomputation at once; with many votes, a twentieth of them."""
SHARE = 20
AT_LEAST = timedelta(days=1)
"""How old a board gets while anything is new."""
KEPT = 10


def request(session: Session, user: User | None, loop_id: int = FIRST_LOOP) -> Board:
    """The board that is to be computed; where one waits already, that one."""
    session.execute(
        insert(Board)
        .values(loop_id=loop_id, state=BoardState.QUEUED, created_by_id=user.id if user else None)
        .on_conflict_do_nothing(index_elements=["loop_id"], index_where=text("state = 'queued'"))
    )
    # the one that waited may have become ready between the two statements: it is the newest all the same
    newest = session.scalars(select(Board).where(Board.loop_id == loop_id).order_by(Board.id.desc()).limit(1)).one()
    enqueue(session, Job.BOARD, newest.id)
    return newest


def ring_for_due(session: Session) -> None:
    """Ask for a board where one is due, and ring for one that waits: its message may be lost with the broker."""
    waiting = session.scalars(select(Board.id).where(Board.state == BoardState.QUEUED)).all()
    for board_id in waiting:
        enqueue(session, Job.BOARD, board_id)
    if not waiting and is_due(session):
        request(session, None)


def is_due(session: Session) -> bool:
    """Whether enough was said, returned or retracted since the last board; after a failure, the next day."""
    last = queries.last_ended(session)
    if last is None:
        return session.scalar(select(Annotation.id).limit(1)) is not None
    aged = session.scalar(select(last.created_at < func.now() - AT_LEAST))
    if last.state is BoardState.FAILED:
        return bool(aged)
    new = queries.new_since(session, last)
    return new >= (1 if aged else max(ENOUGH, last.votes // SHARE))


def claim(session: Session, board_id: int) -> Board | None:
    """The board if it waits and nobody computes it; its lock is held until the transaction ends."""
    return session.scalar(
        select(Board).where(Board.id == board_id, Board.state == BoardState.QUEUED).with_for_update(skip_locked=True)
    )


def finish(session: Session, board: Board, slices: list[BoardSlice]) -> None:
    """Keep what was computed, and forget the boards before the last few."""
    session.add_all(slices)
    session.flush()
    kept = select(Board.id).where(Board.loop_id == board.loop_id).order_by(Board.id.desc()).limit(KEPT)
    for old in session.scalars(select(Board).where(Board.loop_id == board.loop_id, Board.id.not_in(kept))):
        session.delete(old)


def fail(session: Session, board_id: int, reason: str) -> None:
    """Say why there is none; the last one stays on the page."""
    board = claim(session, board_id)
    if board is not None:
        board.state, board.error = BoardState.FAILED, reason
