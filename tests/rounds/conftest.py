"""A collecting round with enough to train on, really committed, and the stand-in for training."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from app.accounts.models import Role, User
from app.db import session_scope
from app.jobs import Job
from app.preferences.models import Snapshot, SnapshotState
from app.prompts.content import Split, split_of
from app.rounds.models import RunKind, TrainingRun
from app.settings import get_settings
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user
from workers import trainer


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

    monkeypatch.setattr("app.jobs.ring", note)
    return rung


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs the stand-in instead of ``training``; call it with the fault it is to have."""
    monkeypatch.setattr(trainer, "MODULES", dict.fromkeys(RunKind, "tests.rounds.fake_training"))

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
def annotated(alice: User) -> None:
    """Ten trainable pairs, two held out, and a base model to start from."""
    annotate(alice, 10)


def build_snapshots() -> None:
    """What the control worker does with the messages of a start."""
    from workers.snapshots import build_snapshot

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


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look again until it holds; fail by name when it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.05)
