"""A training that several processes do together: whatever ends one of them ends all, and the run as one process would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.settings import ROOT, get_settings
from app.rounds import service
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.fake_srun import install
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import in_thread, pretend_silence, run_of, said, steps_of, training_processes
from workers.tasks.rounds import advance_round, run_training
from workers.training import launching, stages
from workers.training.process import StageProcess, environment

Behave = Callable[[str], None]
pytestmark = pytest.mark.faults


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Trainings are started with this."""

    def set_to(command: str) -> None:
        monkeypatch.setenv("CORRAL_TRAINING_LAUNCH", command)
        get_settings.cache_clear()

    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    return set_to


@pytest.fixture
def srun(launch: Callable[[str], None], tmp_path: Path) -> None:
    """Two processes, as Slurm starts them."""
    launch(f"{install(tmp_path)} --ntasks 2")


@pytest.fixture(autouse=True)
def _settings_of_the_test() -> object:
    yield
    get_settings.cache_clear()


def folder_of(run: TrainingRun) -> Path:
    return get_settings().run_dir(run.id)


def ranks(run: TrainingRun) -> dict[int, psutil.Process]:
    """The processes that train, by their rank, without those that stand beside them."""
    found = {}
    for process in training_processes(run.id):
        try:
            if "workers.training" not in " ".join(process.cmdline()):
                found[int(process.environ()["RANK"])] = process
        except psutil.Error:
            continue
    return found


def started(run: TrainingRun) -> dict[int, psutil.Process]:
    """Both, once the first has done three steps."""

    def is_there() -> bool:
        now = run_of(RunKind.REWARD)
        assert now.state is not RunState.FAILED, now.log_tail
        return now.step == 3 and len(ranks(run)) == 2

    eventually(is_there, PATIENCE, "three steps of two processes")
    return ranks(run)


def nothing_survives(run: TrainingRun) -> None:
    living = [each for each in training_processes(run.id) if each.status() != psutil.STATUS_ZOMBIE]
    assert living == []


def test_the_processes_of_slurm_know_which_they_are_and_one_reports(
    queued: TrainingRun, fake_training: Behave, srun: None
) -> None:
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.SUCCEEDED, run.log_tail
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]
    told = [json.loads(line) for line in (folder_of(queued) / "ranks.jsonl").read_text().splitlines()]
    assert sorted(each["RANK"] for each in told) == ["0", "1"]
    assert {(each["WORLD_SIZE"], each["MASTER_ADDR"], each["CUDA_VISIBLE_DEVICES"]) for each in told} == {
        ("2", "127.0.0.1", os.environ.get("CUDA_VISIBLE_DEVICES"))
    }
    assert len({each["MASTER_PORT"] for each in told}) == 1
    assert not (folder_of(queued) / launching.FOLDER).exists()
    nothing_survives(queued)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_takes_the_others_with_it_and_the_run_resumes(
    queued: TrainingRun, fake_training: Behave, srun: None, victim: int
) -> None:
    fake_training("hang")
    thread = in_thread(queued.id)
    both = started(queued)
    both[victim].kill()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert (run_of(RunKind.REWARD).state, run_of(RunKind.REWARD).attempts) == (RunState.QUEUED, 1)
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]
    assert said(queued.id).count("resumed") == 1


@pytest.mark.slow
def test_torchruns_processes_end_with_the_one_that_is_killed(
    queued: TrainingRun, fake_training: Behave, launch: Callable[[str], None]
) -> None:
    launch("torchrun --standalone --nproc-per-node 2")
    fake_training("hang")
    thread = in_thread(queued.id)
    started(queued)[1].kill()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert (run_of(RunKind.REWARD).state, run_of(RunKind.REWARD).attempts) == (RunState.QUEUED, 1)


def launcher_of(process: psutil.Process) -> psutil.Process:
    """What started the process that stands beside this one."""
    beside = process.parent()
    assert beside is not None
    found = beside.parent()
    assert found is not None
    return found


