"""A run and the store: what a host needs comes before its first stage, and what it makes goes before anybody is told of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.accounts.models import User
from app.kernel import store
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.registry.models import Checkpoint
from app.rounds import endings, queries
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.rounds.conftest import pretend_silence, run_of, said, steps_of
from workers.tasks.rounds import run_training
from workers.training import moving, stages
from workers.training.process import EventTail

Host = Callable[[str], None]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the store."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    monkeypatch.setenv("CORRAL_STORE", folder.as_uri())
    get_settings.cache_clear()
    monkeypatch.setattr(store, "PAUSES", (0.05,))
    monkeypatch.setattr(store, "BRIEFLY", (0.05,))
    return folder


@pytest.fixture
def run(bucket: Path, queued: TrainingRun, fake_training: Callable[[str], None]) -> TrainingRun:
    """The reward run of a training, due, on the first host, with its snapshot in the store."""
    return queued


@pytest.fixture
def host(run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Be another host from now on, with a data folder of its own."""

    def be(name: str) -> None:
        monkeypatch.setenv("CORRAL_DATA_DIR", str(tmp_path / name))
        get_settings.cache_clear()

    yield be
    monkeypatch.undo()
    get_settings.cache_clear()


def die_before_it_is_registered(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, push, and say nothing more; then the run is given to others."""
    with monkeypatch.context() as patched:
        patched.setattr(stages, "settle", lambda *_: None)
        run_training(run.id)
    pretend_silence(run.id)
    with session_scope() as session:
        assert endings.release_silent(session) == 1


def test_hosts_take_turns_in_a_round_and_each_checkpoint_is_where_it_is_needed(run: TrainingRun, host: Host) -> None:
    for name, kind in (("one", RunKind.REWARD), ("two", RunKind.DPO), ("three", RunKind.CHECK)):
        host(name)
        assert not get_settings().data_dir.exists()
        run_training(run_of(kind).id)
        ended = run_of(kind)
        assert ended.state is RunState.SUCCEEDED, f"{ended.error}\n{ended.log_tail}"
    assert len(list(get_settings().checkpoints_dir.glob("[a-z]*"))) == 2, "the third measures what the others made"
    with session_scope() as session:
        checkpoint = session.get_one(Checkpoint, run_of(RunKind.DPO).checkpoint_id)
        assert checkpoint.path == checkpoint.name, "no path of a host"


def test_what_was_trained_and_not_registered_is_not_trained_again(
    run: TrainingRun, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("one")
    die_before_it_is_registered(run, monkeypatch)
    trained = len(steps_of(run.id))
    host("two")
    run_training(run.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED
    assert len(steps_of(run.id)) == trained


def test_events_go_on_with_the_number_after_those_of_the_other_host(
    run: TrainingRun, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("one")
    die_before_it_is_registered(run, monkeypatch)
    before = said(run.id)
    shutil.rmtree(next(get_settings().checkpoints_dir.glob("reward-*")))
    store.forget(get_settings().checkpoints_dir)  # so that the other trains
    host("two")
    run_training(run.id)
    after = said(run.id)
    assert after[: len(before)] == before
    assert len(after) > len(before), "what the other host said is not lost"
    file = get_settings().run_dir(run.id) / "events.jsonl"
    with session_scope() as session:
        stored = [(each.seq, each.event, each.step) for each in queries.events(session, run.id)]
    assert [(each.seq, each.event, each.step) for each in EventTail(file).read()] == stored


def test_a_store_that_is_away_fails_a_run_with_the_reason_and_a_retry_goes_on(
    run: TrainingRun, host: Host, bucket: Path
) -> None:
    host("one")
    bucket.rename(bucket.with_name("away"))
    run_training(run.id)
    failed = run_of(RunKind.REWARD)
    assert failed.state is RunState.FAILED
    assert "The store at file:///" in (failed.error or "")
    assert "does not answer" in (failed.error or "")
    assert "retry" in (failed.remedy or "")
    bucket.with_name("away").rename(bucket)
    with session_scope() as session:
        endings.queue_again(session.get_one(TrainingRun, run.id))
    run_training(run.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED


def test_what_a_gate_refuses_is_not_in_the_store(
    run: TrainingRun, host: Host, fake_training: Callable[[str], None]
) -> None:
    fake_training("reversed")
    host("one")
    run_training(run.id)
    assert run_of(RunKind.REWARD).refused
    assert store.below(get_settings().checkpoints_dir) == set()


def test_the_newest_states_are_kept_and_older_ones_go(
    run: TrainingRun, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("one")
    folder = get_settings().run_dir(run.id) / moving.STATES
    pushing = moving.StatePusher.__new__(moving.StatePusher)
    pushing._folder, pushing._pushed = folder, -1
    for step in (2, 4, 10, 12):
        state = folder / f"checkpoint-{step}"
        state.mkdir(parents=True)
        (state / "manifest.json").write_text(f'{{"step": {step}}}')
        pushing._push(state)
    assert store.below(folder) == {"checkpoint-10", "checkpoint-12"}


def test_a_snapshot_in_the_store_goes_when_a_person_in_it_is_erased(
    run: TrainingRun, host: Host, alice: User, bob: User, messages: list[tuple[Job, int]]
) -> None:
    from app.annotations.models import RetractionScope
    from app.lineage import erasing, service

    host("one")
    run_training(run.id)
    copies = get_settings().snapshots_dir
    assert store.below(copies)
    assert list(copies.glob("snapshot-*"))
    with session_scope() as session:
        for each in session.query(TrainingRun):
            each.state, each.error = (each.state, each.error) if each.checkpoint_id else (RunState.FAILED, "ended")
        service.retract(session, bob, RetractionScope.PERSON, alice.id, "They asked for it", erase=True)
    with session_scope() as session:
        erasing.remove_files(session)
    assert store.below(copies) == set()
    assert list(copies.glob("snapshot-*")) == []
