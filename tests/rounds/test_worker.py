"""A training run from the doorbell to the rotation, and everything that can end it early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text

from app.accounts.models import User
from app.db import session_scope
from app.errors import Conflict
from app.jobs import Job
from app.main import create_app
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind, Deployment
from app.rounds import queries, runs, service
from app.rounds.models import Round, RoundState, RunKind, RunState, TrainingEvent, TrainingRun
from app.settings import ROOT, get_settings
from tests.factories import sign_in
from tests.rounds.conftest import build_snapshots, run_of, wait_until
from workers import rounds, stopping, trainer
from workers.rounds import advance_round, run_training

Messages = list[tuple[Job, int]]
Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


@pytest.fixture
def queued(bob: User, annotated: None, messages: Messages) -> TrainingRun:
    """The reward run of a training that Bob has started, due."""
    with session_scope() as session:
        service.start_training(session, bob)
    build_snapshots()
    return run_of(RunKind.REWARD)


def round_states() -> list[RoundState]:
    with session_scope() as session:
        return list(session.scalars(select(Round.state).order_by(Round.number)))


def steps_of(run_id: int) -> list[int]:
    with session_scope() as session:
        return [event.step or 0 for event in queries.events(session, run_id) if event.event == "step"]


def said(run_id: int) -> list[str]:
    with session_scope() as session:
        return [event.event for event in queries.events(session, run_id)]


def pretend_silence(run_id: int) -> None:
    """The worker last reported an hour ago."""
    with session_scope() as session:
        session.execute(
            text("UPDATE training_runs SET heartbeat_at = now() - interval '1 hour' WHERE id = :id"), {"id": run_id}
        )


# ── The way it should go ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_whole_round_ends_with_the_policy_in_rotation_and_the_next_round_collecting(
    queued: TrainingRun, fake_training: Behave, messages: Messages
) -> None:
    run_training(queued.id)
    policy_run = run_of(RunKind.DPO)
    assert (Job.RUN_TRAINING, policy_run.id) in messages
    run_training(policy_run.id)
    assert round_states() == [RoundState.COMPLETE, RoundState.COLLECTING]
    with session_scope() as session:
        reward, policy = (session.get_one(TrainingRun, run.id) for run in (queued, policy_run))
        made = session.get_one(Checkpoint, policy.checkpoint_id)
        deployed = session.scalars(select(Deployment).where(Deployment.checkpoint_id == made.id)).one()
    assert (reward.state, policy.state) == (RunState.SUCCEEDED, RunState.SUCCEEDED)
    assert made.kind is CheckpointKind.POLICY
    assert made.parent_id is not None
    assert deployed.ended_at is None
    assert policy.baseline["held_out/accuracy"] == 0.4
    assert policy.metrics["held_out/accuracy"] == 0.8
    assert (policy.step, policy.total_steps) == (6, 6)
    assert steps_of(policy.id) == [1, 2, 3, 4, 5, 6]


def test_a_policy_that_cannot_be_promoted_says_so_on_the_pages_of_its_round_and_run(
    bob: User, queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Conflict("policy-r1 is broken and cannot be served.")

    monkeypatch.setattr("app.registry.service.promote", refuse)
    run_training(queued.id)
    run_training(run_of(RunKind.DPO).id)
    assert round_states() == [RoundState.COLLECTING]
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, bob)
        for path in ("/rounds/1", f"/runs/{run_of(RunKind.DPO).id}"):
            page = client.get(path).text
            assert "not brought into the rotation. policy-r1 is broken" in page, path


def test_a_second_message_for_the_same_run_changes_nothing(queued: TrainingRun, fake_training: Behave) -> None:
    run_training(queued.id)
    before = run_of(RunKind.REWARD)
    run_training(queued.id)
    assert run_of(RunKind.REWARD).fencing_token == before.fencing_token == 1


def test_the_policy_is_not_due_before_the_reward_model(queued: TrainingRun, fake_training: Behave) -> None:
    run_training(run_of(RunKind.DPO).id)
    assert run_of(RunKind.DPO).state is RunState.QUEUED


# ── Failures say why and what to do ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        ("bad-data", "row 7 of preferences.jsonl has no prompt", "Correct what the sentence names"),
        ("nan", "loss is nan at step 4", "Nothing was saved or promoted"),
        ("disk", "no space left", "Free some space"),
        ("crash", "RuntimeError: the matrix is not square", "Read the last lines"),
        ("null-loss", "The loss of step 4 is not a finite number", "Nothing was promoted"),
        ("flip", "has changed since it was written", "Nothing was promoted"),
    ],
)
def test_a_failed_run_says_why_and_the_round_collects_again(
    queued: TrainingRun, fake_training: Behave, fault: str, error: str, remedy: str
) -> None:
    fake_training(fault)
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert error in (run.error or "")
    assert remedy in (run.remedy or "")
    assert run.checkpoint_id is None
    assert run_of(RunKind.DPO).state is RunState.CANCELLED
    assert round_states() == [RoundState.COLLECTING]
    with session_scope() as session:
        kinds = set(session.scalars(select(Checkpoint.kind)))
    assert kinds == {CheckpointKind.BASE}


def test_a_failed_run_keeps_its_last_lines_and_resumes_where_it_was_saved_when_retried(
    bob: User, queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("disk")
    run_training(queued.id)
    assert "no space left for trainer/checkpoint-4" in run_of(RunKind.REWARD).log_tail
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, queued.id))
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]


def test_what_the_gate_refused_is_trained_again_by_a_retry(
    bob: User, queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("flip")
    run_training(queued.id)
    refused = run_of(RunKind.REWARD)
    assert "Retry the run" in (refused.error or "")
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, queued.id))
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    name = f"{refused.config['run']['name']}.refused-1"
    assert name in (refused.remedy or "")
    assert (get_settings().checkpoints_dir / name / "adapter_model.safetensors").read_bytes() == b"x"


def test_a_run_whose_folder_another_process_holds_waits_its_turn(queued: TrainingRun, fake_training: Behave) -> None:
    fake_training("busy")
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.QUEUED, 1)
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED


def test_a_folder_that_cannot_be_written_fails_the_run_in_words(
    queued: TrainingRun, fake_training: Behave, data_dir: Path
) -> None:
    (data_dir / "runs").write_text("a file where a folder should be")
    try:
        run_training(queued.id)
    finally:
        (data_dir / "runs").unlink()
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert "could not be started" in (run.error or "")


# ── Cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def in_thread(run_id: int) -> threading.Thread:
    thread = threading.Thread(target=run_training, args=(run_id,))
    thread.start()
    return thread


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_cancelling_a_running_run_stops_its_process(
    bob: User, queued: TrainingRun, fake_training: Behave, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training(fault)
    monkeypatch.setattr(rounds, "REPORT_SECONDS", 0.2)
    monkeypatch.setattr(trainer.Trainer.stop, "__defaults__", (1.0,))
    thread = in_thread(queued.id)
    try:
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
        [process] = training_processes(queued.id)
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, queued.id))
    finally:
        thread.join(30)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    assert run_of(RunKind.DPO).state is RunState.CANCELLED
    assert round_states() == [RoundState.COLLECTING]
    assert not process.is_running()


@pytest.mark.parametrize("kind", RunKind)
def test_a_cancel_in_the_moment_in_which_a_run_ends_still_counts(
    bob: User, queued: TrainingRun, fake_training: Behave, kind: RunKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is RunKind.DPO:
        run_training(queued.id)
    settle = rounds.settle

    def cancel_first(claim: runs.Claim, *ended: Any) -> None:
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, claim.run_id))
        settle(claim, *ended)

    with monkeypatch.context() as late:
        late.setattr(rounds, "settle", cancel_first)
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
    monkeypatch.setattr(rounds, "REPORT_SECONDS", 0.2)
    thread = in_thread(queued.id)
    try:
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
        replace_the_base()
        advance_round()
    finally:
        thread.join(30)
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
    settle = rounds.settle

    def replace_first(*ended: Any) -> None:
        replace_the_base()
        settle(*ended)

    monkeypatch.setattr(rounds, "settle", replace_first)
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
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
    finally:
        asked.set()
        thread.join(30)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.QUEUED, 0)
    assert round_states() == [RoundState.TRAINING]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A silence of a second counts as hanging, from the third step on: a busy machine starts slowly."""
    spoke = trainer.Trainer.spoke
    monkeypatch.setattr(trainer.Trainer, "spoke", lambda self: spoke(self) or run_of(RunKind.REWARD).step < 3)
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
    monkeypatch.setattr(runs, "MAX_ATTEMPTS", 1)
    fake_training("hang")
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert "said nothing" in (run.error or "")
    assert "CORRAL_TRAINING_STALL" in (run.remedy or "")
    assert round_states() == [RoundState.COLLECTING]


