from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.registry import externals, service
from app.registry.models import Checkpoint, EngineState
from tests.factories import make_user, sign_in
from tests.generating import promote, register_policy


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
    promote(session, policy)
    load_all(session)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get("/checkpoints").text
    assert "policy-r1" in page
    assert page.count("on 100&nbsp;% of prompts") == 2, "each stands on every prompt"
    assert [page.count(f">{word}</span>") for word in ("base", "champion", "previous champion")] == [1, 1, 1]
    assert "70&nbsp;%" in page
    one = client.get(f"/checkpoints/{policy.id}").text
    assert "tiny-base" in one
    assert "held_out/accuracy" in one
    assert "Remove from rotation" not in one, "reviewers read"


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
    assert "waiting to load" in page
    assert "Add to rotation" not in page
    load_all(session)
    deployment = next(d for d in service.in_rotation(session) if d.checkpoint_id == policy.id)
    assert client.post(f"/deployments/{deployment.id}/end").status_code == 303
    session.expire_all()
    assert policy.id not in {d.checkpoint_id for d in service.in_rotation(session)}


def test_bob_takes_the_champion_out_and_is_told_who_follows_and_the_log_keeps_it(
    client: TestClient, session: Session, policy: Checkpoint
) -> None:
    promote(session, policy)
    load_all(session)
    bob(client, session)
    assert (
        "Removing it outside of a contest makes the previous champion" in client.get(f"/checkpoints/{policy.id}").text
    )
    deployment = next(d for d in service.in_rotation(session) if d.checkpoint_id == policy.id)
    page = client.post(f"/deployments/{deployment.id}/end", follow_redirects=True).text
    assert "policy-r1 was removed from the rotation. tiny-base is the champion now." in page
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "checkpoint.withdraw")).one()
    assert event.details["champion"] == "tiny-base"


def test_bob_takes_nobody_out_of_an_open_contest(client: TestClient, session: Session, policy: Checkpoint) -> None:
    service.challenge(session, policy)
    load_all(session)
    bob(client, session)
    assert "withdrawing the contest removes it" in client.get(f"/checkpoints/{policy.id}").text
    for deployment in service.in_rotation(session)[1:]:
        refused = client.post(f"/deployments/{deployment.id}/end")
        if deployment.checkpoint_id == policy.id:
            assert refused.status_code == 409
            assert "Withdraw the contest: that removes it from the rotation." in refused.text
    (base,) = (d for d in service.in_rotation(session) if d.checkpoint_id != policy.id)
    refused = client.post(f"/deployments/{base.id}/end")
    assert refused.status_code == 409
    assert "champion of an open contest. Withdraw the contest first." in refused.text


def test_the_api_says_who_is_who(client: TestClient, session: Session, policy: Checkpoint) -> None:
    service.challenge(session, policy)
    load_all(session)
    bob(client, session)
    listed = client.get("/api/v1/checkpoints").json()["checkpoints"]
    assert {each["name"]: (each["roles"], each["rotation_percent"]) for each in listed} == {
        "policy-r1": (["challenger"], 80),
        "tiny-base": (["base", "champion"], 100),
    }


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
    assert "Add to rotation" not in page
    assert client.post(f"/checkpoints/{policy.id}/deploy").status_code == 409


def test_the_banner_speaks_only_while_the_engine_does_not_answer(client: TestClient, session: Session) -> None:
    bob(client, session)
    url = get_settings().engine_url
    assert "The engine is starting" in client.get("/engine").text
    service.note_engine(session, url, EngineState.AWAY, error="It does not <accept> connections.")
    session.commit()
    away = client.get("/engine").text
    assert "unavailable since" in away
    assert "resumes automatically" in away
    assert "&lt;accept&gt;" in away
    service.note_engine(session, url, EngineState.READY, version="vllm 0.32.0")
    session.commit()
    assert client.get("/engine").text.strip() == ""


