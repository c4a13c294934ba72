from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.registry import service
from app.registry.models import Checkpoint, EngineState
from app.settings import get_settings
from tests.factories import make_user, sign_in
from tests.generating import register_policy


@pytest.fixture
def base(session: Session) -> Checkpoint:
    checkpoint = service.ensure_base(session, "/models/tiny-base")
    load_all(session)
    return checkpoint


def load_all(session: Session) -> None:
    for deployment in service.in_rotation(session):
        service.mark_loaded(session, deployment.id)
    session.commit()


@pytest.fixture
def policy(session: Session, base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    monkeypatch.setattr(service, "ensure_base", lambda *_: base)
    return register_policy(session, tmp_path / "policy-r1")


def bob(client: TestClient, session: Session) -> TestClient:
    return sign_in(client, make_user(session, Role.ADMIN, "Bob"))


def test_rita_sees_every_checkpoint_with_its_share_and_its_parent(
    client: TestClient, session: Session, policy: Checkpoint
) -> None:
    service.promote(session, policy)
    load_all(session)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get("/checkpoints").text
    assert "policy-r1" in page
    assert page.count("50&nbsp;% of samples") == 2
    assert "70&nbsp;%" in page
    one = client.get(f"/checkpoints/{policy.id}").text
    assert "tiny-base" in one
    assert "held_out/accuracy" in one
    assert "Take out" not in one, "reviewers read"


def test_charlie_the_annotator_learns_no_models_name(client: TestClient, session: Session, policy: Checkpoint) -> None:
    sign_in(client, make_user(session, Role.ANNOTATOR, "Charlie"))
    for path in (
        "/checkpoints",
        f"/checkpoints/{policy.id}",
        "/engine",
        "/api/v1/checkpoints",
        f"/api/v1/checkpoints/{policy.id}",
    ):
        answer = client.get(path)
        assert answer.status_code in {403, 404}, path
        assert "policy-r1" not in answer.text
        assert "tiny-base" not in answer.text
    assert client.post(f"/checkpoints/{policy.id}/deploy").status_code in {403, 404}


def test_rita_may_not_change_the_rotation(client: TestClient, session: Session, policy: Checkpoint) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    first = service.rotation(session)[0]
    assert client.post(f"/checkpoints/{policy.id}/deploy").status_code == 403
    assert client.post(f"/deployments/{first.id}/end").status_code == 403
    assert len(service.rotation(session)) == 2


def test_bob_puts_a_policy_into_rotation_and_takes_it_out(
    client: TestClient, session: Session, policy: Checkpoint
) -> None:
    bob(client, session)
    answer = client.post(f"/checkpoints/{policy.id}/deploy")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/checkpoints/{policy.id}")
    page = client.get(answer.headers["location"]).text
    assert "waits to be loaded" in page
    assert "Put into rotation" not in page
    load_all(session)
    deployment = next(d for d in service.in_rotation(session) if d.checkpoint_id == policy.id)
    assert client.post(f"/deployments/{deployment.id}/end").status_code == 303
    session.expire_all()
    assert policy.id not in {d.checkpoint_id for d in service.in_rotation(session)}


def test_bob_cannot_empty_the_rotation(client: TestClient, session: Session, base: Checkpoint) -> None:
    bob(client, session)
    first, second = service.rotation(session)
    assert client.post(f"/deployments/{first.id}/end").status_code == 303
    refused = client.post(f"/deployments/{second.id}/end")
    assert refused.status_code == 409
    assert "last model in rotation" in refused.text


def test_a_broken_checkpoint_says_what_and_offers_no_rotation(
    client: TestClient, session: Session, policy: Checkpoint
) -> None:
    service.mark_broken(session, policy.id, "adapter_model.safetensors has changed.")
    session.commit()
    session.expire_all()
    bob(client, session)
    page = client.get(f"/checkpoints/{policy.id}").text
    assert "adapter_model.safetensors has changed." in page
    assert "Put into rotation" not in page
    assert client.post(f"/checkpoints/{policy.id}/deploy").status_code == 409


def test_the_banner_speaks_only_while_the_engine_does_not_answer(client: TestClient, session: Session) -> None:
    bob(client, session)
    url = get_settings().engine_url
    assert "The engine is starting" in client.get("/engine").text
    service.note_engine(session, url, EngineState.AWAY, error="It does not <accept> connections.")
    session.commit()
    away = client.get("/engine").text
    assert "away since" in away
    assert "resumes by itself" in away
    assert "&lt;accept&gt;" in away
    service.note_engine(session, url, EngineState.READY, version="vllm 0.32.0")
    session.commit()
    assert client.get("/engine").text.strip() == ""


def test_the_api_tells_the_lineage(client: TestClient, session: Session, policy: Checkpoint) -> None:
    bob(client, session)
    listed = client.get("/api/v1/checkpoints?limit=1").json()
    assert [checkpoint["name"] for checkpoint in listed["checkpoints"]] == ["policy-r1"]
    older = client.get(f"/api/v1/checkpoints?before={listed['next']}").json()
    assert [checkpoint["name"] for checkpoint in older["checkpoints"]] == ["tiny-base"]
    assert older["next"] is None
    one = client.get(f"/api/v1/checkpoints/{policy.id}").json()
    assert one["parent"] == "tiny-base"
    assert one["lineage"]["candidates"] == 0
    assert client.get("/api/v1/checkpoints/999999").status_code == 404


def test_an_empty_registry_says_what_will_come(client: TestClient, session: Session) -> None:
    bob(client, session)
    assert "No checkpoint yet" in client.get("/checkpoints").text
