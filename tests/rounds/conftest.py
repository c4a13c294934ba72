"""A collecting round with enough to train on, really committed, and the stand-in for training."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState, Verdict
from app.preferences.models import Snapshot, SnapshotState
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind
from app.rounds import plan, queries, service
from app.rounds.models import Contest, RunKind, TrainingRun
from app.rounds.plan import Stage
from tests.factories import make_annotation, make_batch, make_checkpoint, make_comparison, make_prompt, make_user
from training.formats.prompts import Split, split_of
from workers.tasks.rounds import run_training
from workers.training import stages


@pytest.fixture(autouse=True)
def folders(data_dir: Path) -> Iterator[None]:
    """Each test has its own run numbers again, so what lies under them goes."""
    yield
    for name in ("runs", "snapshots", "checkpoints"):
        shutil.rmtree(data_dir / name, ignore_errors=True)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, int]]:
    """What was rung, in order; nothing is sent."""
    rung: list[tuple[Job, int]] = []

    def note(job: Job, row_id: int = 0) -> bool:
        rung.append((job, row_id))
        return True

    monkeypatch.setattr("app.kernel.jobs.ring", note)
    return rung


def faked(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The trainings and the measurements of a plan, each by its stand-in."""
    return tuple(
        replace(stage, command=("tests.rounds.fake_training", "{run.toml}"))
        if plan.CHECKPOINT in stage.makes
        else replace(
            stage, command=(f"tests.rounds.fake_{stage.command[0].rpartition('.')[2]}", f"{{{stage.settings_file}}}")
        )
        for stage in stages
        if plan.CHECKPOINT in stage.makes or stage.run is RunKind.CHECK
    )


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs the stand-in instead of ``training``; call it with the fault it is to have."""
    monkeypatch.setattr(plan, "PLAN", faked(plan.PLAN))

    def behave(fault: str) -> None:
        monkeypatch.setenv("FAKE_TRAINING", fault)

    return behave


def question(number: int, side: Split) -> str:
    """The ``number``-th question on this side of the split."""
    percent = get_settings().held_out_percent
    texts = (f"What is {n} plus {n}?" for n in range(100_000))
    fitting = (t for t in texts if split_of(hashlib.sha256(t.encode()).digest(), percent) is side)
    return next(text for place, text in enumerate(fitting) if place == number)


def annotate(alice: User, count: int, *, held_out: int = 2, first: int = 0) -> None:
    """Alice judges ``count`` comparisons of two on training prompts and ``held_out`` others, all "better"."""
    with session_scope() as session:
        batch = make_batch(session)
        for side, number in ((Split.TRAIN, count), (Split.HELD_OUT, held_out)):
            for place in range(first, first + number):
                prompt = make_prompt(session, batch, question(place, side))
                make_annotation(session, alice, make_comparison(session, prompt=prompt), strengths=[3])


@pytest.fixture
def bob(committed: Engine) -> User:
    with session_scope() as session:
        return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(committed: Engine) -> User:
    with session_scope() as session:
        return make_user(session, name="Alice")


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def base(session: Session) -> Checkpoint:
    return make_checkpoint(session, "zebra-base", CheckpointKind.BASE)


@pytest.fixture
def annotated(alice: User) -> None:
    """Ten trainable pairs, two held out, and a base model that is the champion."""
    annotate(alice, 10)
    with session_scope() as session:
        registry.ensure_rotation(session)


def build_snapshots() -> None:
    """What the control worker does with the messages of a start."""
    from workers.tasks.snapshots import build_snapshot

    with session_scope() as session:
        waiting = session.scalars(select(Snapshot.id).where(Snapshot.state == SnapshotState.BUILDING)).all()
    for snapshot_id in waiting:
        build_snapshot(snapshot_id)


def run_of(kind: RunKind) -> TrainingRun:
    """The newest run of ``kind`` as it stands in the database."""
    with session_scope() as session:
        found = session.scalar(select(TrainingRun).where(TrainingRun.kind == kind).order_by(TrainingRun.id.desc()))
        assert found is not None
        return found


@pytest.fixture
def queued(bob: User, annotated: None, messages: list[tuple[Job, int]]) -> TrainingRun:
    """The reward run of a training that Bob has started, due."""
    with session_scope() as session:
        service.start_training(session, bob)
    build_snapshots()
    return run_of(RunKind.REWARD)


def round_states() -> list[RoundState]:
    """Of every round, oldest first."""
    with session_scope() as session:
        return list(session.scalars(select(Round.state).order_by(Round.number)))


def steps_of(run_id: int) -> list[int]:
    """The steps that ``run_id`` reported."""
    with session_scope() as session:
        return [event.step or 0 for event in queries.events(session, run_id) if event.event == "step"]


def said(run_id: int) -> list[str]:
    """The names of all its events."""
    with session_scope() as session:
        return [event.event for event in queries.events(session, run_id)]


def pretend_silence(run_id: int) -> None:
    """The worker last reported an hour ago."""
    with session_scope() as session:
        session.execute(
            text("UPDATE training_runs SET heartbeat_at = now() - interval '1 hour' WHERE id = :id"), {"id": run_id}
        )


def in_thread(run_id: int) -> threading.Thread:
    """A worker of its own for ``run_id``."""
    thread = threading.Thread(target=run_training, args=(run_id,))
    thread.start()
    return thread


def training_processes(run_id: int) -> list[psutil.Process]:
    """The stand-ins that run for ``run_id``."""
    folder = str(get_settings().runs_dir / f"run-{run_id}")
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        stands_in = {"tests.rounds.fake_training", "tests.rounds.fake_evaluate"} & set(command)
        if stands_in and any(folder in part for part in command):
            found.append(process)
    return found


def train() -> None:
    """What the training worker does of a started round, up to its check."""
    for kind in (RunKind.REWARD, RunKind.DPO):
        run_training(run_of(kind).id)


def check() -> None:
    """The check of a round whose trainings have succeeded."""
    run_training(run_of(RunKind.CHECK).id)


@pytest.fixture
def trained(queued: TrainingRun, fake_training: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    """The run that checks what was trained, due."""
    monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
    train()
    return run_of(RunKind.CHECK)


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the measurement find something, as ``fake_evaluate`` knows it."""
    return lambda faults: monkeypatch.setenv("FAKE_EVALUATION", faults)


def next_round(bob: User, alice: User) -> None:
    """Alice judges more, and a second round trains."""
    annotate(alice, 10, held_out=0, first=50)
    with session_scope() as session:
        service.start_training(session, bob)
    build_snapshots()
    train()


@pytest.fixture
def second(
    bob: User, alice: User, trained: TrainingRun, messages: list[tuple[Job, int]], find: Callable[[str], None]
) -> Callable[[str], list[RoundState]]:
    """Promotes the first policy, trains a second round, and checks it with what is to be found."""
    check()
    with session_scope() as session:
        first = session.get_one(Checkpoint, run_of(RunKind.DPO).checkpoint_id)
        registry.crown(session, first)
        for contest in session.scalars(select(Contest)):
            contest.verdict, contest.closed_at = Verdict.PROMOTED, func.now()
        ended = session.scalars(select(Round).where(Round.number == 1)).one()
        ended.state, ended.completed_at, ended.verdict = RoundState.COMPLETE, func.now(), Verdict.PROMOTED

    def go_on(faults: str) -> list[RoundState]:
        next_round(bob, alice)
        find(faults)
        check()
        return round_states()

    return go_on
