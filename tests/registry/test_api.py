"""The JSON of the rotation."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role
from app.registry import service
from app.registry.models import Checkpoint
from tests.factories import make_user, sign_in
from tests.generating import load_all, promote, register_policy


@pytest.fixture
def policy(session: Session, tmp_path: Path) -> Checkpoint:
    service.ensure_base(session, "/models/tiny-base")
    load_all(session)
    return register_policy(session, tmp_path / "policy-r1")


@pytest.fixture
def api(client: TestClient, session: Session) -> TestClient:
    return sign_in(client, make_user(session, Role.ADMIN, "Bob"))


def actions(session: Session) -> list[str]:
    return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def test_a_policy_joins_the_rotation_and_leaves_it_again(api: TestClient, session: Session, policy: Checkpoint) -> None:
    made = api.post(f"/api/v1/checkpoints/{policy.id}/deploy")
    assert made.json() == {"checkpoint_id": policy.id, "name": "policy-r1", "champion": None}
    load_all(session)
    deployment = next(each for each in service.in_rotation(session) if each.checkpoint_id == policy.id)
    assert api.post(f"/api/v1/deployments/{deployment.id}/end").json()["champion"] is None
    session.expire_all()
    assert policy.id not in {each.checkpoint_id for each in service.in_rotation(session)}
    assert actions(session)[-2:] == ["checkpoint.deploy", "checkpoint.withdraw"]


def test_who_follows_the_champion_is_said(api: TestClient, session: Session, policy: Checkpoint) -> None:
    promote(session, policy)
    load_all(session)
    deployment = next(each for each in service.in_rotation(session) if each.checkpoint_id == policy.id)
    followed = api.post(f"/api/v1/deployments/{deployment.id}/end").json()["champion"]
    left = service.in_rotation(session)
    assert followed in {each.checkpoint.name for each in left}
    ends = [api.post(f"/api/v1/deployments/{each.id}/end").status_code for each in left]
    assert ends == [200] * (len(left) - 1) + [409], "the last one stays"


def test_only_what_an_external_model_writes_is_allowed_or_not(api: TestClient, policy: Checkpoint) -> None:
    assert api.post(f"/api/v1/checkpoints/{policy.id}/training", json={"may_train": True}).status_code == 404
    assert api.post(f"/api/v1/checkpoints/{policy.id}/training", json={"may_train": 1}).status_code == 422
    unknown = {"name": "rival", "endpoint": "nowhere", "model": "m"}
    refused = api.post("/api/v1/externals", json=unknown)
    assert refused.status_code == 422
    assert "nowhere" in refused.text


def test_the_engine_says_how_it_is_and_annotators_ask_in_vain(
    api: TestClient, session: Session, policy: Checkpoint
) -> None:
    assert api.get("/api/v1/engine").json()["state"] == "starting"
    sign_in(api, make_user(session, Role.ANNOTATOR, "Charlie"))
    assert api.get("/api/v1/engine").status_code == 403
