"""A training worker that ends by itself, so that a rented host is given back.

It works for as long as a round is trained or checked. One for the night waits an hour for that to begin; one until idle does
not wait. Its status says how it ended, for whoever has to start it again or to look.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from types import FrameType
from typing import Final, Protocol

import structlog
from sqlalchemy import exists, func, select
from sqlalchemy.exc import SQLAlchemyError

from app.kernel.db import session_scope
from app.loops.models import Round, RoundState
from app.rounds.models import RunState, TrainingRun

log = structlog.get_logger()

NIGHT_S: Final = 3600.0
"""Seconds for a training to begin, of a worker for the night."""
IDLE_S: Final = 0.0
"""The same of one until idle."""
RUN_FAILED: Final = 3
"""The status where a run failed since the start."""
ASKED: Final = 128
"""The status, plus the signal's number, of one that was asked to end: what it had is queued again."""
LOOKS_S: Final = 5.0
STOPS_S: Final = 120.0
"""Seconds for a worker to put down what it holds; what has no end by then is killed, and taken up elsewhere."""


class Worker(Protocol):
    """What is needed of the worker's process."""

    def poll(self) -> int | None:
        """Its status, once it has ended."""

    def terminate(self) -> None:
        """Ask it to end what it does, and then to end."""

    def wait(self, timeout: float) -> int:
        """Its status; raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """End it at once."""


def training_is_due() -> bool:
    """Whether a round is being trained or checked, so that there is or will be something to do."""
    with session_scope() as session:
        busy = Round.state.in_((RoundState.TRAINING, RoundState.CHECKING))
        return bool(session.scalar(select(exists().where(busy))))


def failed_since(moment: datetime) -> bool:
    """Whether a run has failed since then, by the clock of the database."""
    failed = TrainingRun.state == RunState.FAILED, TrainingRun.finished_at >= moment
    with session_scope() as session:
        return bool(session.scalar(select(exists().where(*failed))))


def database_time() -> datetime:
    """The clock of the database."""
    with session_scope() as session:
        return session.execute(select(func.now())).scalar_one()


def run(words: Sequence[str], waits: float) -> int:
    """Run a worker until what is to be trained has been, or somebody asks this process to end.

    Args:
        words: What starts it.
        waits: Seconds for a training to begin.

    Returns:
        0; :data:`RUN_FAILED`; :data:`ASKED` and the signal's number; or the worker's own status, where it ended by itself.
    """
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    started = database_time()
    status = watch(subprocess.Popen(words), training_is_due, asked, waits)
    if status == 0 and _asked_of_database(lambda: failed_since(started)):
        return RUN_FAILED
    return status


def watch(
    worker: Worker,
    due: Callable[[], bool],
    asked: Sequence[int],
    waits: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """See :func:`run`; ``asked`` are the signals so far. A worker that ends by itself is not started again."""
    since, begun = clock(), False
    while not asked:
        status = worker.poll()
        if status is not None:
            return status
        busy = _asked_of_database(due)
        begun = begun or bool(busy)
        if begun and busy is False:
            log.info("training_over")
            break
        if not begun and busy is False and clock() - since >= waits:
            log.info("nothing_to_train", waited_s=round(clock() - since))
            break
        sleep(LOOKS_S)
    _stop(worker)
    return ASKED + asked[0] if asked else 0


def _asked_of_database(ask: Callable[[], bool]) -> bool | None:
    """What the database says; None where it does not."""
    try:
        return ask()
    except SQLAlchemyError as error:
        log.warning("database_away", error=str(error).splitlines()[0])
        return None


def _stop(worker: Worker) -> None:
    worker.terminate()
    try:
        worker.wait(STOPS_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait(STOPS_S)
