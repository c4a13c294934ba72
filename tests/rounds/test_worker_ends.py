"""Everything that can end a training run early: a cancel, another base model, a hang, a shutdown, a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select, text

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.kernel.jobs import Job
from app.kernel.settings import ROOT, get_settings
from app.loops.models import RoundState
from app.registry import service as registry
from app.rounds import claims, endings, reports, service
from app.rounds.models import RunKind, RunState, TrainingEvent, TrainingRun
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import (
    in_thread,
    pretend_silence,
    round_states,
    run_of,
    said,
    steps_of,
    training_processes,
)
from workers import stopping
from workers.tasks.rounds import advance_round, run_training
from workers.training import stages
from workers.training.process import StageProcess, environment

Messages = list[tuple[Job, int]]
Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


# ── Cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_cancelling_a_running_run_stops_its_process(
    bob: User, queued: TrainingRun, fake_training: Behave, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training(fault)
    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    monkeypatch.setattr(StageProcess.stop, "__defaults__", (1.0,))
    thread = in_thread(queued.id)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        [process] = training_processes(queued.id)
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, queued.id))
    finally:
        thread.join(PATIENCE)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    assert run_of(RunKind.DPO).state is RunState.CANCELLED
    assert round_states() == [RoundState.COLLECTING]
    assert not process.is_running()


@pytest.mark.parametrize("kind", [RunKind.REWARD, RunKind.DPO])
def test_a_cancel_in_the_moment_in_which_a_run_ends_still_counts(
    bob: User, queued: TrainingRun, fake_training: Behave, kind: RunKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is RunKind.DPO:
        run_training(queued.id)
    settle = stages.settle

    def cancel_first(claim: claims.Claim, *ended: Any) -> None:
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, claim.run_id))
        settle(claim, *ended)

    with monkeypatch.context() as late:
        late.setattr(stages, "settle", cancel_first)
        run_training(run_of(kind).id)
    run = run_of(kind)
    assert (run.state, run.checkpoint_id) == (RunState.CANCELLED, None)
    assert run_of(RunKind.DPO).state is RunState.CANCELLED
    assert round_states() == [RoundState.COLLECTING]
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run.id))
    run_training(run.id)
    assert run_of(kind).state is RunState.SUCCEEDED, "what was saved stays"


def replace_the_base() -> None:
    with session_scope() as session:
        registry.ensure_base(session, "somebody/another-model")


def test_another_base_model_ends_what_was_being_trained_on_the_old_one(
    bob: User, queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training("hang")
    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    thread = in_thread(queued.id)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        replace_the_base()
        advance_round()
    finally:
        thread.join(PATIENCE)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    policy = run_of(RunKind.DPO)
    assert policy.state is RunState.FAILED
    assert "base model was replaced" in (policy.error or "")
    assert round_states() == [RoundState.COLLECTING]
    with pytest.raises(Conflict, match="base model was replaced"), session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, queued.id))


def test_the_gate_refuses_what_was_trained_on_another_base(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = stages.settle

    def replace_first(*ended: Any) -> None:
        replace_the_base()
        settle(*ended)

    monkeypatch.setattr(stages, "settle", replace_first)
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert "base model was replaced" in (run.error or "")


def test_a_worker_that_shuts_down_puts_its_run_back_without_blame(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training("hang")
    asked = threading.Event()
    monkeypatch.setattr(stopping, "requested", asked.is_set)
    thread = in_thread(queued.id)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
    finally:
        asked.set()
        thread.join(PATIENCE)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.QUEUED, 0)
    assert round_states() == [RoundState.TRAINING]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A silence of a second counts as hanging, from the third step on: a busy machine starts slowly."""
    spoke = StageProcess.spoke
    monkeypatch.setattr(StageProcess, "spoke", lambda self: spoke(self) or run_of(RunKind.REWARD).step < 3)
    monkeypatch.setenv("CORRAL_TRAINING_STALL", "1")
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_a_training_that_hangs_is_ended_and_resumed_where_it_was_saved(
    queued: TrainingRun, fake_training: Behave, impatient: None
) -> None:
    fake_training("hang")
    run_training(queued.id)
    assert training_processes(queued.id) == []
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts, run.step) == (RunState.QUEUED, 1, 3)
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]


