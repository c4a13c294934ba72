"""When a training may start, what it then consists of, and how a round moves along."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select, update

from app.accounts.models import User
from app.annotations.models import Annotation
from app.judgements.vocabulary import Outcome
from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops import service as loops
from app.loops.models import Round, RoundState, Verdict
from app.preferences import service as preferences
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from app.prompts.models import Batch
from app.registry.models import Checkpoint, CheckpointKind, External
from app.rounds import claims, endings, recent, service
from app.rounds.endings import Failure
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.readiness import Readiness, readiness
from tests.factories import (
    complete_round,
    current_round,
    make_annotation,
    make_comparison,
    make_deployment,
)
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


def test_a_training_names_the_external_models_it_may_not_learn_from(bob: User, annotated: None) -> None:
    with session_scope() as session:
        for name, may_train in (("teacher", True), ("rival", False), ("another", False)):
            made = Checkpoint(name=name, kind=CheckpointKind.EXTERNAL, path="rival")
            made.external = External(endpoint="rival", model=name, may_train=may_train)
            session.add(made)

    assert [run.config["run"]["data"]["leave_out"] for run in start(bob)] == [["another", "rival"]] * 2


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
        loops.ensure_first_round(session)
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
    with pytest.raises(Conflict, match="Round 1 is already training"):
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
    with pytest.raises(Conflict, match="has already ended"), session_scope() as session:
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


def test_a_policy_learns_from_all_rounds_and_its_run_says_after_which_judgement_the_newest_begins(
    bob: User, alice: User, annotated: None, messages: Messages
) -> None:
    with session_scope() as session:
        complete_round(session, current_round(session))
        known = session.scalars(select(func.max(Annotation.id))).one()
    annotate(alice, 3, held_out=0, first=50)
    reward, policy = start(bob)
    build_snapshots()
    with session_scope() as session:
        rows = session.get_one(Snapshot, policy.snapshot_id).rows
    assert (policy.snapshot_id, rows) == (reward.snapshot_id, 15)
    assert policy.config["scope"] == "all rounds"
    assert policy.config["run"]["data"]["newest_after"] == known
    assert "newest_after" not in reward.config["run"]["data"]


def test_in_a_first_training_everything_is_new(bob: User, annotated: None, messages: Messages) -> None:
    _, policy = start(bob)
    assert policy.config["run"]["data"]["newest_after"] == 0


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


# ── What is of this round ────────────────────────────────────────────────────────────────────────────────────────────
def ready() -> Readiness:
    with session_scope() as session:
        return readiness(session, current_round(session))


@pytest.mark.parametrize("verdict", [Verdict.PROMOTED, Verdict.REFUSED])
def test_what_a_round_was_trained_on_is_of_no_later_one_whatever_its_verdict(
    alice: User, annotated: None, messages: Messages, verdict: Verdict
) -> None:
    with session_scope() as session:
        complete_round(session, current_round(session), verdict=verdict)
    assert "no new annotations" in (ready().blocked or "")
    annotate(alice, 3, held_out=0, first=50)
    assert (ready().new_annotations, ready().blocked) == (3, None)


def test_what_a_failed_training_was_to_learn_is_still_new(
    bob: User, alice: User, annotated: None, messages: Messages
) -> None:
    reward, _ = start(bob)
    build_snapshots()
    with session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, reward.id))
    assert ready().new_annotations == 12


def test_without_what_was_taken_back_a_training_is_another_one(
    alice: User, annotated: None, messages: Messages
) -> None:
    with session_scope() as session:
        old = session.scalars(select(Annotation).order_by(Annotation.id)).first()
        assert old is not None
        complete_round(session, current_round(session))
        session.execute(update(Annotation).where(Annotation.id == old.id).values(withdrawn_at=func.now()))
    found = ready()
    assert (found.new_annotations, found.taken_back, found.blocked) == (0, 1, None)


def test_annotations_are_counted_in_the_round_in_which_they_were_judged(
    alice: User, annotated: None, messages: Messages
) -> None:
    with session_scope() as session:
        second = complete_round(session, current_round(session))
        old_batch = make_comparison(session, batch=session.scalars(select(Batch)).first())
        make_annotation(session, alice, old_batch)
        complete_round(session, second)
    annotate(alice, 2, held_out=0, first=50)
    with session_scope() as session:
        assert recent.by_round(session) == {1: (12, 0), 2: (1, 0), 3: (2, 0)}


def test_the_night_does_not_repeat_what_a_gate_refused_until_something_new_is_judged(
    bob: User, alice: User, annotated: None, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward, _ = start(bob)
    build_snapshots()
    with session_scope() as session:
        claim = claims.claim(session, reward.id)
        assert claim is not None
        endings.fail(session, claim, Failure("It has learnt the opposite.", "Retrain.", refused=True), "")
        service.advance(session)
    monkeypatch.setenv("CORRAL_NIGHTLY_MIN_ANNOTATIONS", "5")
    get_settings.cache_clear()
    try:
        with session_scope() as session:
            assert service.start_nightly(session) == []
        annotate(alice, 1, held_out=0, first=50)
        with session_scope() as session:
            assert service.start_nightly(session)
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
