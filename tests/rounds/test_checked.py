"""A round that goes on with what can be checked: off unless asked for, and from there on a run like others."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings, get_settings
from app.loops import queries as loops
from app.loops.models import RoundState
from app.preferences import prompt_lines
from app.prompts.models import Prompt
from app.registry.models import Appointment, Checkpoint, LoopRole
from app.rounds import minutes, plan, progress, service
from app.rounds.minutes import Checkable
from app.rounds.models import InputRole, RunInput, RunKind, RunState, TrainingRun
from app.rounds.readiness import Readiness, readiness
from app.rounds.recipes import RECIPES, recipe_problem
from app.site.main import create_app
from tests.factories import sign_in
from tests.rounds.conftest import build_snapshots, check, round_states, run_of, train
from training.formats.prompts import Split
from training.run.config import load_as
from training.run.learning import GrpoRun
from workers.tasks.rounds import run_training

Behave = Callable[[str], None]
STEPS = 3


@pytest.fixture
def asked() -> Iterator[None]:
    """The installation asks for it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CORRAL_TRAINING_CHECKED_STEPS", str(STEPS))
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@pytest.fixture
def checkable(annotated: None) -> None:
    """Every prompt says what an answer must come to."""
    with session_scope() as session:
        session.execute(update(Prompt).values(reference="7"))


def start(bob: User) -> list[RunKind]:
    with session_scope() as session:
        kinds = [run.kind for run in service.start_training(session, bob)]
    build_snapshots()
    return kinds


def ready() -> Readiness:
    with session_scope() as session:
        current = loops.current_round(session)
        assert current is not None
        return readiness(session, current)


def test_it_is_off_unless_an_installation_asks_for_it(
    bob: User, checkable: None, messages: list[tuple[Job, int]]
) -> None:
    assert Settings().training_checked_steps == 0
    assert ready().checkable is None
    assert start(bob) == [RunKind.REWARD, RunKind.DPO]


def test_without_anything_to_check_a_round_goes_without_it_and_says_so(
    bob: User, annotated: None, messages: list[tuple[Job, int]], asked: None
) -> None:
    found = ready()
    assert (found.checkable, RunKind.GRPO in found.units) == (0, False)
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, bob)
        assert "does not learn from checks" in client.get("/rounds").text
    assert start(bob) == [RunKind.REWARD, RunKind.DPO]


def test_the_policy_goes_on_and_what_comes_of_it_is_checked_and_challenges(
    bob: User, checkable: None, messages: list[tuple[Job, int]], asked: None, fake_training: Behave
) -> None:
    found = ready()
    assert found.checkable == 10
    assert found.units[RunKind.GRPO] == (STEPS * 4 * 8 + 2 * 2) * get_settings().check_tokens
    assert start(bob) == [RunKind.REWARD, RunKind.DPO, RunKind.GRPO]
    train()
    assert round_states() == [RoundState.TRAINING], "the policy is not checked before it has gone on"
    run_training(run_of(RunKind.GRPO).id)
    run = run_of(RunKind.GRPO)
    assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
    check()

    with session_scope() as session:
        made = {each.kind: each.checkpoint_id for each in session.scalars(select(TrainingRun))}
        trained = session.get_one(Checkpoint, made[RunKind.GRPO])
        assert trained.parent_id == made[RunKind.DPO]
        measured = select(RunInput.checkpoint_id).where(
            RunInput.run_id == run_of(RunKind.CHECK).id, RunInput.role == InputRole.MEASURED
        )
        assert set(session.scalars(measured)) == {made[RunKind.REWARD], made[RunKind.GRPO]}
        role = Appointment.role == LoopRole.CHALLENGER
        assert session.scalar(select(Appointment.checkpoint_id).where(role)) == made[RunKind.GRPO]
        parent = session.get_one(Checkpoint, made[RunKind.DPO]).folder
    file = get_settings().runs_dir / f"run-{run.id}" / "run.toml"
    said = load_as(GrpoRun, file)
    assert (said.steps, said.max_tokens, said.lenient) == (STEPS, get_settings().check_tokens, True)
    assert (said.parent_adapter, said.work, said.checks[-1]) == (parent, file.parent, "workers.verifiers")


def test_a_run_that_was_cancelled_is_retried_alone(
    bob: User, checkable: None, messages: list[tuple[Job, int]], asked: None, fake_training: Behave
) -> None:
    start(bob)
    train()
    with session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, run_of(RunKind.GRPO).id))
    assert round_states() == [RoundState.COLLECTING]
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run_of(RunKind.GRPO).id))
    assert run_of(RunKind.DPO).attempts == 1
    run_training(run_of(RunKind.GRPO).id)
    assert run_of(RunKind.GRPO).state is RunState.SUCCEEDED
    assert round_states() == [RoundState.CHECKING]


def test_its_page_says_how_many_held_out_prompts_are_solved(
    bob: User, checkable: None, messages: list[tuple[Job, int]], asked: None
) -> None:
    start(bob)
    with session_scope() as session:
        run = session.get_one(TrainingRun, run_of(RunKind.GRPO).id)
        run.baseline = {"held_out/verified": 0.25, "held_out/verified_prompts": 20.0}
        run.metrics = {"held_out/verified": 0.75, "held_out/verified_prompts": 20.0, "reward": 0.5}
        assert str(progress.headline(run).result) == "15 of 20"
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, bob)
        page = client.get(f"/runs/{run.id}").text
        assert "15 of 20" in page
        assert "20 prompts whose answers can be checked" in page
        assert "TRL (GRPOTrainer)" in page
        assert "held-out prompts solved" in client.get("/rounds/1").text


def test_what_is_checked_is_counted_and_a_recipe_without_it_is_refused(
    checkable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session_scope() as session:
        assert prompt_lines.to_check(session, Split.TRAIN, 100) == 10
        assert prompt_lines.to_check(session, Split.HELD_OUT, 100) == 2
        assert prompt_lines.to_check(session, Split.TRAIN, 4) == 4
    wanted = get_settings().model_copy(update={"training_checked_steps": 5, "training_recipe": "laptop"})
    assert recipe_problem(wanted) is None
    (tmp_path / "dpo.laptop.toml").touch()
    monkeypatch.setattr("app.rounds.recipes.RECIPES", tmp_path)
    assert "does not say how to learn from checks" in (recipe_problem(wanted) or "")


def test_what_goes_on_has_the_form_of_what_it_goes_on_from() -> None:
    for name in ("laptop", "llama3", "trl"):
        dpo, grpo = (tomllib.loads((RECIPES / f"{kind}.{name}.toml").read_text()) for kind in ("dpo", "grpo"))
        assert dpo["lora"] == grpo["lora"], "the engine and the average take adapters of one rank"


def test_the_minutes_of_a_check_count_prompts_that_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(training_samples=0, training_average=False, training_checked_steps=0)
    monkeypatch.setattr(minutes, "get_settings", lambda: settings)

    def answered(checkable: Checkable) -> int:
        read = minutes.units(trainable=90, policy=90, prompts=9, held_out=20, checkable=checkable)
        assert RunKind.GRPO not in read
        return read[RunKind.CHECK]

    assert answered(Checkable()) == 2 * 20 * 128
    assert answered(Checkable(5, 30)) == 2 * (20 + 30) * 128
    assert answered(Checkable(5, 3_000)) == 2 * (20 + 60) * 128


def test_one_entry_of_the_plan_is_all_that_it_takes() -> None:
    [stage] = plan.stages_of(RunKind.GRPO)
    assert (stage.command, stage.knows_installation) == (("training.grpo", "{run.toml}"), False)
