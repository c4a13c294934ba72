"""A training run from the doorbell to the rotation, and what a failed one says; what ends it early is in ``test_worker_ends``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from app.accounts.models import User
from app.candidates import service as ledger
from app.comparisons.models import Assignment, AssignmentState
from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops.models import RoundState
from app.preferences import service as preferences
from app.preferences.forms import ExportFilter
from app.prompts.models import Prompt, PromptState
from app.registry.models import Checkpoint, CheckpointKind, Deployment
from app.rounds import claims, service
from app.rounds.models import RunKind, RunState, TrainingRun
from app.site.main import create_app
from tests.factories import make_assignment, make_batch, make_prompt, sign_in
from tests.rounds.conftest import check, pretend_silence, round_states, run_of, steps_of, train
from workers.tasks import rounds, sweeper
from workers.tasks.rounds import run_training

Messages = list[tuple[Job, int]]
Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


# ── The way it should go ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_whole_round_leads_to_a_policy_that_challenges_and_the_next_round_collecting(
    queued: TrainingRun, fake_training: Behave, messages: Messages
) -> None:
    run_training(queued.id)
    policy_run = run_of(RunKind.DPO)
    assert (Job.RUN_TRAINING, policy_run.id) in messages
    run_training(policy_run.id)
    check()
    assert round_states() == [RoundState.CHALLENGING, RoundState.COLLECTING]
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

    monkeypatch.setattr("app.rounds.contests.open_gate", refuse)
    train()
    check()
    assert round_states() == [RoundState.COLLECTING]
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, bob)
        for path in ("/rounds/1", f"/runs/{run_of(RunKind.CHECK).id}"):
            page = client.get(path).text
            assert "could not be added to the rotation. policy-r1 is broken" in page, path


def test_a_second_message_for_the_same_run_changes_nothing(queued: TrainingRun, fake_training: Behave) -> None:
    run_training(queued.id)
    before = run_of(RunKind.REWARD)
    run_training(queued.id)
    assert run_of(RunKind.REWARD).fencing_token == before.fencing_token == 1


def test_the_policy_is_not_due_before_the_reward_model(queued: TrainingRun, fake_training: Behave) -> None:
    run_training(run_of(RunKind.DPO).id)
    assert run_of(RunKind.DPO).state is RunState.QUEUED


def test_the_night_starts_what_is_due(annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds.nightly()
    assert round_states() == [RoundState.COLLECTING], "twelve annotations are fewer than fifty"
    with monkeypatch.context() as changed:
        changed.setenv("CORRAL_NIGHTLY_MIN_ANNOTATIONS", "5")
        get_settings.cache_clear()
        rounds.nightly()
    get_settings.cache_clear()
    assert round_states() == [RoundState.TRAINING]
    assert (run_of(RunKind.REWARD).state, run_of(RunKind.REWARD).created_by_id) == (RunState.QUEUED, None)


def test_one_sweep_takes_back_everything_that_was_left_lying(
    bob: User, alice: User, queued: TrainingRun, messages: Messages
) -> None:
    with session_scope() as session:
        prompt = make_prompt(session, make_batch(session))
        assert prompt.id in {claim.prompt_id for claim in ledger.claim_prompts(session, 100)}
        held = make_assignment(session, alice)
        waiting = preferences.request_snapshot(session, bob, ExportFilter(rounds=(1,)))
        claims.claim(session, queued.id)
        for table in ("prompts", "assignments"):
            session.execute(text(f"UPDATE {table} SET lease_until = lease_until - interval '1 day'"))
    pretend_silence(queued.id)
    messages.clear()
    sweeper.sweep()
    with session_scope() as session:
        assert session.get_one(Prompt, prompt.id).state is PromptState.PENDING
        assert session.get_one(Assignment, held.id).state is not AssignmentState.ACTIVE
        assert session.get_one(TrainingRun, queued.id).state is RunState.QUEUED
    assert (Job.BUILD_SNAPSHOT, waiting.id) in messages


# ── Failures say why and what to do ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        ("bad-data", "row 7 of preferences.jsonl has no prompt", "Fix what the message above names"),
        ("nan", "loss is nan at step 4", "Nothing was saved or promoted"),
        ("disk", "no space left", "Free some space"),
        ("crash", "RuntimeError: the matrix is not square", "Read the last lines"),
        ("null-loss", "The loss of step 4 is not a finite number", "Nothing was promoted"),
        ("flip", "has changed since it was written", "Nothing was promoted"),
        ("reversed", "right on at most 30.4% of the pairs", "Nothing was promoted"),
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


def test_a_reward_model_that_lost_on_few_prompts_may_be_right_and_a_policy_is_judged_by_people(
    queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("unsure")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    fake_training("reversed")
    run_training(run_of(RunKind.DPO).id)
    assert run_of(RunKind.DPO).state is RunState.SUCCEEDED


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
    assert "“reward” could not be started" in (run.error or "")
