"""Hosts that share a database and a store, and no disk.

A host is a process in a mount namespace of its own, in which an empty disk lies where the first host has its data folder: what it
has of the others' files came through the store.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.kernel import store
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import ROOT, get_settings
from app.registry import service as registry
from app.registry.manifest import verify
from app.registry.models import Checkpoint, CheckpointKind, LoadState
from app.registry.served import published
from app.rounds import claims, endings, queries, service
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.fake_engine import FakeEngine
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import (  # noqa: F401 - fixtures
    alice,
    annotated,
    bob,
    build_snapshots,
    messages,
    pretend_silence,
    run_of,
    said,
)
from tests.training.conftest import tiny_base  # noqa: F401 - a fixture
from workers.tasks.serving import reconcile_serving
from workers.training import stages

STEPS, SAVED_EACH, STAYS_AT = 8, 2, 5
EMPTY_DISK = 'mount -t tmpfs corral "$0" && exec "$@"'


def namespaced() -> list[str]:
    """The words that start a command in a mount namespace of its own; none where the machine gives no such thing."""
    for words in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        tried = [*words, "sh", "-c", EMPTY_DISK, str(ROOT / "docs"), "true"]
        if shutil.which("unshare") and subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return words
    return []


NAMESPACED = namespaced()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NAMESPACED, reason="this machine gives no mount namespaces (unshare --mount)"),
]


@contextmanager
def host(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process on a host with an empty disk; killed at the end, with all that it started."""
    module = [sys.executable, "-m", "tests.flows.other_host", *words]
    command = [*NAMESPACED, "sh", "-c", EMPTY_DISK, str(get_settings().data_dir), *module]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def kill(process: subprocess.Popen[bytes]) -> None:
    """The host's power goes: nothing on it says a word more."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for each in (process, *children):
        each.kill()
    psutil.wait_procs(children, timeout=PATIENCE)


def work(run: TrainingRun) -> None:
    """Another host trains a run to its end."""
    with host("work", str(run.id)) as process:
        _, words = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, words.decode()[-3000:]


def losses(run_id: int) -> dict[int, float]:
    """The loss of each step, as it was reported last."""
    with session_scope() as session:
        steps = [each for each in queries.events(session, run_id) if each.event == "step"]
        return {each.step or 0: each.values["metrics"]["loss"] for each in steps}


def settle(run: TrainingRun) -> None:
    """Let a queued run be short, and save its state often."""
    with session_scope() as session:
        there = session.get_one(TrainingRun, run.id)
        short = {"optim": {"max_steps": STEPS}, "checkpointing": {"save_steps": SAVED_EACH}}
        there.config = there.config | {"run": there.config["run"] | short}


def again(run: TrainingRun) -> TrainingRun:
    """The same run once more, under another name."""
    with session_scope() as session:
        told = session.get_one(TrainingRun, run.id).config
        twin = TrainingRun(
            round_id=run.round_id,
            kind=run.kind,
            snapshot_id=run.snapshot_id,
            after_run_id=run.after_run_id,
            config=told | {"run": told["run"] | {"name": f"{told['run']['name']}-twin"}},
        )
        session.add(twin)
        session.flush()
        return twin


@pytest.fixture
def queued(
    bob: User,  # noqa: F811
    annotated: None,  # noqa: F811
    messages: list[tuple[Job, int]],  # noqa: F811
    tiny_base: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Sequence[TrainingRun]]:
    """A training that was started on the first host, which has base and snapshot and trains nothing."""
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    monkeypatch.setenv("CORRAL_STORE", bucket.as_uri())
    get_settings.cache_clear()
    base_folder = get_settings().models_dir / "tiny"
    shutil.copytree(tiny_base, base_folder)
    store.push(base_folder)
    with session_scope() as session:
        base = session.scalars(select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE)).one()
        base.path = get_settings().name_of(base_folder)
        service.start_training(session, bob)
    build_snapshots()
    runs = [run_of(kind) for kind in (RunKind.REWARD, RunKind.DPO)]
    for run in runs:
        settle(run)
    yield runs
    shutil.rmtree(base_folder)


def test_a_run_that_dies_with_its_host_goes_on_at_another_to_the_same_losses(
    queued: Sequence[TrainingRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward, policy = queued
    work(reward)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED, run_of(RunKind.REWARD).log_tail

    states = get_settings().run_dir(policy.id) / "trainer"
    with host("work", str(policy.id), str(STAYS_AT)) as process:
        eventually(lambda: "checkpoint-4" in store.below(states), PATIENCE, "the second state in the store")
        eventually(lambda: max(losses(policy.id), default=0) == STAYS_AT, PATIENCE, "the report of the last step")
        kill(process)
    assert run_of(RunKind.DPO).state is RunState.RUNNING
    assert not states.exists(), "the first host has nothing of it"
    pretend_silence(policy.id)
    with session_scope() as session:
        assert endings.release_silent(session) == 1

    work(policy)
    run = run_of(RunKind.DPO)
    assert run.state is RunState.SUCCEEDED, f"{run.error}\n{run.log_tail}"
    assert said(policy.id).count("resumed") == 1
    with session_scope() as session:
        resumed = next(each for each in queries.events(session, policy.id) if each.event == "resumed")
    assert resumed.step == 4
    assert store.below(states) == set(), "nobody resumes what is finished"

    checkpoint = served(run, tmp_path, monkeypatch)
    verify(checkpoint.folder, manifest_sha256=checkpoint.manifest_sha256)

    with session_scope() as session:
        undisturbed = claims.claim(session, again(policy).id)
    assert undisturbed is not None
    stages.run(undisturbed)
    there = losses(undisturbed.run_id)
    assert list(there) == list(range(1, STEPS + 1))
    assert all(math.isclose(losses(policy.id)[step], there[step], rel_tol=1e-6) for step in there), (
        losses(policy.id),
        there,
    )


def served(run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """The first host, which has no file of it, serves what another has trained."""
    with session_scope() as session:
        checkpoint = session.get_one(Checkpoint, run.checkpoint_id)
        assert not checkpoint.folder.exists()
        registry.challenge(session, checkpoint)
    engine = FakeEngine(model=get_settings().models_dir / "tiny")
    with engine.running():
        monkeypatch.setenv("CORRAL_ENGINE_URL", engine.url)
        get_settings.cache_clear()
        engine.resolves = get_settings().served_dir
        reconcile_serving()
    assert checkpoint.name in published(get_settings().served_dir)
    with session_scope() as session:
        there = {each.checkpoint.name: each.load_state for each in registry.in_rotation(session)}
    assert there[checkpoint.name] is LoadState.LOADED
    return checkpoint