def test_a_training_that_hangs_again_and_again_is_given_up_with_a_reason_of_its_own(
    queued: TrainingRun, fake_training: Behave, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "MAX_ATTEMPTS", 1)
    fake_training("hang")
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert "printed nothing" in (run.error or "")
    assert "CORRAL_TRAINING_STALL" in (run.remedy or "")
    assert round_states() == [RoundState.COLLECTING]


# ── Kill ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_killing_the_worker_ends_its_training_and_the_next_worker_resumes_it(
    queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("hang")
    worker = subprocess.Popen([sys.executable, "-m", "tests.rounds.worker_process", str(queued.id)], cwd=ROOT)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        [orphan] = training_processes(queued.id)
    finally:
        worker.kill()
        worker.wait(PATIENCE)
    eventually(
        lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, PATIENCE, "the orphan to end"
    )
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.RUNNING, "nobody may take a run over before its lease is out"
    pretend_silence(queued.id)
    advance_round()
    fake_training("")
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 1), "it got further, so it begins to count anew"
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]
    assert said(queued.id).count("resumed") == 1


def test_a_training_process_killed_from_outside_is_resumed_and_given_up_after_five_times(
    queued: TrainingRun, fake_training: Behave
) -> None:
    def went_on(times: int) -> Callable[[], bool]:
        def look() -> bool:
            run = run_of(RunKind.REWARD)
            assert run.state is not RunState.FAILED, run.error
            return said(queued.id).count("resumed") == times

        return look

    fake_training("hang")
    # the second start resumes the three steps that the first one saved; after it nothing gets any further
    for resumed, attempt in enumerate((1, *range(1, endings.MAX_ATTEMPTS + 1))):
        thread = in_thread(queued.id)
        eventually(lambda: bool(training_processes(queued.id)), PATIENCE, "the process")
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        eventually(went_on(resumed), PATIENCE, "it to go on")
        [process] = training_processes(queued.id)
        os.kill(process.pid, signal.SIGKILL)
        thread.join(PATIENCE)
        run = run_of(RunKind.REWARD)
        assert run.attempts == attempt
        assert run.state is (RunState.QUEUED if attempt < endings.MAX_ATTEMPTS else RunState.FAILED)
    assert "without making progress" in (run.error or "")
    assert "memory" in (run.error or "")
    assert round_states() == [RoundState.COLLECTING]


def test_a_long_run_that_is_preempted_again_and_again_but_gets_on_is_never_given_up(
    queued: TrainingRun, messages: Messages
) -> None:
    now = datetime.now(UTC)
    events: list[reports.Event] = []
    for step in range(10, 10 + 3 * endings.MAX_ATTEMPTS, 3):
        with session_scope() as session:
            claim = claims.claim(session, queued.id)
            assert claim is not None, f"given up before step {step}"
            events.append(reports.Event(len(events), "resumed", now, step, {}))
            reports.report(session, claim, reports.Report(events))
            endings.put_back(session, claim, "", blameless=False)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.QUEUED, 1)


def test_a_training_sees_one_gpu_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment({"base_model": "somebody/model"})["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert environment({"base_model": "somebody/model"})["CUDA_VISIBLE_DEVICES"] == "1,2"


def test_a_training_sees_no_secret_and_knows_where_checks_may_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_ENGINE_KEY", "secret")
    monkeypatch.setenv("CORRAL_SANDBOX", "service")
    seen = environment({"base_model": "somebody/model"})
    assert {name: seen[name] for name in seen if name.startswith("CORRAL_")} == {"CORRAL_SANDBOX": "service"}


def test_a_worker_that_lost_its_run_kills_its_process_and_writes_nothing(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training("hang")
    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    thread = in_thread(queued.id)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        pretend_silence(queued.id)
        with session_scope() as session:
            # its own next report may come first and prove that it lives; then there is nothing to take over
            session.execute(
                text("UPDATE training_runs SET state = 'queued', fencing_token = fencing_token + 1 WHERE id = :id"),
                {"id": queued.id},
            )
    finally:
        thread.join(PATIENCE)
    assert training_processes(queued.id) == []
    run = run_of(RunKind.REWARD)
    assert (run.state, run.fencing_token) == (RunState.QUEUED, 2)
    with session_scope() as session:
        assert session.scalar(select(func.count()).select_from(TrainingEvent)) == 5


def test_a_finished_output_of_a_worker_that_died_before_saying_so_is_taken_as_it_is(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(stages, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.RUNNING
    pretend_silence(queued.id)
    advance_round()
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]
