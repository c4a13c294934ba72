"""A worker that is started for one night's training and ends by itself, so that a rented host is given back.

It works for as long as a round is trained or checked. Where none has begun within an hour, there was nothing to train.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Protocol

import structlog
from sqlalchemy import exists, select
from sqlalchemy.exc import SQLAlchemyError

from app.kernel.db import session_scope
from app.loops.models import Round, RoundState

log = structlog.get_logger()

WAITS_S: Final = 3600.0
"""Seconds for a training to begin."""
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


def run(words: Sequence[str]) -> int:
    """Run a worker until the night's training has ended, or somebody asks this process to; returns a status."""
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return watch(subprocess.Popen(words), training_is_due, lambda: bool(asked))


def watch(
    worker: Worker,
    due: Callable[[], bool],
    asked: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """See :func:`run`; a worker that ends by itself is not started again, and its status is returned."""
    since, begun = clock(), False
    while not asked():
        status = worker.poll()
        if status is not None:
            return status
        busy = _busy(due)
        begun = begun or bool(busy)
        if begun and busy is False:
            log.info("night_over")
            break
        if not begun and clock() - since > WAITS_S:
            log.info("night_without_training", waited_s=round(clock() - since))
            break
        sleep(LOOKS_S)
    return _stop(worker)


def _busy(due: Callable[[], bool]) -> bool | None:
    """Whether there is something to do; None where the database does not say."""
    try:
        return due()
    except SQLAlchemyError as error:
        log.warning("database_away", error=str(error).splitlines()[0])
        return None


def _stop(worker: Worker) -> int:
    worker.terminate()
    try:
        worker.wait(STOPS_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait(STOPS_S)
    return 0
