"""The whole way with the real training code, on a model of two layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState
from app.registry.manifest import verify
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import progress, queries, service
from app.rounds.models import Evaluation, RunKind, RunState, TrainingRun
from tests.rounds.conftest import build_snapshots, check, run_of
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from workers.tasks.rounds import run_training


@pytest.mark.slow
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
    check()
    assert run_of(RunKind.CHECK).state is RunState.SUCCEEDED, run_of(RunKind.CHECK).log_tail
    with session_scope() as session:
        policy = session.get_one(TrainingRun, run_of(RunKind.DPO).id)
        made = session.get_one(Checkpoint, policy.checkpoint_id)
        verify(made.folder, manifest_sha256=made.manifest_sha256)
        said = dict(progress.data_counts(queries.milestones(session, policy.id)))
        states = list(session.scalars(select(Round.state).order_by(Round.number)))
        reward, measured = session.scalars(select(Evaluation).order_by(Evaluation.id))
    assert (reward.passed, measured.passed) == (True, True), "two prompts refuse nothing"
    assert measured.metrics["data"]["prompts"] == 2
    assert measured.metrics["after_metrics"]["kl_per_token"]["value"] > 0
    assert "fewer than 10 refuse nothing" in measured.findings[0]["words"]
    assert said["pairs trained on"] == 10
    assert states == [RoundState.CHALLENGING, RoundState.COLLECTING]
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["name"] == made.name
    assert manifest["config"]["trainer"] == trainer