@pytest.mark.parametrize("who", ["launcher", "beside"])
def test_without_whoever_started_it_no_process_goes_on(
    queued: TrainingRun, fake_training: Behave, srun: None, who: str
) -> None:
    fake_training("hang")
    thread = in_thread(queued.id)
    first = started(queued)[0]
    victim = launcher_of(first) if who == "launcher" else first.parent()
    assert victim is not None
    victim.kill()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert (run_of(RunKind.REWARD).state, run_of(RunKind.REWARD).attempts) == (RunState.QUEUED, 1)


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_cancelling_ends_all_processes(
    bob: User, queued: TrainingRun, fake_training: Behave, srun: None, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_training(fault)
    monkeypatch.setattr(StageProcess.stop, "__defaults__", (1.0,))
    thread = in_thread(queued.id)
    started(queued)
    with session_scope() as session:
        service.cancel(session, bob, session.get_one(TrainingRun, queued.id))
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED


def test_losing_the_run_ends_all_processes(queued: TrainingRun, fake_training: Behave, srun: None) -> None:
    fake_training("deaf")
    thread = in_thread(queued.id)
    started(queued)
    with session_scope() as session:
        session.execute(
            text("UPDATE training_runs SET state = 'queued', fencing_token = fencing_token + 1 WHERE id = :id"),
            {"id": queued.id},
        )
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert run_of(RunKind.REWARD).state is RunState.QUEUED


def test_killing_the_worker_ends_all_processes_and_the_next_one_resumes(
    queued: TrainingRun, fake_training: Behave, srun: None
) -> None:
    fake_training("deaf")
    worker = subprocess.Popen([sys.executable, "-m", "tests.rounds.worker_process", str(queued.id)], cwd=ROOT)
    try:
        both = started(queued)
    finally:
        worker.kill()
        worker.wait(PATIENCE)
    eventually(lambda: not ranks(queued), PATIENCE, "both to end")
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in both.values())
    pretend_silence(queued.id)
    advance_round()
    fake_training("")
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert steps_of(queued.id) == [1, 2, 3, 4, 5, 6]


def test_processes_whose_folder_is_gone_end(queued: TrainingRun, fake_training: Behave, srun: None) -> None:
    """As they do on another host, which no signal reaches."""
    fake_training("deaf")
    thread = in_thread(queued.id)
    started(queued)
    shutil.rmtree(folder_of(queued) / launching.FOLDER)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert run_of(RunKind.REWARD).state is RunState.QUEUED


@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        (
            "bad-data",
            "row 7 of preferences.jsonl has no prompt: export the snapshot again",
            "Fix what the message above",
        ),
        ("disk", "no space left for trainer/checkpoint-4: free 1 GB", "Free some space"),
        ("crash", "ended with status 1. RuntimeError: the matrix is not square", "Read the last lines below"),
    ],
)
def test_what_one_process_says_at_its_end_is_why_the_run_failed(
    queued: TrainingRun, fake_training: Behave, srun: None, fault: str, error: str, remedy: str
) -> None:
    fake_training(fault)
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert (run.error or "").endswith(error)
    assert (run.remedy or "").startswith(remedy)
    nothing_survives(queued)


@pytest.mark.parametrize(
    ("command", "error", "remedy"),
    [
        ("{srun} --bogus", "'--bogus'", "Correct CORRAL_TRAINING_LAUNCH"),
        ("/nowhere/torchrun --standalone", "which is not on this host's PATH", "Restart the training worker"),
    ],
    ids=["refuses its arguments", "is missing"],
)
def test_a_launcher_that_starts_nothing_is_named(
    queued: TrainingRun,
    fake_training: Behave,
    launch: Callable[[str], None],
    tmp_path: Path,
    command: str,
    error: str,
    remedy: str,
) -> None:
    launch(command.format(srun=install(tmp_path)))
    run_training(queued.id)
    run = run_of(RunKind.REWARD)
    assert run.state is RunState.FAILED
    assert error in (run.error or "")
    assert remedy in (run.remedy or "")


def test_only_what_several_can_do_is_launched(queued: TrainingRun, fake_training: Behave, srun: None) -> None:
    from app.rounds import plan

    assert {stage.name for stage in plan.PLAN if stage.parallel} == {"reward", "imitate", "policy"}


def test_a_launcher_hands_out_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = environment({"base_model": "somebody/model"}, launched=True)
    assert "CUDA_VISIBLE_DEVICES" not in seen
    assert seen["SLURM_KILL_BAD_EXIT"] == "1"


def test_a_stop_reaches_processes_that_ask_for_time(queued: TrainingRun, fake_training: Behave, srun: None) -> None:
    """SIGTERM is passed on to them, so that they may put down what they hold."""
    fake_training("hang")
    thread = in_thread(queued.id)
    first = started(queued)[0]
    launcher_of(first).send_signal(signal.SIGTERM)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    nothing_survives(queued)
    assert run_of(RunKind.REWARD).state is RunState.QUEUED, "an operator who ends it does not fail it"
