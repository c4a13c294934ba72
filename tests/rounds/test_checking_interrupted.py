"""What goes wrong while a round is checked: killed workers, two advances at once, cancels, files that are gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import psutil
import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import ROOT, get_settings
from app.loops.models import RoundState
from app.registry import service as registry
from app.rounds import plan, service
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.patience import PATIENCE, eventually
from tests.rounds.checked import (
    champion,
    contests,
    evaluations,
    folder_made_by,
    only_round,
)
from tests.rounds.conftest import (
    check,
    in_thread,
    pretend_silence,
    round_states,
    run_of,
    training_processes,
)
from workers.tasks.rounds import advance_round, run_training
from workers.training import stages

Messages = list[tuple[Job, int]]
Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


def test_a_worker_killed_while_it_checks_is_resumed_where_it_was_and_gives_one_verdict(
    trained: TrainingRun, find: Behave
) -> None:
    find("hang-policy")
    worker = subprocess.Popen([sys.executable, "-m", "tests.rounds.worker_process", str(trained.id)], cwd=ROOT)
    try:
        reward_report = get_settings().runs_dir / f"run-{trained.id}" / plan.REWARD_REPORT
        eventually(
            lambda: reward_report.exists() and run_of(RunKind.CHECK).step == 2, PATIENCE, "the policy's second step"
        )
        [orphan] = training_processes(trained.id)
    finally:
        worker.kill()
        worker.wait(PATIENCE)
    eventually(
        lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, PATIENCE, "the orphan to end"
    )
    assert round_states() == [RoundState.CHECKING]
    written = reward_report.stat().st_mtime_ns
    pretend_silence(trained.id)
    advance_round()
    find("")
    check()
    assert reward_report.stat().st_mtime_ns == written, "what was measured is not measured again"
    assert len(evaluations()) == 2
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])


def test_two_advances_at_once_begin_one_check_and_draw_one_conclusion(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        barrier = threading.Barrier(2)

        def advance() -> None:
            with session_scope() as session:
                session.execute(select(1))
                barrier.wait(PATIENCE)
                service.advance(session)

        threads = [threading.Thread(target=advance) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

    with monkeypatch.context() as unrung:
        unrung.setattr("workers.tasks.rounds.advance_round", lambda: None)
        run_training(queued.id)
        run_training(run_of(RunKind.DPO).id)
        twice()
        with session_scope() as session:
            checks = session.scalars(select(TrainingRun.id).where(TrainingRun.kind == RunKind.CHECK)).all()
        assert len(checks) == 1
        run_training(checks[0])
        twice()
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])
    advance_round()
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])


def test_a_cancelled_check_is_no_verdict_and_can_be_retried(bob: User, trained: TrainingRun, find: Behave) -> None:
    find("hang-reward")
    thread = in_thread(trained.id)
    try:
        eventually(lambda: run_of(RunKind.CHECK).step == 2, PATIENCE, "two steps")
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, trained.id))
    finally:
        thread.join(PATIENCE)
    assert training_processes(trained.id) == []
    assert run_of(RunKind.CHECK).state is RunState.CANCELLED
    assert (round_states(), only_round().verdict, contests()) == ([RoundState.COLLECTING], None, 0)
    find("")
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, trained.id))
    assert round_states() == [RoundState.CHECKING], "what was trained is not trained again"
    check()
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])


def test_a_cancel_in_the_moment_in_which_a_check_ends_still_counts(
    bob: User, trained: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = stages.settle

    def cancel_first(*ended: object) -> None:
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, trained.id))
        settle(*ended)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "settle", cancel_first)
    check()
    assert (evaluations(), round_states()) == ([], [RoundState.COLLECTING])


@pytest.mark.parametrize("kind", [RunKind.REWARD, RunKind.DPO])
def test_a_checkpoint_that_is_gone_ends_the_check_with_what_to_do_and_no_verdict(
    bob: User, trained: TrainingRun, kind: RunKind
) -> None:
    folder, aside = folder_made_by(kind), folder_made_by(kind).with_suffix(".aside")
    shutil.move(folder, aside)
    check()
    run = run_of(RunKind.CHECK)
    assert run.state is RunState.FAILED
    assert folder.name in (run.error or "")
    assert "Restore" in (run.remedy or "")
    assert (round_states(), only_round().verdict, contests()) == ([RoundState.COLLECTING], None, 0)
    shutil.move(aside, folder)
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run.id))
    check()
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])


def test_another_base_model_ends_the_check(trained: TrainingRun) -> None:
    with session_scope() as session:
        registry.ensure_base(session, "somebody/another-model")
    advance_round()
    assert run_of(RunKind.CHECK).state is RunState.FAILED
    assert "base model was replaced" in (run_of(RunKind.CHECK).error or "")
    assert (round_states(), contests()) == ([RoundState.COLLECTING], 0)


def test_a_check_that_crashes_fails_with_its_last_words(trained: TrainingRun, find: Behave) -> None:
    find("crash")
    check()
    run = run_of(RunKind.CHECK)
    assert "the scale is broken" in (run.error or "")
    assert "what was trained is kept" in (run.remedy or "")
    assert round_states() == [RoundState.COLLECTING]


def test_a_measurement_killed_from_outside_is_started_again(trained: TrainingRun, find: Behave) -> None:
    find("hang-reward")
    thread = in_thread(trained.id)
    eventually(lambda: run_of(RunKind.CHECK).step == 2, PATIENCE, "two steps")
    [process] = training_processes(trained.id)
    os.kill(process.pid, signal.SIGKILL)
    thread.join(PATIENCE)
    assert run_of(RunKind.CHECK).state is RunState.QUEUED
    find("")
    check()
    assert (contests(), round_states()) == (1, [RoundState.CHALLENGING, RoundState.COLLECTING])


def test_a_champion_whose_files_are_gone_ends_the_check_with_what_to_do_and_no_verdict(
    bob: User, second: Callable[[str], list[RoundState]]
) -> None:
    folder = folder_made_by(RunKind.DPO)
    assert champion() == folder.name
    aside = folder.with_suffix(".aside")
    shutil.move(folder, aside)
    assert second("") == [RoundState.COMPLETE, RoundState.COLLECTING]
    run = run_of(RunKind.CHECK)
    assert (run.state, folder.name in (run.error or "")) == (RunState.FAILED, True)
    assert "Restore" in (run.remedy or "")
    assert contests() == 1, "the one by which it became champion"
    assert champion() == folder.name
    shutil.move(aside, folder)
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run.id))
    check()
    assert round_states() == [RoundState.COMPLETE, RoundState.CHALLENGING, RoundState.COLLECTING]
