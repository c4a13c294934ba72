"""What may interrupt a run, and how it goes on: killed, stopped, changed in between, out of disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import RunFile, events_of, make_rows, write_snapshot
from tests.training.test_runs import run
from training import reward
from training.run import stages
from training.run.progress import trainer_dir

DEADLINE = 240.0  # of a process on a busy machine; a hang is what it is for


def start(kind: str, path: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"training.{kind}", str(path)]
    root = Path(reward.__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
    )


def wait_for_step(path: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        if (path.parent / "events.jsonl").exists() and len(whole_steps(path)) >= step:
            return
        time.sleep(0.002)
    pytest.fail(f"step {step} was not reached in {DEADLINE} s")


def whole_steps(path: Path) -> list[int]:
    lines = (path.parent / "events.jsonl").read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["step"] for event in events if event["event"] == "step"]


@pytest.mark.slow
def test_a_run_killed_between_its_rename_and_its_report_reports_later(run_file: RunFile) -> None:
    path = run_file("dpo")
    assert run("dpo", path) == 0
    log = path.parent / "events.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"checkpoint"' not in line))
    assert run("dpo", path) == 0
    assert len(events_of(path, "checkpoint")) == 1


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_a_killed_run_goes_on_from_its_newest_whole_state(run_file: RunFile, kind: str) -> None:
    length = {"optim": {"max_steps": 40, "learning_rate": 1e-3}, "evaluation": {"every_steps": 0}}
    undisturbed = run_file(kind, "undisturbed", **length)
    assert run(kind, undisturbed) == 0

    path = run_file(kind, "killed", **length)
    process = start(kind, path)
    wait_for_step(path, 7, process)
    process.kill()
    process.communicate()
    assert not (path.parent / "final").exists()

    saved = sorted(
        (state for state in trainer_dir(path.parent).glob("checkpoint-*") if (state / "manifest.json").exists()),
        key=lambda state: int(state.name.split("-")[1]),
    )
    newest, older = saved[-1], saved[-2]
    weights = newest / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert run(kind, path) == 0
    [resumed] = events_of(path, "resumed")
    assert resumed["step"] == int(older.name.split("-")[1]), "a state with a flipped byte must not be used"
    after = [event for event in events_of(path, "step") if event["time"] > resumed["time"]]
    assert [event["step"] for event in after] == list(range(resumed["step"] + 1, 41)), "steps go on, none is repeated"
    # The same data in the same order: the losses are those of the run that nobody killed.
    expected = {event["step"]: event["metrics"]["loss"] for event in events_of(undisturbed, "step")}
    assert {event["step"]: event["metrics"]["loss"] for event in after} == {
        step: pytest.approx(loss, abs=1e-5) for step, loss in expected.items() if step > resumed["step"]
    }
    [final], [undisturbed_final] = events_of(path, "final"), events_of(undisturbed, "final")
    assert final["metrics"] == pytest.approx(undisturbed_final["metrics"], abs=1e-4)
    assert len(events_of(path, "baseline")) == 1


def run_until_it_would_publish(kind: Any, path: Path) -> None:
    """A run that is stopped at the last moment: everything is trained and saved, nothing is published."""

    def stopped(*_: Any) -> None:
        raise SystemExit(143)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "publish", stopped)
        with pytest.raises(SystemExit):
            run(kind, path)


@pytest.mark.slow
def test_a_state_of_other_settings_is_refused_by_name_and_kept(
    run_file: RunFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    states = sorted(trainer_dir(path.parent).iterdir())
    assert run("reward", run_file("reward", optim={"max_steps": 4, "learning_rate": 1e-3})) == 2
    assert "other settings (optim.learning_rate was 0.01, is 0.001)" in capsys.readouterr().err
    write_snapshot(path.parents[1] / "snapshot", make_rows(train=15))
    assert run("reward", run_file("reward", optim={"max_steps": 4})) == 2
    assert "the data differs" in capsys.readouterr().err
    assert sorted(trainer_dir(path.parent).iterdir()) == states


@pytest.mark.slow
def test_how_often_a_run_measures_may_change_while_it_is_interrupted(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    assert run("reward", run_file("reward", optim={"max_steps": 4}, evaluation={"every_steps": 0})) == 0
    assert len(events_of(path, "resumed")) == 1


@pytest.mark.slow
def test_a_state_without_its_manifest_is_not_resumed(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    for state in trainer_dir(path.parent).glob("checkpoint-*"):
        (state / "manifest.json").unlink()
    assert run("reward", path) == 0
    assert events_of(path, "resumed") == []


@pytest.mark.slow
def test_a_run_stopped_before_it_published_publishes_without_training_again(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 4})
    run_until_it_would_publish("reward", path)
    assert run("reward", path) == 0
    assert [event["step"] for event in events_of(path, "step")] == [1, 2, 3, 4]
    first, second = events_of(path, "final")
    assert first["step"] == second["step"] == 4
    assert second["metrics"] == pytest.approx(first["metrics"], abs=1e-6)
    assert not trainer_dir(path.parent).exists(), "a finished run keeps its checkpoint only"


@pytest.mark.slow
def test_a_continued_policy_can_be_interrupted_too(run_file: RunFile) -> None:
    assert run("dpo", run_file("dpo", "first")) == 0
    second = run_file("dpo", "second", parent_adapter="../first/final")
    run_until_it_would_publish("dpo", second)
    shutil.rmtree(trainer_dir(second.parent) / "checkpoint-6")
    assert run("dpo", second) == 0
    assert events_of(second, "resumed")[0]["step"] == 4
    first, again = events_of(second, "final")
    assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["all of it", "a part"])
def test_a_run_of_all_weights_can_be_interrupted_and_still_knows_its_reference(run_file: RunFile, kept: str) -> None:
    path = run_file("dpo", model={"trains": "all"}, optim={"learning_rate": 1e-3})
    run_until_it_would_publish("dpo", path)
    if kept == "a part":
        shutil.rmtree(trainer_dir(path.parent) / "checkpoint-6")
    assert run("dpo", path) == 0
    assert events_of(path, "resumed")[0]["step"] == (4 if kept == "a part" else 6)
    first, again = events_of(path, "final")
    assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-5)
    assert events_of(path, "reference")[-1]["missing"] == 0


@pytest.mark.faults
def test_a_run_that_is_told_to_stop_stops_with_143_and_leaves_no_output(run_file: RunFile) -> None:
    path = run_file("reward", optim={"max_steps": 5000})
    process = start("reward", path)
    wait_for_step(path, 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 143
    assert not (path.parent / "final").exists()


@pytest.mark.faults
def test_a_full_disk_ends_the_run_with_one_sentence(run_file: RunFile) -> None:
    path = run_file("reward")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start("reward", path, preexec_fn=small_files)
    errors = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 4, errors
    assert "free some space" in errors.splitlines()[-1]
    assert not (path.parent / "final").exists()
