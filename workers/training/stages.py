"""Runs the stages of a run in their order, watches each, and records how the run ended.

A run that was interrupted resumes at the stage that was: what a finished stage has made lies in the run's folder
(``app.rounds.plan``), so nothing finished is repeated, and the stage itself goes on from what it saved.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from enum import StrEnum
from functools import partial

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.kernel import store
from app.kernel.db import session_scope
from app.kernel.errors import AppError, CannotStart, Unavailable
from app.kernel.settings import get_settings
from app.rounds import endings, plan, reports
from app.rounds.claims import Claim
from app.rounds.endings import Failure
from app.rounds.gate import NotPromotable, set_aside
from app.rounds.plan import CHECKPOINT, STATUS_BUSY, Stage
from app.rounds.reports import Event, Order, Report
from workers import stopping
from workers.training import moving, sleep
from workers.training.process import LOG, StageProcess, failure_of, tail, was_killed

log = structlog.get_logger()

POLL_SECONDS = 0.5
REPORT_SECONDS = 5.0
STAYS = "Nothing was promoted; the policies in rotation stay."
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


class Stopped(StrEnum):
    """Why this worker ended a run before its time."""

    CANCELLED = "cancelled"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    STALLED = "stalled"


Ended = int | Stopped | Failure
"""How a stage ended, and with it the run where it is not 0: the exit status of one that may pass another time, or why not."""


def run(claim: Claim) -> None:
    """Run what is left of the stages and record how they ended. Whatever happens here, no process outlives this call."""
    watch = Watch(claim)
    ended: Ended = _move(watch, partial(moving.fetch, claim)) or 0
    left = plan.left(claim.stages, claim.has)
    for number, stage in enumerate(left):
        if ended != 0:
            break
        ended = _with_memory(claim, stage, left[number + 1 :], watch)
    settle(claim, ended, tail(claim.folder / LOG))


def _move(watch: Watch, work: Callable[[], None]) -> Stopped | Failure | None:
    """Exchange files with other hosts; why the run cannot go on, where it cannot."""
    if not store.is_shared():
        return None
    try:
        return watch.during(work)
    except Unavailable as error:
        return Failure(error.message, "Then retry: what is saved is kept, on this host and in the store.")
    except OSError as error:
        return Failure(
            f"Files could not be exchanged with the store: {error}.", "Free some space on the disk, then retry."
        )


def _with_memory(claim: Claim, stage: Stage, after: Sequence[Stage], watch: Watch) -> Ended:
    """Do a stage; where the engine shares its GPU, while that sleeps."""
    if not sleep.has_engine_sleep(stage):
        return _do(claim, stage, after, watch)
    with sleep.waking():
        return watch.during(sleep.sleep) or _do(claim, stage, after, watch)


def _do(claim: Claim, stage: Stage, after: Sequence[Stage], watch: Watch) -> Ended:
    missing = next((name for name in stage.needs if not claim.has(name)), None)
    if missing is not None:
        error = f"The stage “{stage.name}” needs {claim.place(missing)}, which does not exist."
        return Failure(error, "Restore it, then retry; or start a new training.")
    try:
        for later in after:
            _forget(claim, later)
        process = StageProcess(claim, stage)
    except CannotStart as error:
        return Failure(error.message, "Restart the training worker, then retry.")
    except OSError as error:
        remedy = "Free some space on the disk, or make the data folder writable, then retry."
        return Failure(f"The stage “{stage.name}” could not be started: {error}.", remedy)
    try:
        with moving.StatePusher(claim):
            ended = watch.over(process)
    finally:
        process.stop()
    if ended == 0:
        kept = _check(claim, stage) or _move(watch, partial(moving.keep, claim))
        return kept or (watch.between_stages() if after else None) or 0
    if isinstance(ended, Stopped) or ended == STATUS_BUSY or was_killed(ended):
        return ended
    return failure_of(stage, ended, process.last_words())


def _forget(claim: Claim, stage: Stage) -> None:
    """Drop what a stage made of something older, lest an interruption leave it for finished."""
    if stage.makes[-1] != CHECKPOINT:
        claim.place(stage.makes[-1]).unlink(missing_ok=True)


def _check(claim: Claim, stage: Stage) -> Failure | None:
    """Whether a stage that ended well made what it should, and that passes its gates."""
    missing = next((name for name in stage.makes if not claim.has(name)), None)
    if missing is not None:
        error = f"The stage “{stage.name}” finished without an error, but did not write {claim.place(missing)}."
        return Failure(error, stage.remedies.otherwise)
    if stage is claim.stages[-1] and not store.is_shared():
        return None  # the gates are asked as the run succeeds, in one transaction with that; what is pushed has passed them
    try:
        with session_scope() as session:
            endings.pass_gates(session, claim, stage)
    except NotPromotable as refused:
        return _refusal(claim, refused)
    return None


class Watch:
    """Reports to the database for as long as a run is held, and says when it has to stop."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._parent = os.getppid()
        self._held = time.monotonic()
        """When the database last said that the run is this worker's."""

    def over(self, process: StageProcess) -> int | Stopped:
        """Report until the process ends, or until it has to be ended: the exit status, or the reason."""
        reported = 0.0
        heard = time.monotonic()
        unsaid: list[Event] = []
        further = False
        while True:
            status = process.wait(POLL_SECONDS)
            if process.spoke():
                heard = time.monotonic()
            unsaid += process.new_events()
            if status is None and self._has_to_leave():
                return Stopped.SHUTDOWN
            now = time.monotonic()
            if unsaid or status is not None or now - reported >= REPORT_SECONDS:
                further = process.got_further() or further
                order = self._report(Report(unsaid, process.log_tail(), further))
                reported = now
                if order is not None:
                    unsaid, further = [], False
                if self._is_lost(order):
                    process.stop(grace=0)  # another worker may have started it already
                    return Stopped.LOST
                if order is Order.CANCEL and status is None:
                    return Stopped.CANCELLED
            if status is None and now - heard > get_settings().training_stall:
                return Stopped.STALLED  # the report is the worker's sign of life, and says nothing of the process
            if status is not None:
                return status

    def during(self, work: Callable[[], None]) -> Stopped | None:
        """Report until ``work`` is done, which no process does; the reason why nothing may follow it, if there is one.

        Raises:
            Exception: what ``work`` raises.
        """
        doing: Future[None] = Future()
        threading.Thread(target=_settle, args=(doing, work), daemon=True).start()  # one that is left does no harm
        while not wait([doing], REPORT_SECONDS).done:
            if self._is_lost(self._report(Report())):
                return Stopped.LOST
            if self._has_to_leave():
                return Stopped.SHUTDOWN
        doing.result()
        return self.between_stages()

    def between_stages(self) -> Stopped | None:
        """Say that a stage is finished; the reason why the next one must not start, if there is one."""
        order = self._report(Report(further=True))
        if self._is_lost(order):
            return Stopped.LOST
        if order is Order.CANCEL:
            return Stopped.CANCELLED
        return Stopped.SHUTDOWN if self._has_to_leave() else None

    def _has_to_leave(self) -> bool:
        # a pool child outlives a worker that was killed; nobody would restart what it does
        return stopping.requested() or os.getppid() != self._parent

    def _is_lost(self, order: Order | None) -> bool:
        """Whether another worker has the run, or might have: nothing was heard of the database for too long."""
        return order is Order.LOST or (
            order is None and time.monotonic() - self._held > get_settings().training_lease / 2
        )

    def _report(self, news: Report) -> Order | None:
        """The answer to a report; None when the database is away for the moment."""
        try:
            with session_scope() as session:
                order = reports.report(session, self._claim, news)
        except DATABASE_AWAY as error:
            log.warning("training_report_delayed", run=self._claim.run_id, error=str(error))
            return None
        self._held = time.monotonic()
        return order


