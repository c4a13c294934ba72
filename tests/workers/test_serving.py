"""The reconciler against a fake engine: the engine's adapters become the desired state in the database, whatever happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointState, Deployment, EngineState, LoadState
from app.registry.queries import EngineView, engine_view
from app.registry.served import published
from tests import generating
from tests.engine_faults import Mode
from tests.fake_engine import FakeEngine
from tests.generating import counts, open_batch, register_policy, serve_base, settings_for
from workers.engines import openai as openai_engine
from workers.engines import wire
from workers.tasks.generation import generate
from workers.tasks.serving import alone, reconcile_serving


def sampled() -> set[str]:
    with session_scope() as session:
        return {deployment.checkpoint.name for deployment in registry.rotation(session)}


def engine_state(settings: Settings) -> EngineView:
    with session_scope() as session:
        return engine_view(session, settings.engine_url)


def promote(folder: Path) -> None:
    with session_scope() as session:
        generating.promote(session, register_policy(session, folder))


def challenge(folder: Path) -> None:
    with session_scope() as session:
        registry.challenge(session, register_policy(session, folder))


def base_is_desired(settings: Settings) -> None:
    with session_scope() as session:
        registry.ensure_base(session, settings.base_model_path)


def test_the_base_is_sampled_as_soon_as_the_engine_answers(settings: Settings, rung: list[Job]) -> None:
    base_is_desired(settings)
    assert sampled() == set()
    reconcile_serving()
    assert sampled() == {"tiny-base"}
    view = engine_state(settings)
    assert (view.state, view.version) == (EngineState.READY, "vllm 0.0-fake")
    assert Job.GENERATE in rung


def test_a_promoted_policy_is_loaded_by_its_name_and_sampled(
    settings: Settings, fake: FakeEngine, tmp_path: Path
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    found = settings.served_dir / "policy-r1"
    assert fake.adapters == {"policy-r1": str(found)}
    assert found.joinpath("adapter_model.safetensors").samefile(tmp_path / "policy-r1" / "adapter_model.safetensors")
    assert json.loads((found / "adapter_config.json").read_text())["base_model_name_or_path"] == str(fake.model)
    assert sampled() == {"tiny-base", "policy-r1"}
    asked = len(fake.asked)
    reconcile_serving()
    assert [each["model"] for each in fake.asked[asked:]] == ["base"], "what it lists is not probed again"


def test_the_next_batch_is_sampled_from_the_policy_and_says_so(settings: Settings, tmp_path: Path) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    with session_scope() as session:
        open_batch(session, ["Why?", "How?"])
    assert generate() == 2
    with session_scope() as session:
        names = session.scalars(select(Checkpoint.name).join(Candidate)).all()
    assert set(names) == {"tiny-base", "policy-r1"}
    assert len([name for name in names if name == "policy-r1"]) == 4, "half of each prompt's"
    assert counts()["candidates"] == 8


def test_a_flipped_byte_is_refused_and_the_previous_policy_stays_served(
    settings: Settings, fake: FakeEngine, tmp_path: Path
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    promote(tmp_path / "policy-r2")
    (tmp_path / "policy-r2" / "adapter_model.safetensors").write_bytes(b"weighus")
    reconcile_serving()
    assert sampled() == {"tiny-base", "policy-r1"}
    assert list(fake.adapters) == ["policy-r1"]
    with session_scope() as session:
        broken = session.scalars(select(Checkpoint).where(Checkpoint.name == "policy-r2")).one()
    assert broken.state is CheckpointState.BROKEN
    assert "adapter_model.safetensors has changed" in (broken.broken_reason or "")


def test_adapters_come_back_after_the_engine_restarts(settings: Settings, fake: FakeEngine, tmp_path: Path) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    fake.stop()
    reconcile_serving()
    away = engine_state(settings)
    assert away.state is EngineState.AWAY
    fake.start()
    assert fake.adapters == {}
    reconcile_serving()
    assert list(fake.adapters) == ["policy-r1"]
    assert sampled() == {"tiny-base", "policy-r1"}
    assert engine_state(settings).state is EngineState.READY


def test_an_engine_that_was_restarted_loads_what_it_is_asked_for(
    settings: Settings, fake: FakeEngine, tmp_path: Path
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    fake.adapters.clear()
    with session_scope() as session:
        open_batch(session, ["Why?"])
    assert generate() == 1
    assert list(fake.adapters) == ["policy-r1"]


def test_a_generation_whose_adapter_is_nowhere_counts_no_try(
    settings: Settings, fake: FakeEngine, tmp_path: Path, rung: list[Job]
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    fake.adapters.clear()
    shutil.rmtree(settings.served_dir)
    with session_scope() as session:
        open_batch(session, ["Why?"])
    rung.clear()
    assert generate() == 0
    assert counts()["pending"] == 1
    assert Job.RECONCILE_SERVING in rung


def test_an_engine_that_never_answered_is_starting_and_not_away(settings: Settings, fake: FakeEngine) -> None:
    fake.stop()
    reconcile_serving()
    assert engine_state(settings).state is EngineState.STARTING


@pytest.mark.slow
def test_an_engine_that_hangs_is_away_although_it_listens(
    settings: Settings, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_is_desired(settings)
    reconcile_serving()
    monkeypatch.setattr(openai_engine, "PROBE_TIMEOUT", 2.0)
    fake.fault(Mode.HANG)
    reconcile_serving()
    view = engine_state(settings)
    assert view.state is EngineState.AWAY
    assert "accepts connections but does not answer" in (view.error or "")


def test_a_second_reconciler_leaves_and_does_not_wait_for_an_engine_that_hangs(
    settings: Settings, fake: FakeEngine, committed: Engine
) -> None:
    base_is_desired(settings)
    with alone() as mine:
        assert mine
        reconcile_serving()
        assert fake.asked == []
    reconcile_serving()
    assert sampled() == {"tiny-base"}


def test_an_engine_that_hangs_over_an_adapter_is_not_waited_for(
    settings: Settings, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    fake.fault(Mode.HANG, match="policy-r1")
    with monkeypatch.context() as patched:
        patched.setattr(openai_engine, "ADAPTER_TIMEOUT", 0.2)
        reconcile_serving()
    with session_scope() as session:
        refused = session.scalars(select(Deployment).where(Deployment.load_state == LoadState.FAILED)).one()
    assert "did not answer within" in (refused.load_error or "")
    assert sampled() == {"tiny-base"}
    fake.heal()
    reconcile_serving()
    assert sampled() == {"tiny-base", "policy-r1"}


def test_what_is_no_longer_desired_is_unloaded(settings: Settings, fake: FakeEngine) -> None:
    base_is_desired(settings)
    fake.adapters["policy-r0"] = "/old"
    reconcile_serving()
    assert fake.adapters == {}


def test_round_after_round_the_champion_is_served_beside_the_one_before_and_the_base(
    settings: Settings, fake: FakeEngine, tmp_path: Path
) -> None:
    base_is_desired(settings)
    seen = []
    for name in ("policy-r1", "policy-r2", "policy-r3", "policy-r4"):
        promote(tmp_path / name)
        reconcile_serving()
        seen.append(sampled())
    assert seen[2:] == [{"tiny-base", "policy-r2", "policy-r3"}, {"tiny-base", "policy-r3", "policy-r4"}]
    reconcile_serving()
    assert sorted(fake.adapters) == ["policy-r3", "policy-r4"]


@pytest.fixture
def three(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of as many adapters as the engine holds."""
    settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), engine_adapters=3)
    return ["policy-0", "policy-1", "policy-2"]