# ── Kill ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def training_processes(run_id: int) -> list[psutil.Process]:
    """The stand-ins that run for ``run_id``."""
    folder = str(get_settings().runs_dir / f"run-{run_id}")
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "tests.rounds.fake_training" in command and any(folder in part for part in command):
            found.append(process)
    return found


def test_killing_the_worker_ends_its_training_and_the_next_worker_resumes_it(
    queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("hang")
    worker = subprocess.Popen([sys.executable, "-m", "tests.rounds.worker_process", str(queued.id)], cwd=ROOT)
    try:
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
        [orphan] = training_processes(queued.id)
    finally:
        worker.kill()
        worker.wait(10)
    wait_until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, "the orphan to end")
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
        return lambda: said(queued.id).count("resumed") == times

    fake_training("hang")
    # the second start resumes the three steps that the first one saved; after it nothing gets any further
    for resumed, attempt in enumerate((1, *range(1, runs.MAX_ATTEMPTS + 1))):
        thread = in_thread(queued.id)
        wait_until(lambda: bool(training_processes(queued.id)), "the process")
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
        wait_until(went_on(resumed), "it to go on")
        [process] = training_processes(queued.id)
        os.kill(process.pid, signal.SIGKILL)
        thread.join(30)
        run = run_of(RunKind.REWARD)
        assert run.attempts == attempt
        assert run.state is (RunState.QUEUED if attempt < runs.MAX_ATTEMPTS else RunState.FAILED)
    assert "without getting any further" in (run.error or "")
    assert "memory" in (run.error or "")
    assert round_states() == [RoundState.COLLECTING]


