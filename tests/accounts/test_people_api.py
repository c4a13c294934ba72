"""The JSON of people, and of oneself."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import queries
from app.accounts.models import AuditEvent, LoginSession, Role, User
from tests.factories import PASSWORD, make_user, sign_in

URL = "/api/v1/users"


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def api(client: TestClient, session: Session) -> TestClient:
    return sign_in(client, make_user(session, Role.ADMIN, "Bob"))


def test_everyone_is_listed_with_the_open_invitations(api: TestClient, alice: User) -> None:
    made = api.post(f"{URL}/invites", json={"role": "reviewer", "email": "rita@example.org", "password": PASSWORD})
    assert made.status_code == 201
    found = api.get(URL).json()
    assert [each["name"] for each in found["users"]] == ["Alice", "Bob"] or {
        each["name"] for each in found["users"]
    } == {
        "Alice",
        "Bob",
    }
    assert [(each["id"], each["role"], each["email"]) for each in found["invites"]] == [
        (made.json()["id"], "reviewer", "rita@example.org")
    ]
    assert api.delete(f"{URL}/invites/{made.json()['id']}").status_code == 204
    assert api.get(URL).json()["invites"] == []


def test_an_invitation_lets_in_whoever_has_its_link_and_shows_it_once(api: TestClient, session: Session) -> None:
    wish = {"role": "annotator", "password": PASSWORD}
    made = api.post(f"{URL}/invites", json=wish, headers={"idempotency-key": "one"})
    link = made.json()["link"]
    assert queries.find_invite(session, link.rpartition("/")[2]).id == made.json()["id"]
    again = api.post(f"{URL}/invites", json=wish, headers={"idempotency-key": "one"})
    assert again.status_code == 409
    assert link not in again.text
    assert len(api.get(URL).json()["invites"]) == 1


@pytest.mark.parametrize("password", ["", "not mine"])
def test_without_ones_own_password_nobody_is_let_in_and_no_role_changes(
    api: TestClient, session: Session, alice: User, password: str
) -> None:
    for path, wish in (("invites", {"role": "admin"}), (f"{alice.id}/role", {"role": "admin"})):
        refused = api.post(f"{URL}/{path}", json=wish | {"password": password})
        assert refused.status_code == 422
        assert "password" in refused.text
    session.refresh(alice)
    assert alice.role is Role.ANNOTATOR
    assert api.get(URL).json()["invites"] == []


def test_a_role_changes_and_the_log_says_who_changed_it(api: TestClient, session: Session, alice: User) -> None:
    changed = api.post(f"{URL}/{alice.id}/role", json={"role": "reviewer", "password": PASSWORD})
    assert (changed.status_code, changed.json()["role"]) == (200, "reviewer")
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "user.role_changed")).one()
    assert event.subject_id == alice.id


def test_an_account_is_closed_and_opened_and_signed_out(api: TestClient, session: Session, alice: User) -> None:
    assert api.post(f"{URL}/{alice.id}/disable").json()["disabled_at"] is not None
    assert api.post(f"{URL}/{alice.id}/enable").json()["disabled_at"] is None
    assert api.post(f"{URL}/{alice.id}/sign-out").json() == {"sessions": 0}
    assert api.post(f"{URL}/{2**40}/disable").status_code == 404


def test_the_last_admin_stays(api: TestClient, session: Session) -> None:
    bob = session.scalars(select(User).where(User.role == Role.ADMIN)).one()
    assert api.post(f"{URL}/{bob.id}/disable").status_code == 409
    assert api.post(f"{URL}/{bob.id}/role", json={"role": "annotator", "password": PASSWORD}).status_code == 409
    assert session.scalars(select(LoginSession)).all(), "and is still signed in"


def test_i_change_my_name_and_my_languages(client: TestClient, session: Session, alice: User) -> None:
    sign_in(client, alice)
    changed = client.patch("/api/v1/me", json={"name": " Alice  L. ", "languages": ["German", "zh"]})
    assert (changed.json()["name"], changed.json()["languages"]) == ("Alice L.", ["de", "zh"])
    assert client.patch("/api/v1/me", json={"languages": []}).json()["languages"] == []
    refused = client.patch("/api/v1/me", json={"languages": ["Klingon"]})
    assert refused.status_code == 422
    assert "Klingon" in refused.text
    assert client.get("/api/v1/me").json()["name"] == "Alice L."