def _settle(doing: Future[None], work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whoever waits raises it
        doing.set_exception(error)
    else:
        doing.set_result(None)


def settle(claim: Claim, ended: Ended, log_tail: str) -> None:
    """Record how the run ended. If the database is away the run falls silent, and is taken over: a finished one at once."""
    if ended is Stopped.LOST:
        log.warning("training_lost", run=claim.run_id)
    elif ended == 0:
        _succeed(claim, log_tail)
    elif isinstance(ended, Failure):
        _fail(claim, ended, log_tail)
    elif ended is Stopped.CANCELLED:
        with session_scope() as session:
            endings.end_cancelled(session, claim, log_tail)
    elif ended is Stopped.STALLED:
        log.warning("training_stalled", run=claim.run_id)
        with session_scope() as session:
            endings.put_back(session, claim, log_tail, blameless=False, last_words=endings.STALLED)
    elif ended == STATUS_BUSY:
        with session_scope() as session:
            endings.put_back(session, claim, log_tail, blameless=False, last_words=endings.BUSY)
    else:
        with session_scope() as session:
            endings.put_back(session, claim, log_tail, blameless=ended is Stopped.SHUTDOWN)


def _succeed(claim: Claim, log_tail: str) -> None:
    try:
        with session_scope() as session:
            endings.succeed(session, claim, log_tail)
        moving.let_go(claim)
    except NotPromotable as refused:
        _fail(claim, _refusal(claim, refused), log_tail)
    except AppError as refused:
        _fail(claim, Failure(refused.message, STAYS), log_tail)


def _refusal(claim: Claim, refused: NotPromotable) -> Failure:
    moving.refuse(refused.made or claim.output)
    aside = set_aside(refused.made or claim.output, claim.token)
    kept = f" The refused output is kept as {aside.name}." if aside else ""
    return Failure(refused.message, STAYS + kept, refused=True)


def _fail(claim: Claim, failure: Failure, log_tail: str) -> None:
    with session_scope() as session:
        endings.fail(session, claim, failure, log_tail)
