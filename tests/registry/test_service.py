from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.kernel.db import session_scope
from app.kernel.errors import Conflict
from app.registry import deployments, queries, service
from app.registry.models import (
    Checkpoint,
    CheckpointKind,
    CheckpointState,
    Deployment,
    EngineState,
    LoadState,
)
from tests.generating import promote
from tests.patience import PATIENCE


def load_all(session: Session) -> None:
    for deployment in service.in_rotation(session):
        service.mark_loaded(session, deployment.id)
    session.expire_all()


def policy(session: Session, name: str) -> Checkpoint:
    return service.register_checkpoint(
        session,
        name=name,
        kind=CheckpointKind.POLICY,
        parent=None,
        metrics={},
        manifest_sha256=name.ljust(64, "0"),
    )


def names(session: Session) -> set[str]:
    session.expire_all()
    return {deployment.checkpoint.name for deployment in service.in_rotation(session)}


def test_the_base_starts_with_two_samplings_in_rotation(session: Session) -> None:
    base = service.ensure_base(session, "/models/SmolLM2-135M-Instruct")
    assert service.ensure_base(session, "/models/SmolLM2-135M-Instruct") is base
    assert [(d.label, d.load_state) for d in service.in_rotation(session)] == [
        ("focused", LoadState.PENDING),
        ("varied", LoadState.PENDING),
    ]
    assert service.rotation(session) == [], "what is not loaded is not sampled"
    load_all(session)
    assert len(service.rotation(session)) == 2


