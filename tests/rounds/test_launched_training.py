"""Two processes of the real training code, started by the worker: killed, resumed, and the losses of one."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tomli_w
from sqlalchemy import select

from app.kernel.db import session_scope
from app.kernel.settings import get_settings
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import plan
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.fake_srun import install
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import in_thread, run_of, steps_of
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from training import reward
from training.run import runner
from workers.tasks.rounds import run_training

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("CORRAL_TRAINING_LAUNCH", f"{install(tmp_path)} --ntasks 2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
def quick(queued: TrainingRun, tiny_base: Path) -> TrainingRun:  # noqa: F811
    """The reward run on a model of two layers, in six steps of which each is saved."""
    with session_scope() as session:
        session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one().path = str(tiny_base)
        run = session.get_one(TrainingRun, queued.id)
        settings = run.config["run"] | {
            "base_model": str(tiny_base),
            "model": {"dtype": "float32"},
            "optim": {"max_steps": 6},
            "checkpointing": {"save_steps": 1},
        }
        run.config = run.config | {"run": settings}
    return queued


def processes_of(run: TrainingRun) -> list[psutil.Process]:
    """Those that train."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words[1:3] == ["-m", "tests.flows.other_host"] and str(run_folder(run) / "run.toml") in words:
            found.append(process)
    return found


def run_folder(run: TrainingRun) -> Path:
    return get_settings().run_dir(run.id)


def losses(folder: Path) -> dict[int, float]:
    """Of each step, as it was taken last."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {event["step"]: event["metrics"]["loss"] for event in events if event["event"] == "step"}


def test_two_that_were_killed_end_with_the_losses_of_one(
    quick: TrainingRun, two_processes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as staying:
        command = ("tests.flows.other_host", "stay", "3", RunKind.REWARD.value, "{run.toml}")
        stays = [replace(stage, command=command) if stage.name == "reward" else stage for stage in plan.PLAN]
        staying.setattr(plan, "PLAN", tuple(stays))
        thread = in_thread(quick.id)

        def has_come_to_three() -> bool:
            run = run_of(RunKind.REWARD)
            assert run.state is not RunState.FAILED, run.log_tail
            return run.step == 3 and (run_folder(quick) / "trainer" / "checkpoint-3" / "manifest.json").exists()

        eventually(has_come_to_three, PATIENCE, "three steps")
        both = processes_of(quick)
        assert len(both) == 2
        second = next(each for each in both if each.environ()["RANK"] == "1")
        second.kill()
        thread.join(PATIENCE)
    assert processes_of(quick) == []
    assert (run_of(RunKind.REWARD).state, run_of(RunKind.REWARD).attempts) == (RunState.QUEUED, 1)

    run_training(quick.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
    assert steps_of(quick.id) == [1, 2, 3, 4, 5, 6], "the first process alone reports, and no step twice"

    alone = tmp_path / "alone"
    alone.mkdir()
    told = tomllib.loads((run_folder(quick) / "run.toml").read_text())
    (alone / "run.toml").write_text(tomli_w.dumps(told | {"output": str(alone / "final")}))
    assert runner.main("reward", reward.build_trainer, [str(alone / "run.toml")]) == 0
    assert losses(run_folder(quick)) == pytest.approx(losses(alone), rel=1e-5)
    assert os.environ.get("RANK") is None
