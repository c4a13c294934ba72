"""While a training has the GPU the engine sleeps, and whatever ends the training wakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.settings import Settings, get_settings
from app.rounds import endings, plan, service
from app.rounds.models import RunKind, RunState, TrainingRun
from tests.fake_engine import FakeEngine, write_tiny_model
from tests.patience import PATIENCE, eventually
from tests.rounds.conftest import in_thread, pretend_silence, run_of
from workers.engines import openai, sleeping
from workers.engines.protocol import Ask, EngineAway
from workers.tasks import serving
from workers.tasks.rounds import run_training
from workers.training import sleep, stages
from workers.training.process import StageProcess

Behave = Callable[[str], None]
SLEPT_AND_WOKEN = ["/sleep?level=1&mode=wait", "/wake_up"]


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """The engine of this installation, which shares its GPU with training."""
    with FakeEngine().running() as engine:
        monkeypatch.setenv("CORRAL_ENGINE_URL", engine.url)
        monkeypatch.setenv("CORRAL_ENGINE_SLEEPS", "true")
        monkeypatch.setattr(stages, "REPORT_SECONDS", 0.2)
        monkeypatch.setattr(StageProcess.stop, "__defaults__", (1.0,))
        get_settings.cache_clear()
        yield engine
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("fault", "state"),
    [("", RunState.SUCCEEDED), ("crash", None), ("bad-data", RunState.FAILED), ("nan", RunState.FAILED)],
)
def test_it_sleeps_before_a_training_and_wakes_behind_it(
    sleeper: FakeEngine, queued: TrainingRun, fake_training: Behave, fault: str, state: RunState | None
) -> None:
    fake_training(fault)
    run_training(queued.id)
    assert state in {None, run_of(RunKind.REWARD).state}
    assert sleeper.told == SLEPT_AND_WOKEN
    assert not sleeper.asleep


@pytest.mark.faults
def test_a_cancelled_training_wakes_it_and_it_slept_till_then(
    sleeper: FakeEngine, bob: User, queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("hang")
    thread = in_thread(queued.id)
    try:
        eventually(lambda: run_of(RunKind.REWARD).step == 3, PATIENCE, "three steps")
        assert sleeper.asleep
        with session_scope() as session:
            service.cancel(session, bob, session.get_one(TrainingRun, queued.id))
    finally:
        thread.join(PATIENCE)
    assert run_of(RunKind.REWARD).state is RunState.CANCELLED
    assert sleeper.told == SLEPT_AND_WOKEN


def test_an_engine_that_does_not_sleep_keeps_no_training_from_its_work(
    sleeper: FakeEngine, queued: TrainingRun, fake_training: Behave
) -> None:
    fake_training("")
    sleeper.stop()
    run_training(queued.id)
    assert run_of(RunKind.REWARD).state is RunState.SUCCEEDED


def test_who_does_not_ask_for_it_has_an_engine_that_stays_awake(
    sleeper: FakeEngine, queued: TrainingRun, fake_training: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_ENGINE_SLEEPS", "false")
    get_settings.cache_clear()
    fake_training("")
    run_training(queued.id)
    assert sleeper.told == []


def test_stages_that_ask_the_engine_leave_it_awake(sleeper: FakeEngine) -> None:
    names = {stage.name for stage in plan.PLAN if sleep.has_engine_sleep(stage)}
    assert {"reward", "imitate", "policy", "measure-policy"} <= names
    assert not names & {"sample", "correct", "judge", "solve", "judge-policy"}
    assert sleeper.told == []


def test_the_reconciler_wakes_what_a_killed_worker_left_asleep(sleeper: FakeEngine, queued: TrainingRun) -> None:
    settings = get_settings()
    sleeper.asleep = True
    with session_scope() as session:
        session.get_one(TrainingRun, queued.id).state = RunState.RUNNING
    asyncio.run(serving.reconcile(settings))
    assert sleeper.asleep, "its training may go on"
    pretend_silence(queued.id)
    with session_scope() as session:
        endings.release_silent(session)
    assert run_of(RunKind.REWARD).state is RunState.QUEUED
    asyncio.run(serving.reconcile(settings))
    assert sleeper.told == ["/wake_up"]


def test_who_asks_a_sleeping_engine_hears_why_nobody_answers(sleeper: FakeEngine, tmp_path: Path) -> None:
    sleeper.asleep = True
    base = str(write_tiny_model(tmp_path / "base"))

    async def ask(settings: Settings) -> None:
        engine = openai.OpenAIEngine(settings)
        try:
            with pytest.raises(EngineAway, match="sleeps while a training uses its GPU"):
                await engine.probe()
            with pytest.raises(EngineAway, match="sleeps while a training uses its GPU"):
                await engine.sample(Ask([{"role": "user", "content": "Hello"}], None, None, 1, 5, {}))
        finally:
            await engine.aclose()

    asyncio.run(ask(get_settings().model_copy(update={"engine_timeout": 0.5, "base_model": base})))


def test_an_engine_that_knows_no_sleep_does_not_sleep(sleeper: FakeEngine) -> None:
    sleeper.stop()
    assert not asyncio.run(sleeping.any_sleeps(get_settings()))
    [error] = asyncio.run(sleeping.tell(get_settings(), sleeping.WAKE)).values()
    assert "engine" in error.lower()
