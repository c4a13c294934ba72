"""The run between reward model and policy: samples are taken, the best are imitated, and the policy goes on from there."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings, get_settings
from app.loops.models import RoundState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import claims, plan, service
from app.rounds.models import InputRole, RunInput, RunKind, RunState, TrainingRun
from app.rounds.recipes import RECIPES, max_length
from tests.engine_faults import Mode
from tests.fake_engine import FakeEngine
from tests.generating import settings_for
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import build_snapshots, faked, in_thread, question, round_states, run_of
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from training.formats.prompts import Split
from workers.tasks.rounds import run_training

SAMPLES = 4


@pytest.fixture
def fake(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:  # noqa: F811
    """An engine of the base, and an installation that asks it for samples."""
    with FakeEngine(model=tiny_base).running() as engine:
        settings_for(monkeypatch, engine.url, tiny_base, training_samples=SAMPLES)
        yield engine
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def started(fake: FakeEngine, bob: User, annotated: None, messages: list[tuple[Job, int]], tiny_base: Path) -> None:  # noqa: F811
    """A training with imitation that Bob has started, its base served."""
    with session_scope() as session:
        base = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        base.path = str(tiny_base)
        for deployment in registry.in_rotation(session):
            registry.mark_loaded(session, deployment.id)
        service.start_training(session, bob)
    build_snapshots()


def folder_of(run: TrainingRun) -> Path:
    return get_settings().runs_dir / f"run-{run.id}"


def test_a_round_is_reward_model_best_of_ten_and_policy_unless_the_installation_says_otherwise(
    bob: User, annotated: None, messages: list[tuple[Job, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORRAL_TRAINING_SAMPLES")
    assert Settings().training_samples == 10
    assert plan.chain(Settings()) == [RunKind.REWARD, RunKind.SFT, RunKind.DPO]
    with session_scope() as session:
        assert [run.kind for run in service.start_training(session, bob)] == [RunKind.REWARD, RunKind.DPO]


def test_a_stepwise_reward_model_reads_the_samples_where_the_installation_names_one(
    bob: User, annotated: None, messages: list[tuple[Job, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"training_steps_model": Path("/models/steps"), "training_steps_floor": 0.4}
    settings = get_settings().model_copy(update={"training_samples": 4, **named})
    monkeypatch.setattr(service, "get_settings", lambda: settings)
    with session_scope() as session:
        run = next(each for each in service.start_training(session, bob) if each.kind is RunKind.SFT)
        told = claims._sampled(run)
        assert (told["steps_model"], told["steps_floor"]) == ("/models/steps", 0.4)
        run.config = {name: value for name, value in run.config.items() if not name.startswith("steps_")}
        assert "steps_model" not in claims._sampled(run)


def test_each_run_waits_for_the_one_before_it(started: None) -> None:
    with session_scope() as session:
        rows = session.execute(
            select(TrainingRun.kind, TrainingRun.id, TrainingRun.after_run_id).order_by(TrainingRun.id)
        )
        chain = {kind: (key, after) for kind, key, after in rows}
        assert list(chain) == [RunKind.REWARD, RunKind.SFT, RunKind.DPO]
        assert chain[RunKind.SFT][1] == chain[RunKind.REWARD][0]
        assert chain[RunKind.DPO][1] == chain[RunKind.SFT][0]
        assert claims.claim(session, chain[RunKind.SFT][0]) is None


def killed_while_it_samples(fake: FakeEngine, run: TrainingRun) -> list[str]:
    """Kill the run's process when it has all but the prompts that the engine hangs at; the prompts that it has."""
    samples = folder_of(run) / "samples.jsonl"
    fake.fault(Mode.HANG, match=question(9, Split.TRAIN))
    thread = in_thread(run.id)
    try:
        eventually(lambda: samples.exists() and len(samples.read_text().splitlines()) == 9, PATIENCE, "nine prompts")
        [process] = [found for found in psutil.process_iter() if str(samples) in command_of(found)]
        process.kill()
    finally:
        thread.join(60)
        fake.heal()
    assert run_of(RunKind.SFT).state is RunState.QUEUED
    return [str(json.loads(line)["prompt"][-1]["content"]) for line in samples.read_text().splitlines()]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_best_samples_are_imitated_and_the_policy_goes_on_from_there(
    started: None,
    fake: FakeEngine,
    tiny_base: Path,  # noqa: F811
) -> None:
    asked_before: list[str] = []
    for kind in (RunKind.REWARD, RunKind.SFT, RunKind.DPO, RunKind.CHECK):
        if kind is RunKind.SFT:
            asked_before = killed_while_it_samples(fake, run_of(kind))
        run_training(run_of(kind).id)
        run = run_of(kind)
        assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
    assert round_states() == [RoundState.CHALLENGING, RoundState.COLLECTING]
    assert asked_before, "a killed process leaves what it has sampled"
    asked = fake.prompts_asked()
    assert all(sum(prompt in text for text in asked) == 1 for prompt in asked_before), (
        "and nothing of it is asked again"
    )
    imitation = run_of(RunKind.SFT)
    samples = [json.loads(line) for line in (folder_of(imitation) / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 10, "each training prompt once, and no held-out one"
    settings = get_settings()
    assert {len(each["samples"]) for each in samples} == {SAMPLES}
    longest = tomllib.loads((RECIPES / "sft.laptop.toml").read_text())["data"]["max_length"]
    assert {each["sampling"]["max_tokens"] for each in samples} == {settings.training_sample_tokens}
    choose = tomllib.loads((folder_of(imitation) / "choose.toml").read_text())
    assert (choose["max_length"], choose["checks"][-1]) == (longest, "workers.verifiers")
    run_file = tomllib.loads((folder_of(run_of(RunKind.DPO)) / "run.toml").read_text())
    assert run_file["verified"] == str(folder_of(imitation) / "verified.jsonl"), "the policy's recipe may ask for them"
    report = json.loads((folder_of(imitation) / "sft.report.json").read_text())
    assert report["checks"]["unavailable"] is None, "the verifiers were asked"
    chosen = [json.loads(line) for line in (folder_of(imitation) / "sft.jsonl").read_text().splitlines()]
    assert 1 <= len(chosen) <= 3, "of the best of each prompt the best quarter"
    with session_scope() as session:
        made = {
            run.kind: session.get_one(Checkpoint, run.checkpoint_id)
            for run in session.scalars(select(TrainingRun))
            if run.kind is not RunKind.CHECK
        }
        edges = session.execute(
            select(RunInput.role, Checkpoint).join(Checkpoint).where(RunInput.run_id == imitation.id)
        )
        used = dict(edges.all())
        assert used[InputRole.CHOSE] is made[RunKind.REWARD]
        assert used[InputRole.SAMPLED].kind is CheckpointKind.BASE, "which is the champion of the first round"
        assert {row["reward_model"] for row in chosen} == {made[RunKind.REWARD].name}
        assert made[RunKind.SFT].kind is CheckpointKind.SFT
        assert made[RunKind.DPO].parent_id == made[RunKind.SFT].id
        manifest = json.loads((made[RunKind.DPO].folder / "manifest.json").read_text())
        assert made[RunKind.SFT].name in json.dumps(manifest)
        deployed = {deployment.checkpoint_id for deployment in registry.in_rotation(session)}
        assert made[RunKind.DPO].id in deployed
        assert made[RunKind.SFT].id not in deployed


def test_answers_are_as_long_as_the_run_or_its_recipe_says() -> None:
    assert max_length(RunKind.SFT, {"recipe": "llama3"}) == 4096
    assert max_length(RunKind.SFT, {"recipe": "llama3", "data": {"max_length": 99}}) == 99
    assert max_length(RunKind.SFT, {"data": {"ngram": 3}}) == 512


def test_an_engine_that_is_away_ends_the_run_with_what_to_do(
    started: None, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward, *_ = faked(plan.PLAN)
    monkeypatch.setattr(plan, "PLAN", (reward, *plan.PLAN[1:]))
    run_training(run_of(RunKind.REWARD).id)
    fake.stop()
    run_training(run_of(RunKind.SFT).id)
    run = run_of(RunKind.SFT)
    assert run.state is RunState.FAILED
    assert "Start again when the engine is back" in (run.error or "")
    assert "Wait until the engine is ready, then retry" in (run.remedy or "")
    assert round_states() == [RoundState.COLLECTING]
