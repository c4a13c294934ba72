"""When a training may start, what it then consists of, and how a round moves along."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from app.accounts.models import User
from app.annotations.models import Annotation, Outcome
from app.db import session_scope
from app.errors import Conflict
from app.jobs import Job
from app.preferences import service as preferences
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.rounds import service
from app.rounds.models import Round, RoundState, RunKind, RunState, TrainingRun
from app.settings import get_settings
from tests.factories import current_round, make_annotation, make_comparison, make_deployment
from tests.rounds.conftest import annotate, build_snapshots, run_of

Messages = list[tuple[Job, int]]


def start(user: User | None) -> list[TrainingRun]:
    with session_scope() as session:
        return service.start_training(session, user)


def round_state() -> RoundState:
    with session_scope() as session:
        return session.scalars(select(Round.state).order_by(Round.number.desc())).first() or RoundState.COMPLETE


def test_bob_starts_a_training_and_it_is_a_snapshot_a_reward_model_and_a_policy(
    bob: User, annotated: None, messages: Messages
) -> None:
    reward, policy = start(bob)
    assert (reward.kind, policy.kind) == (RunKind.REWARD, RunKind.DPO)
    assert policy.after_run_id == reward.id
    assert policy.snapshot_id == reward.snapshot_id
    assert round_state() is RoundState.TRAINING
    assert messages == [(Job.BUILD_SNAPSHOT, reward.snapshot_id)]


def test_nothing_runs_before_its_snapshot_is_ready_and_the_policy_waits_for_the_reward_model(
    bob: User, annotated: None, messages: Messages
) -> None:
    reward, _ = start(bob)
    messages.clear()
    with session_scope() as session:
        service.advance(session)
    assert messages == [(Job.BUILD_SNAPSHOT, reward.snapshot_id)]
    messages.clear()
    build_snapshots()
    assert messages == [(Job.RUN_TRAINING, reward.id)]


def test_ringing_for_a_snapshot_does_not_keep_the_builder_from_it(
    bob: User, annotated: None, messages: Messages
) -> None:
    reward, _ = start(bob)
    with session_scope() as ringing:
        preferences.ring_for_unfinished(ringing)
        with session_scope() as building:
            assert preferences.claim_snapshot(building, reward.snapshot_id) is not None


def test_without_annotations_the_refusal_says_so(bob: User, messages: Messages) -> None:
    with session_scope() as session:
        service.ensure_first_round(session)
        make_deployment(session)
    with pytest.raises(Conflict, match="no annotations yet"):
        start(bob)


def test_too_few_pairs_are_refused_with_how_many_there_are_and_are_needed(
    bob: User, alice: User, messages: Messages
) -> None:
    annotate(alice, 3)
    with session_scope() as session:
        make_annotation(session, alice, make_comparison(session), outcome=Outcome.TIE)
    with pytest.raises(Conflict, match="There are 3 pairs to train on, and 8 are needed"):
        start(bob)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [("llama3", r"CORRAL_TRAINING_RECIPE\) .* rank 64, .*CORRAL_MAX_LORA_RANK"), ("lama3", "one of: laptop, llama3")],
)
def test_a_recipe_whose_policy_could_not_be_served_is_refused_before_it_trains(
    bob: User, annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch, recipe: str, says: str
) -> None:
    with monkeypatch.context() as other:
        other.setenv("CORRAL_TRAINING_RECIPE", recipe)
        get_settings.cache_clear()
        with pytest.raises(Conflict, match=says):
            start(bob)
        other.setenv("CORRAL_MAX_LORA_RANK", "64")
        other.setenv("CORRAL_TRAINING_RECIPE", "llama3")
        get_settings.cache_clear()
        assert len(start(bob)) == 2
    get_settings.cache_clear()


def test_a_second_start_is_refused_while_one_is_under_way(bob: User, annotated: None, messages: Messages) -> None:
    start(bob)
    with pytest.raises(Conflict, match="Round 1 is training already"):
        start(bob)


def test_two_nightly_starts_at_once_make_one_training(
    annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_NIGHTLY_MIN_ANNOTATIONS", "5")
    get_settings.cache_clear()
    barrier = threading.Barrier(2)
    started: list[int] = []

    def nightly() -> None:
        with session_scope() as session:
            session.execute(select(1))
            barrier.wait(10)
            started.append(len(service.start_nightly(session)))

    threads = [threading.Thread(target=nightly) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
    assert sorted(started) == [0, 2]
    with session_scope() as session:
        assert session.scalar(select(func.count()).select_from(TrainingRun)) == 2


def test_the_nightly_start_leaves_while_there_is_little_new(annotated: None, messages: Messages) -> None:
    with session_scope() as session:
        assert service.start_nightly(session) == []


def test_a_snapshot_that_cannot_be_built_fails_the_runs_with_its_reason_and_the_round_collects_again(
    bob: User, annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bob)
    monkeypatch.setattr("app.preferences.freeze.RESERVE_BYTES", 1 << 60)
    build_snapshots()
    reward, policy = run_of(RunKind.REWARD), run_of(RunKind.DPO)
    assert reward.state is RunState.FAILED
    assert "MB free" in (reward.error or "")
    assert policy.state in {RunState.FAILED, RunState.CANCELLED}
    assert round_state() is RoundState.COLLECTING
    with pytest.raises(Conflict, match="Start a new training"), session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, reward.id))


def test_cancelling_a_queued_run_cancels_what_waits_for_it(bob: User, annotated: None, messages: Messages) -> None:
    reward, policy = start(bob)
    with session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, reward.id))
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    assert run_of(RunKind.DPO).state is RunState.CANCELLED
    assert round_state() is RoundState.COLLECTING
    with pytest.raises(Conflict, match="has ended already"), session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, policy.id))


def test_a_cancelled_chain_can_be_retried_whole(bob: User, annotated: None, messages: Messages) -> None:
    reward, _ = start(bob)
    build_snapshots()
    with session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, reward.id))
    messages.clear()
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, reward.id))
    assert run_of(RunKind.REWARD).state is RunState.QUEUED
    assert run_of(RunKind.DPO).state is RunState.QUEUED
    assert round_state() is RoundState.TRAINING
    assert messages == [(Job.RUN_TRAINING, reward.id)]


def test_a_round_with_many_pairs_trains_its_policy_on_its_own_batches(
    bob: User, alice: User, annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_scope() as session:
        first = current_round(session)
        first.state, first.completed_at = RoundState.COMPLETE, func.now()
        session.flush()
        session.add(Round(number=2))
    annotate(alice, 12, held_out=0, first=50)
    monkeypatch.setenv("CORRAL_ROUND_MIN_PAIRS", "12")
    get_settings.cache_clear()
    reward, policy = start(bob)
    build_snapshots()
    monkeypatch.undo()
    get_settings.cache_clear()
    with session_scope() as session:
        everything, latest = (session.get_one(Snapshot, run.snapshot_id) for run in (reward, policy))
    assert (everything.rows, latest.rows) == (24, 12)
    assert latest.filter["rounds"] == [2]
    assert policy.config["scope"] == "batches of round 2"


def test_a_round_with_few_pairs_trains_its_policy_on_all_and_says_so(
    bob: User, alice: User, annotated: None, messages: Messages
) -> None:
    with session_scope() as session:
        first = current_round(session)
        first.state, first.completed_at = RoundState.COMPLETE, func.now()
        session.flush()
        session.add(Round(number=2))
    annotate(alice, 3, held_out=0, first=50)
    reward, policy = start(bob)
    assert policy.snapshot_id == reward.snapshot_id
    assert policy.config["scope"] == "all rounds: round 2 has 3 pairs of its own"


def test_a_snapshot_names_exactly_the_annotations_that_are_in_it(
    bob: User, alice: User, annotated: None, messages: Messages
) -> None:
    start(bob)
    with session_scope() as session:
        before = set(session.scalars(select(Annotation.id)))
    annotate(alice, 2, first=60)
    build_snapshots()
    with session_scope() as session:
        snapshot = session.scalars(select(Snapshot)).one()
        held = set(session.scalars(select(SnapshotAnnotation.annotation_id)))
    assert snapshot.state is SnapshotState.READY
    assert held == before
    assert (snapshot.train_rows, snapshot.held_out_rows) == (10, 2)