def test_of_several_engines_each_says_how_it_is_and_since_when(client: TestClient, session: Session) -> None:
    bob(client, session)
    service.note_engine(session, get_settings().engine_url, EngineState.READY, version="vllm 0.32.0")
    session.commit()
    assert "Engine: vllm 0.32.0, ready since" in client.get("/checkpoints").text
    service.note_engine(session, "http://10.0.0.5:8000/v1", EngineState.READY, version="vllm 0.32.0")
    service.note_engine(session, "http://10.0.0.6:8000/v1", EngineState.AWAY, error="It does not <accept> connections.")
    session.commit()
    page = client.get("/checkpoints").text
    assert "10.0.0.5:8000" in page
    assert "&lt;accept&gt;" in page
    told = client.get("/api/v1/engine").json()
    assert told["state"] == "ready"
    assert [(each["place"], each["state"]) for each in told["engines"]] == [
        ("10.0.0.5:8000", "ready"),
        ("10.0.0.6:8000", "away"),
    ]
    assert all(each["since"] for each in told["engines"])
    service.forget_engines(session, {get_settings().engine_url})
    session.commit()
    assert client.get("/api/v1/engine").json()["engines"] == []


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


RIVAL = {"name": "rival-1", "endpoint": "rival", "model": "large", "note": "Their terms, § 4", "temperature": ""}


@pytest.fixture
def endpoints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CORRAL_ENDPOINTS", '{"rival": {"url": "http://127.0.0.1:9/v1"}}')
    get_settings.cache_clear()
    yield
    monkeypatch.undo()
    get_settings.cache_clear()


def test_bob_adds_an_external_model_and_later_allows_training_on_it(
    client: TestClient, session: Session, base: Checkpoint, endpoints: None
) -> None:
    bobs = bob(client, session)
    assert "Its answers may be trained on" in bobs.get("/externals/new").text
    made = bobs.post("/externals", data=RIVAL, follow_redirects=False)
    page = bobs.get(made.headers["location"]).text

    assert "every training leaves out the pairs with its answers" in page
    assert "Their terms, § 4" in page
    assert externals.left_out_of_training(session) == ["rival-1"]

    bobs.post(made.headers["location"] + "/training", data={"may_train": "true"})
    assert externals.left_out_of_training(session) == []
    said = session.scalars(select(AuditEvent.action).where(AuditEvent.action.like("checkpoint.%"))).all()
    assert said == ["checkpoint.external", "checkpoint.training"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "tiny-base"}, "A checkpoint named tiny-base exists"),
        ({"endpoint": "nobody"}, "No endpoint called nobody is set up"),
    ],
)
def test_what_is_wrong_with_an_external_model_stands_beside_its_field(
    client: TestClient, session: Session, base: Checkpoint, endpoints: None, changes: dict[str, str], says: str
) -> None:
    answer = bob(client, session).post("/externals", data=RIVAL | changes)

    assert answer.status_code == 422
    assert says in answer.text
    assert 'value="large"' in answer.text


def test_without_endpoints_the_page_says_who_sets_them_up(client: TestClient, session: Session) -> None:
    assert "CORRAL_ENDPOINTS" in bob(client, session).get("/externals/new").text


def test_an_external_model_is_neither_challenger_nor_champion(
    session: Session, base: Checkpoint, endpoints: None
) -> None:
    rival = externals.add_external(session, name="r", endpoint="rival", model="m", may_train=True, note="", sampling={})
    for act in (service.challenge, service.crown):
        with pytest.raises(Conflict, match="external model"):
            act(session, rival)


def test_rita_cannot_add_one(client: TestClient, session: Session, endpoints: None) -> None:
    ritas = sign_in(client, make_user(session, Role.REVIEWER, "Rita"))

    assert ritas.get("/externals/new").status_code == 403
    assert ritas.post("/externals", data=RIVAL).status_code == 403
    assert "/externals/new" not in ritas.get("/checkpoints").text
