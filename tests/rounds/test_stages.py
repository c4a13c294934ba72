"""A run of several stages: each is a process of its own, and what ends one early costs nothing that was finished."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.settings import ROOT, get_settings
from app.loops.models import RoundState
from app.rounds import endings, plan, service
from app.rounds.claims import Claim
from app.rounds.endings import Failure
from app.rounds.gate import Made, NotPromotable
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.plan import CHECKPOINT, Remedies, Stage, left
from app.site.main import create_app
from tests.factories import sign_in
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import faked, in_thread, pretend_silence, round_states, run_of, said, steps_of
from workers import stopping
from workers.tasks.rounds import advance_round, run_training
from workers.training import stages

pytestmark = pytest.mark.faults

REMEDIES = Remedies({4: "Free some room, then retry gathering."}, "Read below, then retry.")
GATHER = Stage(
    "gather",
    RunKind.REWARD,
    command=("tests.rounds.fake_stage", "gather", "{gathered.txt}"),
    needs=("snapshot",),
    makes=("gathered.txt", "gathered.txt.done"),
    remedies=REMEDIES,
)
PICK = Stage(
    "pick",
    RunKind.REWARD,
    command=("tests.rounds.fake_stage", "pick", "{picked.txt}", "{gathered.txt}"),
    needs=("gathered.txt",),
    makes=("picked.txt", "picked.txt.done"),
)
REAL = plan.PLAN
PLAN = (GATHER, PICK, *faked(REAL))
"""A throw-away plan: two stages before the trainings of a round."""


@pytest.fixture
def run(queued: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """A run of three stages, due."""
    monkeypatch.setattr(plan, "PLAN", PLAN)
    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    return queued


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives a stage a fault, as ``fake_stage`` knows them; a training has but one, and hangs."""

    def change(fault: str) -> None:
        monkeypatch.setenv("FAKE_STAGE", fault)
        monkeypatch.setenv("FAKE_TRAINING", "hang" if fault == "hang reward" else "")

    return change


def folder_of(run: TrainingRun) -> Path:
    return get_settings().runs_dir / f"run-{run.id}"


def starts(run: TrainingRun) -> list[str]:
    """What each start of a stage that is no training said, in order."""
    return [line for line in (folder_of(run) / "log.txt").read_text().splitlines() if " begins behind line " in line]


def hangs(run: TrainingRun, stage: str) -> Callable[[], bool]:
    """Whether this stage has got as far as it gets."""
    if stage == "reward":
        return lambda: run_of(RunKind.REWARD).step == 3
    made = folder_of(run) / {"gather": "gathered.txt", "pick": "picked.txt"}[stage]
    return lambda: made.exists() and len(made.read_text().splitlines()) == 2