def model(folder: Path, weights: bytes) -> str:
    """A base model's folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    return str(folder)


def test_a_moved_data_folder_keeps_the_base_and_only_changes_its_path(session: Session, tmp_path: Path) -> None:
    base = service.ensure_base(session, model(tmp_path / "old" / "base", b"weights"))
    moved = model(tmp_path / "new" / "base", b"weights")
    assert service.ensure_base(session, moved) is base
    assert base.path == moved


def test_other_weights_under_the_same_name_are_another_base(session: Session, tmp_path: Path) -> None:
    old = service.ensure_base(session, model(tmp_path / "one" / "base", b"weights"))
    adapter = policy(session, "policy-r1")
    promote(session, adapter)
    new = service.ensure_base(session, model(tmp_path / "other" / "base", b"tuned!!"))
    session.expire_all()
    assert (old.state, adapter.state, new.state) == (
        CheckpointState.RETIRED,
        CheckpointState.RETIRED,
        CheckpointState.READY,
    )
    assert new.name.startswith("base-")
    assert names(session) == {new.name}
    assert service.ensure_base(session, model(tmp_path / "one" / "base", b"weights")) is old


def test_weights_that_are_replaced_in_their_folder_are_another_base(session: Session, tmp_path: Path) -> None:
    old = service.ensure_base(session, model(tmp_path / "base", b"weights"))
    assert service.ensure_base(session, model(tmp_path / "base", b"tuned!!")) is not old


def test_two_hub_ids_with_one_name_are_two_bases(session: Session) -> None:
    one = service.ensure_base(session, "somebody/model")
    assert service.ensure_base(session, "somebody/model") is one
    assert service.ensure_base(session, "another/model") is not one


def test_another_base_model_retires_the_old_one_with_its_adapters(session: Session) -> None:
    old = service.ensure_base(session, "/models/old")
    adapter = policy(session, "policy-r1")
    promote(session, adapter)
    new = service.ensure_base(session, "/models/new")
    session.expire_all()
    assert (old.state, adapter.state, new.state) == (
        CheckpointState.RETIRED,
        CheckpointState.RETIRED,
        CheckpointState.READY,
    )
    assert names(session) == {"new"}


def test_a_promoted_policy_joins_the_base_and_changes_nothing_before_it_is_loaded(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    load_all(session)
    promoted = promote(session, policy(session, "policy-r1"))
    assert {d.checkpoint.name for d in service.rotation(session)} == {"base"}
    service.mark_loaded(session, promoted.id)
    assert names(session) == {"base", "policy-r1"}


def test_champion_and_previous_serve_beside_the_base_and_older_ones_leave(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    load_all(session)
    seen = []
    for name in ("policy-r1", "policy-r2", "policy-r3"):
        promote(session, policy(session, name))
        load_all(session)
        seen.append(names(session))
    assert seen == [{"base", "policy-r1"}, {"base", "policy-r1", "policy-r2"}, {"base", "policy-r2", "policy-r3"}]


def test_a_double_click_deploys_once(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with session_scope() as session:
        service.ensure_base(session, "/models/base")
        wanted = policy(session, "policy-r1")
    together, look = threading.Barrier(2), deployments.in_rotation
    made: list[int] = []

    def both_look(session: Session, *, lock: bool = False) -> list[Deployment]:
        found = look(session)
        together.wait(PATIENCE)
        return found

    def click() -> None:
        with session_scope() as session:
            made.append(service.deploy(session, session.get_one(Checkpoint, wanted.id)).id)

    monkeypatch.setattr(deployments, "in_rotation", both_look)
    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(made) == 2
    assert len(set(made)) == 1


def test_challenging_twice_deploys_once(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    checkpoint = policy(session, "policy-r1")
    assert service.challenge(session, checkpoint) is service.challenge(session, checkpoint)


def test_a_policy_that_never_loads_takes_nobodys_place(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    load_all(session)
    promote(session, policy(session, "policy-r1"))
    load_all(session)
    broken = policy(session, "policy-r2")
    promote(session, broken)
    service.mark_broken(session, broken.id, "a byte flipped")
    assert names(session) == {"base", "policy-r1"}
    session.expire_all()
    assert (broken.state, broken.broken_reason) == (CheckpointState.BROKEN, "a byte flipped")


def test_when_everything_in_rotation_breaks_the_base_returns(session: Session) -> None:
    base = service.ensure_base(session, "/models/base")
    only = policy(session, "policy-r1")
    promote(session, only)
    load_all(session)
    for deployment in service.in_rotation(session):
        if deployment.checkpoint_id == base.id:
            service.end_deployment(session, deployment)
    service.mark_broken(session, only.id, "a shard is gone")
    assert names(session) == {"base"}


def test_a_broken_checkpoint_is_not_deployed_and_a_reward_model_never(session: Session) -> None:
    broken = policy(session, "policy-r1")
    service.mark_broken(session, broken.id, "a byte flipped")
    with pytest.raises(Conflict, match="broken"):
        service.deploy(session, broken)
    reward = policy(session, "reward-r1")
    reward.kind = CheckpointKind.REWARD
    with pytest.raises(Conflict, match="reward model"):
        service.deploy(session, reward)


def test_the_last_loaded_deployment_cannot_leave(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    load_all(session)
    service.deploy(session, policy(session, "policy-r1"))  # wished for, not loaded: nobody can sample it yet
    first, second = service.rotation(session)
    service.end_deployment(session, first)
    service.end_deployment(session, first)
    with pytest.raises(Conflict, match="last model"):
        service.end_deployment(session, second)


def test_a_name_belongs_to_one_set_of_weights(session: Session) -> None:
    first = policy(session, "policy-r1")
    assert policy(session, "policy-r1") is first
    with pytest.raises(Conflict, match="other weights"):
        service.register_checkpoint(
            session,
            name="policy-r1",
            kind=CheckpointKind.POLICY,
            parent=None,
            metrics={},
            manifest_sha256="f" * 64,
        )


def test_the_engines_state_remembers_since_when(session: Session) -> None:
    url = "http://engine/v1"
    assert queries.engine_view(session, url).state is EngineState.STARTING
    assert service.note_engine(session, url, EngineState.AWAY, error="no connection")
    assert not service.note_engine(session, url, EngineState.AWAY, error="still none")
    view = queries.engine_view(session, url)
    assert (view.state, view.error) == (EngineState.AWAY, "still none")
    assert service.note_engine(session, url, EngineState.READY, version="vllm 0.32.0")
    session.expire_all()
    assert queries.engine_view(session, url).version == "vllm 0.32.0"


def test_the_list_says_on_how_many_prompts_each_stands(session: Session) -> None:
    service.ensure_base(session, "/models/base")
    for name in ("policy-r1", "policy-r2"):
        promote(session, policy(session, name))
    service.challenge(session, policy(session, "policy-r3"))
    service.challenge(session, policy(session, "policy-r3"))
    rows = {row.checkpoint.name: row for row in queries.list_checkpoints(session).rows}
    parts = {name: row.percent for name, row in rows.items()}
    assert parts == {"base": 10, "policy-r1": 10, "policy-r2": 100, "policy-r3": 80}
    assert {name: [role.value for role in row.roles] for name, row in rows.items()} == {
        "base": ["base"],
        "policy-r1": ["previous"],
        "policy-r2": ["champion"],
        "policy-r3": ["challenger"],
    }