def test_no_more_adapters_than_the_engine_was_started_for(
    settings: Settings, fake: FakeEngine, tmp_path: Path, three: list[str]
) -> None:
    with session_scope() as session:
        serve_base(session, settings)
        for number, name in enumerate(["policy-old", *three]):
            registry.deploy(session, register_policy(session, tmp_path / name, b"%d" % number))
    reconcile_serving()
    assert sorted(fake.adapters) == three
    with session_scope() as session:
        waiting = session.scalars(select(Deployment).where(Deployment.load_state == LoadState.PENDING)).one()
    assert "room for 3 adapters" in (waiting.load_error or "")
    reconcile_serving()
    assert sorted(fake.adapters) == three


def test_a_full_engine_still_takes_a_challenger(
    settings: Settings, fake: FakeEngine, tmp_path: Path, three: list[str]
) -> None:
    with session_scope() as session:
        serve_base(session, settings)
        for name in three:
            registry.deploy(session, register_policy(session, tmp_path / name))
    reconcile_serving()
    challenge(tmp_path / "policy-new")
    aside = (tmp_path / "policy-new").rename(tmp_path / "aside")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.registry.served.verify", lambda *_, **__: None)
        reconcile_serving()
    assert sampled() == {"tiny-base", *three}, "one that does not load takes nobody's place"
    aside.rename(tmp_path / "policy-new")
    reconcile_serving()
    assert sampled() == {"tiny-base", "policy-new"}, "what has no role makes room"