def test_a_long_run_that_is_preempted_again_and_again_but_gets_on_is_never_given_up(
    queued: TrainingRun, messages: Messages
) -> None:
    now = datetime.now(UTC)
    events: list[runs.Event] = []
    for step in range(10, 10 + 3 * runs.MAX_ATTEMPTS, 3):
        with session_scope() as session:
            claim = runs.claim(session, queued.id)
            assert claim is not None, f"given up before step {step}"
            events.append(runs.Event(len(events), "resumed", now, step, {}))
            runs.report(session, claim, runs.Report(events))
            runs.put_back(session, claim, "", blameless=False)
    run = run_of(RunKind.REWARD)
    assert (run.state, run.attempts) == (RunState.QUEUED, 1)


def test_a_training_sees_one_gpu_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert trainer.environment({"base_model": "somebody/model"})["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert trainer.environment({"base_model": "somebody/model"})["CUDA_VISIBLE_DEVICES"] == "1,2"


def test_a_worker_that_lost_its_run_kills_its_process_and_writes_nothing(
    queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training("hang")
    monkeypatch.setattr(rounds, "REPORT_SECONDS", 0.2)
    thread = in_thread(queued.id)
    try:
        wait_until(lambda: run_of(RunKind.REWARD).step == 3, "three steps")
        pretend_silence(queued.id)
        with session_scope() as session:
            # its own next report may come first and prove that it lives; then there is nothing to take over
            session.execute(
                text("UPDATE training_runs SET state = 'queued', fencing_token = fencing_token + 1 WHERE id = :id"),
                {"id": queued.id},
            )
    finally:
        thread.join(30)
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
        dying.setattr(rounds, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.RUNNING
    pretend_silence(queued.id)
    advance_round()
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]
