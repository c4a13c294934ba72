"""The whole way with the real training code, on a model of two layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.db import session_scope
from app.jobs import Job
from app.registry.manifest import verify
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import progress, queries, service
from app.rounds.models import Round, RoundState, RunKind, RunState, TrainingRun
from app.settings import get_settings
from tests.rounds.conftest import build_snapshots, run_of
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from workers.rounds import run_training


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("recipe", "trainer"), [("laptop", "corral"), ("trl", "trl")])
def test_a_round_of_real_training_ends_with_measured_and_verified_checkpoints(
    bob: User,
    annotated: None,
    messages: list[tuple[Job, int]],
    tiny_base: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    trainer: str,
) -> None:
    settings = get_settings().model_copy(update={"training_recipe": recipe})
    monkeypatch.setattr(service, "get_settings", lambda: settings)
    with session_scope() as session:
        base = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        base.path = str(tiny_base)
        service.start_training(session, bob)
    build_snapshots()
    for kind in (RunKind.REWARD, RunKind.DPO):
        run_training(run_of(kind).id)
        run = run_of(kind)
        assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
        assert run.step == run.total_steps
        assert progress.results(run).pairs == 2
        assert run.baseline["held_out/pairs"] == run.metrics["held_out/pairs"] == 2
    with session_scope() as session:
        policy = session.get_one(TrainingRun, run_of(RunKind.DPO).id)
        made = session.get_one(Checkpoint, policy.checkpoint_id)
        verify(Path(made.path), manifest_sha256=made.manifest_sha256)
        said = dict(progress.data_counts(queries.milestones(session, policy.id)))
        states = list(session.scalars(select(Round.state).order_by(Round.number)))
    assert said["pairs trained on"] == 10
    assert states == [RoundState.COMPLETE, RoundState.COLLECTING]
    manifest = json.loads((Path(made.path) / "manifest.json").read_text())
    assert manifest["name"] == made.name
    assert manifest["config"]["trainer"] == trainer
