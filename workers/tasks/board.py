"""Computes the board that was asked for."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError

from app.board import service
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from workers.celery_app import app

log = structlog.get_logger()


@app.task(name=Job.BOARD.value)
def compute_board(board_id: int) -> None:
    """Compute one board; a second message for the same finds it ready or locked, and leaves."""
    from workers.board.computing import compute  # a second, and only this task needs what it brings

    try:
        with session_scope() as session:
            board = service.claim(session, board_id)
            if board is None:
                log.info("board_left_to_another", board=board_id)
                return
            service.finish(session, board, compute(session, board))
    except OperationalError:
        raise  # the database is away: the row stays as it is, and the sweeper rings again
    except Exception as error:
        log.exception("board_not_computed", board=board_id)
        with session_scope() as session:
            service.fail(session, board_id, f"{type(error).__name__}: {error}")
