"""Between training and contest: what is measured, what refuses a policy, and which of two candidates challenges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.accounts.models import Role, User
from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState, Verdict
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import service
from app.rounds.models import Contest, InputRole, RunInput, RunKind, RunState, TrainingRun
from app.site.main import create_app
from tests.factories import make_user, sign_in
from tests.rounds.checked import (
    challenger,
    champion,
    contests,
    evaluations,
    findings,
    only_round,
)
from tests.rounds.conftest import (
    annotate,
    build_snapshots,
    check,
    next_round,
    round_states,
    run_of,
    train,
)

Messages = list[tuple[Job, int]]
Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


# ── The way it should go ─────────────────────────────────────────────────────────────────────────────────────────────
def test_what_was_trained_is_checked_before_it_challenges_the_champion(
    trained: TrainingRun, messages: Messages
) -> None:
    assert round_states() == [RoundState.CHECKING]
    assert (trained.state, trained.after_run_id) == (RunState.QUEUED, run_of(RunKind.DPO).id)
    assert (Job.RUN_TRAINING, trained.id) in messages
    assert contests() == 0
    check()
    assert round_states() == [RoundState.CHALLENGING, RoundState.COLLECTING]
    assert only_round().verdict is None
    with session_scope() as session:
        contest = session.scalars(select(Contest)).one()
        assert contest.challenger_id == run_of(RunKind.DPO).checkpoint_id
    run = run_of(RunKind.CHECK)
    assert (run.state, run.checkpoint_id, run.step, run.total_steps) == (RunState.SUCCEEDED, None, 4, 4)


def test_each_measurement_says_of_what_and_against_what(trained: TrainingRun) -> None:
    check()
    reward, policy = evaluations()
    with session_scope() as session:
        base = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        edges = session.execute(
            select(RunInput.role, RunInput.checkpoint_id).where(RunInput.run_id == run_of(RunKind.CHECK).id)
        ).all()
    made = {kind: run_of(kind).checkpoint_id for kind in (RunKind.REWARD, RunKind.DPO)}
    assert (reward.checkpoint_id, reward.against_id) == (made[RunKind.REWARD], None)
    assert (policy.checkpoint_id, policy.against_id) == (made[RunKind.DPO], base.id)
    assert set(map(tuple, edges)) == {
        (InputRole.MEASURED, made[RunKind.REWARD]),
        (InputRole.MEASURED, made[RunKind.DPO]),
        (InputRole.AGAINST, base.id),
    }
    assert (reward.passed, policy.passed) == (True, True)
    assert "no previous reward model" in reward.findings[0]["words"]
    assert policy.metrics["compared"]["win_rate"]["value"] == 0.6


def test_what_was_measured_is_for_admins_until_the_verdict(bob: User, trained: TrainingRun) -> None:
    check()
    with session_scope() as session:
        rita = make_user(session, Role.REVIEWER, "Rita")
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        for user, sees in ((bob, True), (rita, False)):
            sign_in(client, user)
            page = client.get(f"/runs/{trained.id}").text
            assert ("prefers it to the champion on 60.0%" in page) is sees, user.name
            assert "Check, run" in page
            for path in ("/rounds", "/rounds/1", f"/snapshots/{trained.snapshot_id}", "/api/v1/training-runs"):
                assert client.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("policy-worse", "prefers it to the champion on 30.0% [25.0%, 35.0%] of 40 held-out prompts. It is worse."),
        ("longer", "1.50 times as long, and at equal length it would win 45.0%"),
        ("repeats", "Repeated word groups: +20.0 points [+15.0, +25.0]"),
    ],
)
def test_a_policy_that_is_surely_worse_is_refused_and_the_champion_stays(
    trained: TrainingRun, find: Behave, found: str, reason: str
) -> None:
    before = champion()
    find(found)
    check()
    assert round_states() == [RoundState.COMPLETE, RoundState.COLLECTING]
    assert only_round().verdict is Verdict.REFUSED
    assert reason in only_round().verdict_reason
    assert [row.passed for row in evaluations()] == [True, False]
    assert champion() == before
    assert contests() == 0


@pytest.mark.parametrize(
    ("found", "warning"), [("policy-worse longer repeats unsure", "fewer than 10 refuse nothing"), ("far", "1.50 nats")]
)
def test_what_is_not_sure_or_only_far_warns(trained: TrainingRun, find: Behave, found: str, warning: str) -> None:
    find(found)
    check()
    assert round_states() == [RoundState.CHALLENGING, RoundState.COLLECTING]
    assert warning in findings("warns")
    assert findings("refuses") == ""


def test_a_reward_model_that_is_surely_worse_than_the_one_before_refuses_the_round(
    bob: User, alice: User, trained: TrainingRun, find: Behave
) -> None:
    find("policy-worse")
    check()
    first = run_of(RunKind.REWARD).checkpoint_id
    next_round(bob, alice)
    find("reward-worse")
    check()
    assert round_states() == [RoundState.COMPLETE, RoundState.COMPLETE, RoundState.COLLECTING]
    reward = evaluations()[2]
    assert (reward.against_id, reward.passed) == (first, False)
    with session_scope() as session:
        second = session.scalars(select(Round).where(Round.number == 2)).one()
        assert (
            "accuracy is -20.0 points [-25.0, -15.0] from the previous reward model's: it is worse"
            in second.verdict_reason
        )
    annotate(alice, 2, held_out=0, first=80)
    with session_scope() as session:
        service.start_training(session, bob)
    build_snapshots()
    train()
    find("")
    check()
    assert evaluations()[4].against_id == first, "one that was refused is nobody's predecessor"


# ── What a round's state lets one do ─────────────────────────────────────────────────────────────────────────────────
def test_training_waits_for_the_contest(bob: User, alice: User, trained: TrainingRun) -> None:
    with pytest.raises(Conflict, match="Round 1 is being checked"), session_scope() as session:
        service.start_training(session, bob)
    check()
    annotate(alice, 10, held_out=0, first=50)
    with (
        pytest.raises(Conflict, match="The policy of round 1 is in a contest with the champion"),
        session_scope() as session,
    ):
        service.start_training(session, bob)


def test_a_refused_training_is_not_repeated_without_new_judgements(
    bob: User, alice: User, trained: TrainingRun, find: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    find("policy-worse")
    check()
    with pytest.raises(Conflict, match="no new annotations"), session_scope() as session:
        service.start_training(session, bob)
    monkeypatch.setenv("CORRAL_NIGHTLY_MIN_ANNOTATIONS", "0")
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


# ── The average ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_average_challenges_where_it_wins_more_than_the_new_policy(
    second: Callable[[str], list[RoundState]],
) -> None:
    assert second("average-better") == [RoundState.COMPLETE, RoundState.CHALLENGING, RoundState.COLLECTING]
    run = run_of(RunKind.CHECK)
    assert challenger().id == run.checkpoint_id
    assert challenger().kind is CheckpointKind.POLICY
    assert len(evaluations()) == 2 + 3
    with session_scope() as session:
        edges = session.scalars(
            select(RunInput.checkpoint_id).where(RunInput.run_id == run.id, RunInput.role == InputRole.AVERAGED)
        ).all()
        policies = session.scalars(select(TrainingRun.checkpoint_id).where(TrainingRun.kind == RunKind.DPO)).all()
    assert set(edges) == set(policies), "the new one and the champion; before them was the base"


@pytest.mark.parametrize(
    ("faults", "of"), [("", RunKind.DPO), ("average-worse", RunKind.DPO), ("policy-worse", RunKind.CHECK)]
)
def test_of_two_candidates_the_one_that_passes_challenges_and_of_equal_ones_the_new(
    second: Callable[[str], list[RoundState]], faults: str, of: RunKind
) -> None:
    assert second(faults)[1] is RoundState.CHALLENGING
    assert challenger().id == run_of(of).checkpoint_id


def test_a_round_whose_candidates_are_both_refused_says_why_of_each(second: Callable[[str], list[RoundState]]) -> None:
    assert second("policy-worse average-worse") == [RoundState.COMPLETE, RoundState.COMPLETE, RoundState.COLLECTING]
    with session_scope() as session:
        reason = session.scalars(select(Round.verdict_reason).where(Round.number == 2)).one()
    assert reason.count("It is worse.") == 2
    assert "The average: The reward model prefers it" in reason


def test_policies_that_cannot_be_averaged_leave_the_new_one_alone(
    second: Callable[[str], list[RoundState]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AVERAGE", "strangers")
    assert second("")[1] is RoundState.CHALLENGING
    assert challenger().id == run_of(RunKind.DPO).checkpoint_id
    assert run_of(RunKind.CHECK).checkpoint_id is None
