"""A snapshot is absent or complete, whatever ends its builder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

import workers.tasks.snapshots
from app.kernel.db import get_engine, session_scope
from app.kernel.errors import Unavailable
from app.kernel.settings import get_settings
from app.preferences import freeze, service
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState
from tests.factories import make_annotation, make_user

KILL_POINTS = 20


@pytest.fixture
def asked(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Alice has judged three comparisons, and a snapshot of them was asked for."""
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)
    with session_scope() as session:
        alice = make_user(session, name="Alice")
        for _ in range(3):
            make_annotation(session, alice)
        return service.request_snapshot(session, None, ExportFilter())


def folder() -> Path:
    return get_settings().snapshots_dir


def state_of(snapshot: Snapshot) -> SnapshotState:
    with session_scope() as session:
        return session.get_one(Snapshot, snapshot.id).state


def is_complete(path: Path) -> bool:
    manifest = json.loads((path / "manifest.json").read_text())
    rows = (path / "preferences.jsonl").read_bytes()
    return bool(hashlib.sha256(rows).hexdigest() == manifest["sha256"] and len(rows.splitlines()) == manifest["rows"])


def build_in_child(snapshot_id: int, kill_at: int) -> bool:
    """Build in a forked process that kills itself at its ``kill_at``-th step; whether it came to the end alive."""
    child = os.fork()
    if child == 0:
        get_engine().dispose(close=False)  # the parent's connections stay the parent's
        get_engine.cache_clear()
        die_at_step(kill_at)
        workers.tasks.snapshots.build_snapshot(snapshot_id)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    wait_until_postgresql_noticed(snapshot_id)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def wait_until_postgresql_noticed(snapshot_id: int) -> None:
    """Take the row's lock once. The server ends a killed client's transaction when it comes to it, and until then another
    builder rightly leaves the snapshot alone."""
    with session_scope() as session:
        session.get_one(Snapshot, snapshot_id, with_for_update=True)


def die_at_step(kill_at: int) -> None:
    """SIGKILL this process at its n-th file operation under the snapshots, sync or commit."""
    steps = 0

    def step(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_audit(name: str, args: tuple[Any, ...]) -> None:
        if name in {"open", "os.mkdir", "os.rename", "shutil.rmtree"} and str(folder()) in str(args[0]):
            step()

    sync = os.fsync

    def counted_sync(fd: Any) -> None:
        step()
        sync(fd)

    os.fsync = counted_sync
    sys.addaudithook(on_audit)
    event.listen(Session, "before_commit", step)
    event.listen(Session, "after_commit", step)


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_builder_killed_at_any_step_leaves_no_snapshot_or_a_whole_one(asked: Snapshot) -> None:
    path = folder() / asked.name
    for kill_at in range(1, KILL_POINTS + 20):
        if build_in_child(asked.id, kill_at):
            break
        if state_of(asked) is SnapshotState.READY:
            assert is_complete(path)
        elif path.exists():
            assert is_complete(path), f"half a snapshot after step {kill_at}"
        with session_scope() as session:
            lineage = session.scalars(select(SnapshotAnnotation.annotation_id)).all()
        assert len(lineage) == (3 if state_of(asked) is SnapshotState.READY else 0)
    else:
        pytest.fail("the builder never came to the end")
    assert kill_at > 10, "the kills must hit the building"
    assert state_of(asked) is SnapshotState.READY
    assert is_complete(path)
    assert [entry.name for entry in folder().iterdir() if entry.name.startswith(".")] == []


def test_two_builders_at_once_build_it_once(asked: Snapshot) -> None:
    with session_scope() as first:
        claimed = service.claim_snapshot(first, asked.id)
        assert claimed is not None
        with session_scope() as second:
            assert service.claim_snapshot(second, asked.id) is None
        service.build_snapshot(first, claimed)
    before = (folder() / asked.name / "preferences.jsonl").stat().st_mtime_ns
    workers.tasks.snapshots.build_snapshot(asked.id)
    assert (folder() / asked.name / "preferences.jsonl").stat().st_mtime_ns == before


def test_a_disk_that_is_too_full_is_refused_before_anything_is_written(
    asked: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "RESERVE_BYTES", 1 << 60)
    workers.tasks.snapshots.build_snapshot(asked.id)
    with session_scope() as session:
        found = session.get_one(Snapshot, asked.id)
    assert found.state is SnapshotState.FAILED
    assert "Free some space" in (found.error or "")
    assert list(folder().glob(f"*{asked.name}*")) == []


def test_a_disk_that_runs_full_fails_by_name_and_leaves_nothing(
    asked: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.preferences.freeze.os.fsync", full)
    with pytest.raises(Unavailable, match="filled up"), session_scope() as session:
        freeze.freeze(session, ExportFilter(), folder() / asked.name)
    assert list(folder().glob(f"*{asked.name}*")) == []


def test_an_unexpected_failure_is_recorded_and_not_retried_for_ever(
    asked: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a row that cannot be written")

    monkeypatch.setattr(freeze, "freeze", broken)
    workers.tasks.snapshots.build_snapshot(asked.id)
    with session_scope() as session:
        assert session.get_one(Snapshot, asked.id).error == "ValueError: a row that cannot be written"
