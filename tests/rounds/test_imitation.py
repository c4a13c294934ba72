"""The run between reward model and policy: samples are taken, the best are imitated, and the policy goes on from there."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from app.accounts.models import User
from app.db import session_scope
from app.jobs import Job
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import runs, service
from app.rounds.config import RECIPES, max_length, write_run_file
from app.rounds.models import RoundState, RunKind, RunState, TrainingRun
from app.settings import get_settings
from tests.fake_engine import FakeEngine
from tests.generating import settings_for
from tests.rounds.conftest import build_snapshots, round_states, run_of
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from workers import imitation
from workers.rounds import run_training

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


def test_without_samples_asked_for_there_is_no_such_run(
    bob: User, annotated: None, messages: list[tuple[Job, int]]
) -> None:
    with session_scope() as session:
        assert [run.kind for run in service.start_training(session, bob)] == [RunKind.REWARD, RunKind.DPO]


def test_each_run_waits_for_the_one_before_it(started: None) -> None:
    with session_scope() as session:
        rows = session.execute(
            select(TrainingRun.kind, TrainingRun.id, TrainingRun.after_run_id).order_by(TrainingRun.id)
        )
        chain = {kind: (key, after) for kind, key, after in rows}
        assert list(chain) == [RunKind.REWARD, RunKind.SFT, RunKind.DPO]
        assert chain[RunKind.SFT][1] == chain[RunKind.REWARD][0]
        assert chain[RunKind.DPO][1] == chain[RunKind.SFT][0]
        assert runs.claim(session, chain[RunKind.SFT][0]) is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_best_samples_are_imitated_and_the_policy_goes_on_from_there(
    started: None,
    fake: FakeEngine,
    tiny_base: Path,  # noqa: F811
) -> None:
    for kind in RunKind:
        run_training(run_of(kind).id)
        run = run_of(kind)
        assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
    assert round_states() == [RoundState.COMPLETE, RoundState.COLLECTING]
    imitation = run_of(RunKind.SFT)
    samples = [json.loads(line) for line in (folder_of(imitation) / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 10, "each training prompt once, and no held-out one"
    assert {len(each["samples"]) for each in samples} == {SAMPLES}
    longest = tomllib.loads((RECIPES / "sft.laptop.toml").read_text())["data"]["max_length"]
    assert {each["sampling"]["max_tokens"] for each in samples} == {longest}, (
        "else what is long would be cut, and dropped"
    )
    assert tomllib.loads((folder_of(imitation) / "selection.toml").read_text())["max_length"] == longest
    chosen = [json.loads(line) for line in (folder_of(imitation) / "sft.jsonl").read_text().splitlines()]
    assert 1 <= len(chosen) <= 3, "of the best of each prompt the best quarter"
    with session_scope() as session:
        made = {
            run.kind: session.get_one(Checkpoint, run.checkpoint_id) for run in session.scalars(select(TrainingRun))
        }
        assert {row["reward_model"] for row in chosen} == {made[RunKind.REWARD].name}
        assert made[RunKind.SFT].kind is CheckpointKind.SFT
        assert made[RunKind.DPO].parent_id == made[RunKind.SFT].id
        manifest = json.loads((Path(made[RunKind.DPO].path) / "manifest.json").read_text())
        assert made[RunKind.SFT].name in json.dumps(manifest)
        deployed = {deployment.checkpoint_id for deployment in registry.in_rotation(session)}
        assert made[RunKind.DPO].id in deployed
        assert made[RunKind.SFT].id not in deployed


def test_answers_are_as_long_as_the_run_or_its_recipe_says() -> None:
    assert max_length(RunKind.SFT, {"recipe": "llama3"}) == 4096
    assert max_length(RunKind.SFT, {"recipe": "llama3", "data": {"max_length": 99}}) == 99
    assert max_length(RunKind.SFT, {"data": {"ngram": 3}}) == 512


def test_nothing_to_sample_ends_it_with_what_to_do(
    committed: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = write_run_file(tmp_path, {"base_model": "nowhere"})
    imitation.write_plan(tmp_path, runs.Imitation(tmp_path / "snapshot", SAMPLES, tmp_path / "reward"))
    assert imitation.main([str(run_file)]) == 1
    assert "retry when the engine is ready" in capsys.readouterr().err


def test_a_choice_that_was_made_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_file = write_run_file(tmp_path, {"base_model": "nowhere"})
    imitation.write_plan(tmp_path, runs.Imitation(tmp_path / "snapshot", SAMPLES, tmp_path / "reward"))
    (tmp_path / "sft.jsonl").write_text("{}\n")
    became: list[tuple[str, ...]] = []
    monkeypatch.setenv("CORRAL_ENGINE_API_KEY", "secret")
    monkeypatch.setattr("os.execve", lambda _, command, environment: became.append((*command[1:], *environment)))
    imitation.main([str(run_file)])
    assert became[0][:3] == ("-m", "training.sft", str(run_file))
    assert not any(name.startswith("CORRAL_") for name in became[0][3:]), "training knows no secrets"
