"""Two processes over gloo learn what one learns from the same rows, and one of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import RunFile, events_of
from training import checkpoints, dpo, reward, runner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAIN: dict[Any, Any] = {"reward": reward.train, "dpo": dpo.train}


def launch(kind: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", *options]
    return subprocess.run(
        [sys.executable, "-m", *command, "-m", f"training.{kind}", str(path)],
        cwd=Path(runner.__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )


def losses(path: Path) -> list[float]:
    return [event["metrics"]["loss"] for event in events_of(path, "step")]


@pytest.mark.parametrize("kind", ["reward", "dpo"])
@pytest.mark.parametrize("trains", ["adapter", "all"])
def test_two_processes_have_the_losses_of_one(run_file: RunFile, kind: str, trains: str) -> None:
    settings: dict[str, Any] = {"model": {"trains": trains, "pack_tokens": 256}, "optim": {"learning_rate": 1e-3}}
    alone, together = run_file(kind, "alone", **settings), run_file(kind, "together", cache="cache", **settings)
    assert runner.main(kind, TRAIN[kind], [str(alone)]) == 0  # type: ignore[arg-type]
    ended = launch(kind, together)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    for event in ("baseline", "final", "checkpoint"):
        assert len(events_of(together, event)) == 1, "one of the two reports"
    metrics = [checkpoints.verify(path.parent / "final").metrics for path in (alone, together)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-3, abs=1e-4)
    counted = [event["metrics"]["num_tokens"] for event in events_of(alone, "step")]
    assert [event["metrics"]["num_tokens"] for event in events_of(together, "step")] == counted


def test_rows_that_cannot_be_shared_evenly_are_refused(run_file: RunFile) -> None:
    ended = launch("reward", run_file("reward", optim={"batch_size": 3}))
    assert ended.returncode != 0
    assert "which 2 processes cannot share evenly" in ended.stderr