def processes(run: TrainingRun) -> list[psutil.Process]:
    """What runs for this run, of whatever stage."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        ours = {"tests.rounds.fake_training", "tests.rounds.fake_stage"} & set(command)
        if ours and any(str(folder_of(run)) in part for part in command):
            found.append(process)
    return found


EXPECTED = {
    "gather": ["gather begins behind line 0", "gather begins behind line 2", "pick begins behind line 0"],
    "pick": ["gather begins behind line 0", "pick begins behind line 0", "pick begins behind line 2"],
    "reward": ["gather begins behind line 0", "pick begins behind line 0"],
}


def is_whole(run: TrainingRun, interrupted: str) -> None:
    """The run has succeeded, each stage having gone on where it was and no finished one having been repeated."""
    found = run_of(RunKind.REWARD)
    assert found.state is RunState.SUCCEEDED, f"{found.error}\n{found.log_tail}"
    assert starts(run) == EXPECTED[interrupted]
    assert (folder_of(run) / "picked.txt").read_text() == "".join(f"line {n}, gather, pick\n" for n in range(3))
    assert steps_of(run.id) == [1, 2, 3, 4, 5, 6]


# ── The way it should go ─────────────────────────────────────────────────────────────────────────────────────────────
def test_stages_run_in_order_and_their_log_and_events_are_on_one_page(bob: User, run: TrainingRun) -> None:
    run_training(run.id)
    found = run_of(RunKind.REWARD)
    assert found.state is RunState.SUCCEEDED, f"{found.error}\n{found.log_tail}"
    assert starts(run) == ["gather begins behind line 0", "pick begins behind line 0"]
    assert said(run.id)[:2] == ["data", "baseline"]
    assert "gather begins behind line 0\npick begins behind line 0" in found.log_tail
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, bob)
        assert "gather begins" in client.get(f"/runs/{run.id}").text


def test_a_stage_is_added_by_one_entry(queued: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    added = Stage(
        "look",
        RunKind.DPO,
        command=("tests.rounds.fake_stage", "look", "{looked.txt}", "{look.toml}"),
        needs=(CHECKPOINT,),
        makes=("looked.txt",),
        told={"checkpoint": CHECKPOINT, "snapshot": "snapshot", "one_line_more": "snapshot"},
    )
    monkeypatch.setattr(plan, "PLAN", (*faked(REAL), added))
    run_training(queued.id)
    run_training(run_of(RunKind.DPO).id)
    policy = run_of(RunKind.DPO)
    assert policy.state is RunState.SUCCEEDED, f"{policy.error}\n{policy.log_tail}"
    looked = (folder_of(policy) / "looked.txt").read_text()
    assert policy.config["run"]["name"] in looked, "it was told where the checkpoint lies"
    assert starts(policy) == ["look begins behind line 0"]


# ── What ends it early ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("stage", list(EXPECTED))
def test_killing_the_worker_at_any_stage_loses_nothing_and_repeats_nothing_finished(
    run: TrainingRun, behave: Callable[[str], None], stage: str
) -> None:
    behave(f"hang {stage}")
    command = [sys.executable, "-m", "tests.rounds.worker_process", str(run.id), "in-stages"]
    worker = subprocess.Popen(command, cwd=ROOT)
    try:
        eventually(hangs(run, stage), PATIENCE, f"{stage} to get on")
        orphans = processes(run)
    finally:
        worker.kill()
        worker.wait(PATIENCE)
    psutil.wait_procs(orphans, 30)
    assert orphans
    assert not processes(run)
    pretend_silence(run.id)
    advance_round()
    behave("")
    run_training(run.id)
    is_whole(run, stage)


@pytest.mark.parametrize("stage", list(EXPECTED))
def test_killing_the_process_of_any_stage_loses_nothing_and_repeats_nothing_finished(
    run: TrainingRun, behave: Callable[[str], None], stage: str
) -> None:
    behave(f"hang {stage}")
    thread = in_thread(run.id)
    try:
        eventually(hangs(run, stage), PATIENCE, f"{stage} to get on")
    finally:
        for process in processes(run):
            os.kill(process.pid, signal.SIGKILL)
        thread.join(60)
    assert run_of(RunKind.REWARD).state is RunState.QUEUED
    behave("")
    run_training(run.id)
    is_whole(run, stage)


def test_a_stage_that_gets_on_is_never_given_up_and_one_that_does_not_is(
    run: TrainingRun, behave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "MAX_ATTEMPTS", 2)
    behave("hang gather")
    for attempts, state in ((1, RunState.QUEUED), (2, RunState.FAILED)):
        thread = in_thread(run.id)
        eventually(hangs(run, "gather"), PATIENCE, "gather to get on")
        eventually(lambda: bool(processes(run)), PATIENCE, "the process")
        eventually(lambda number=attempts: len(starts(run)) == number, PATIENCE, "it to begin")  # type: ignore[misc]
        for process in processes(run):
            os.kill(process.pid, signal.SIGKILL)
        thread.join(60)
        found = run_of(RunKind.REWARD)
        assert (found.attempts, found.state) == (attempts, state)
    behave("hang pick")
    with session_scope() as session:
        service.retry(session, None, session.get_one(TrainingRun, run.id))
    thread = in_thread(run.id)
    eventually(hangs(run, "pick"), PATIENCE, "pick to get on")
    for process in processes(run):
        os.kill(process.pid, signal.SIGKILL)
    thread.join(60)
    assert run_of(RunKind.REWARD).attempts == 1, "a finished stage is progress"


@pytest.mark.parametrize("stage", ["gather", "pick"])
def test_cancelling_stops_the_stage_and_starts_no_other(
    bob: User, run: TrainingRun, behave: Callable[[str], None], stage: str
) -> None:
    behave(f"hang {stage}")
    thread = in_thread(run.id)
    try:
        eventually(hangs(run, stage), PATIENCE, f"{stage} to get on")
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, run.id))
    finally:
        thread.join(60)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    assert not processes(run)
    assert len(starts(run)) == ["gather", "pick"].index(stage) + 1
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run.id))
    behave("")
    run_training(run.id)
    is_whole(run, stage)


@pytest.mark.parametrize("ended_by", ["cancel", "shutdown", "takeover"])
def test_between_two_stages_a_run_stops_as_it_does_within_one(
    bob: User, run: TrainingRun, monkeypatch: pytest.MonkeyPatch, ended_by: str
) -> None:
    asked = threading.Event()
    check = stages._check

    def end_first(claim: Claim, stage: Stage) -> Failure | None:
        if ended_by == "cancel":
            with session_scope() as session:
                service.cancel(session, bob, session.get_one(TrainingRun, claim.run_id))
        elif ended_by == "shutdown":
            asked.set()
        else:
            pretend_silence(run.id)
            advance_round()
        return check(claim, stage)

    monkeypatch.setattr(stages, "_check", end_first)
    monkeypatch.setattr(stopping, "requested", asked.is_set)
    run_training(run.id)
    assert starts(run) == ["gather begins behind line 0"]
    found = run_of(RunKind.REWARD)
    assert found.state is (RunState.CANCELLED if ended_by == "cancel" else RunState.QUEUED)
    if ended_by == "shutdown":
        assert found.attempts == 0


# ── Failures say which stage, why and what to do ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        ("exit gather", "no room left for gathered.txt", "then retry gathering"),
        ("exit pick", "no room left for picked.txt", "resumes from its last saved step"),
        ("crash gather", "“gather” ended with status 1. RuntimeError: gather has no idea", "Read below, then retry."),
        ("nothing gather", "“gather” finished without an error, but did not write", "Read below, then retry."),
    ],
)
def test_a_stage_that_fails_names_itself_and_its_own_remedy(
    run: TrainingRun, behave: Callable[[str], None], fault: str, error: str, remedy: str
) -> None:
    behave(fault)
    run_training(run.id)
    found = run_of(RunKind.REWARD)
    assert found.state is RunState.FAILED
    assert error in (found.error or "")
    assert remedy in (found.remedy or "")
    assert round_states() == [RoundState.COLLECTING]
    assert said(run.id) == [], "nothing was trained on half of it"


def test_a_stage_whose_input_is_gone_says_which(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PLAN", (replace(GATHER, needs=("gone.txt",)), *PLAN[1:]))
    run_training(run.id)
    found = run_of(RunKind.REWARD)
    assert re.search(r"“gather” needs .*gone\.txt, which does not exist", found.error or "")
    assert not (folder_of(run) / "log.txt").exists()


def test_a_gate_refuses_what_a_stage_made_before_the_next_one_builds_on_it(
    bob: User, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three_lines_are_too_few(made: Made) -> None:
        raise NotPromotable(f"{made.path.name} counts three lines only.")

    monkeypatch.setattr(plan, "PLAN", (replace(GATHER, gates=(three_lines_are_too_few,)), *PLAN[1:]))
    run_training(run.id)
    found = run_of(RunKind.REWARD)
    assert "three lines only" in (found.error or "")
    assert "kept as gathered.txt.done.refused-1" in (found.remedy or "")
    assert starts(run) == ["gather begins behind line 0"]
    monkeypatch.setattr(plan, "PLAN", PLAN)
    with session_scope() as session:
        service.retry(session, bob, session.get_one(TrainingRun, run.id))
    run_training(run.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert starts(run)[1] == "gather begins behind line 3"


# ── The plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", list(RunKind))
def test_every_stage_of_a_round_gets_what_it_needs(kind: RunKind) -> None:
    found = plan.stages_of(kind)
    known = set(plan.GIVEN) - {CHECKPOINT}
    for stage in found:
        assert set(stage.needs) <= known, f"{stage.name} needs what nobody has made before it"
        if stage.told:
            known.add(stage.settings_file)
        asked_for = {part[1:-1] for part in stage.command if part.startswith("{")} | set(stage.told.values())
        into = {made.partition("/")[0] for made in stage.makes} | {"events.jsonl"}
        beside = {name for name in asked_for if any(made.startswith(f"{name.partition('/')[0]}/") for made in known)}
        assert asked_for - beside <= known | set(stage.makes) | into, f"{stage.name} names what is not there"
        assert importlib.util.find_spec(stage.command[0]), f"{stage.name} has no command"
        known |= set(stage.makes)
    assert kind is RunKind.CHECK or CHECKPOINT in found[-1].makes
    names = [stage.name for stage in plan.PLAN]
    assert len(names) == len(set(names))


def test_a_round_samples_and_chooses_only_where_samples_are_asked_for() -> None:
    settings = get_settings()
    with_samples = settings.model_copy(update={"training_samples": 4})
    assert plan.chain(settings.model_copy(update={"training_samples": 0})) == [RunKind.REWARD, RunKind.DPO]
    assert plan.chain(with_samples) == [RunKind.REWARD, RunKind.SFT, RunKind.DPO]
    named = [stage.name for stage in plan.stages_of(RunKind.SFT)]
    assert named == ["sample", "correct", "judge", "solve", "choose", "imitate"]


SAMPLED = {"samples.jsonl", "samples.report.json"}
CORRECTED = {"corrections.jsonl", "corrections.report.json"}


@pytest.mark.parametrize(
    ("there", "names"),
    [
        (set(), ["sample", "correct", "choose", "imitate"]),
        ({"samples.jsonl"}, ["sample", "correct", "choose", "imitate"]),
        (SAMPLED, ["correct", "choose", "imitate"]),
        (SAMPLED | {"corrections.jsonl"}, ["correct", "choose", "imitate"]),
        (SAMPLED | CORRECTED, ["choose", "imitate"]),
        (SAMPLED | CORRECTED | {"verified.jsonl", "sft.jsonl"}, ["imitate"]),
        (SAMPLED | CORRECTED | {"verified.jsonl", "sft.jsonl", CHECKPOINT}, ["imitate"]),
        ({"samples.report.json", "sft.jsonl"}, ["sample", "correct", "choose", "imitate"]),
    ],
)
def test_a_run_resumes_at_its_first_unfinished_stage(there: set[str], names: list[str]) -> None:
    stages = [stage for stage in plan.stages_of(RunKind.SFT) if stage.only_with is None]
    assert [stage.name for stage in left(stages, there.__contains__)] == names


def test_only_stages_that_ask_the_installation_know_its_secrets() -> None:
    named = [stage.name for stage in plan.PLAN if stage.knows_installation]
    assert named == ["sample", "correct", "judge", "solve", "judge-policy", "judge-average", "baseline"]