def test_champion_and_challenger_are_loaded_before_what_an_admin_added(
    settings: Settings, fake: FakeEngine, tmp_path: Path, three: list[str]
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    challenge(tmp_path / "policy-r2")
    with session_scope() as session:
        for name in three:
            registry.deploy(session, register_policy(session, tmp_path / name))
    reconcile_serving()
    assert sorted(fake.adapters) == ["policy-2", "policy-r1", "policy-r2"]
    fake.adapters.clear()
    reconcile_serving()
    assert sorted(fake.adapters) == ["policy-2", "policy-r1", "policy-r2"]


def test_an_adapter_that_cannot_be_published_shows_its_reason_and_is_tried_again(
    settings: Settings, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    hidden = fake.adapters
    with monkeypatch.context() as patched:
        patched.setattr("app.registry.served.verify", lambda *_, **__: None)
        (tmp_path / "policy-r1" / "adapter_model.safetensors").rename(tmp_path / "aside")
        reconcile_serving()
        with session_scope() as session:
            refused = session.scalars(select(Deployment).where(Deployment.load_state == LoadState.FAILED)).one()
        assert "cannot be put into the folder" in (refused.load_error or "")
    (tmp_path / "aside").rename(tmp_path / "policy-r1" / "adapter_model.safetensors")
    reconcile_serving()
    assert list(hidden) == ["policy-r1"]
    assert sampled() == {"tiny-base", "policy-r1"}


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (lambda fake: setattr(fake, "resolves", None), "VLLM_LORA_RESOLVER_CACHE_DIR"),
        (lambda fake: fake.answers_as.update({"policy-r1": "base"}), "answered as 'base'"),
    ],
)
def test_an_engine_that_does_not_answer_as_the_adapter_shows_its_reason_and_is_asked_again(
    settings: Settings,
    fake: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: Callable[[FakeEngine], None],
    said: str,
) -> None:
    monkeypatch.setattr(wire, "DELAYS", (0.0,))
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    does(fake)
    reconcile_serving()
    with session_scope() as session:
        refused = session.scalars(select(Deployment).where(Deployment.load_state == LoadState.FAILED)).one()
    assert said in (refused.load_error or "")
    assert sampled() == {"tiny-base"}
    fake.resolves = settings.served_dir
    fake.answers_as.clear()
    fake.adapters.clear()
    reconcile_serving()
    assert sampled() == {"tiny-base", "policy-r1"}


def test_what_left_the_rotation_leaves_the_folder_once_no_engine_serves_it(
    settings: Settings, fake: FakeEngine, tmp_path: Path
) -> None:
    base_is_desired(settings)
    promote(tmp_path / "policy-r1")
    reconcile_serving()
    for name in ("policy-r2", "policy-r3"):
        promote(tmp_path / name)
        reconcile_serving()
    assert sampled() == {"tiny-base", "policy-r2", "policy-r3"}
    assert published(settings.served_dir) == {"policy-r1", "policy-r2", "policy-r3"}, "one still listed it"
    assert sorted(fake.adapters) == ["policy-r2", "policy-r3"]
    reconcile_serving()
    assert published(settings.served_dir) == {"policy-r2", "policy-r3"}
    assert (tmp_path / "policy-r1" / "adapter_model.safetensors").is_file()
