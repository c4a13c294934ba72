"""What lets somebody in ends: tokens, what they made, sessions that nobody uses, and what a browser kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import passwords, queries, service, signing_in
from app.accounts.models import Role, User
from app.kernel.errors import BadInput, Conflict, NotFound
from app.kernel.settings import get_settings
from tests.factories import PASSWORD, make_user, sign_in

API = "/api/v1/tokens"


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


def shown(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_a_token_works_for_a_time(client: TestClient, session: Session, alice: User) -> None:
    token, secret = service.issue_token(session, alice, "script", ["read"])
    session.commit()
    session.refresh(token)
    assert timedelta(days=89) < token.expires_at - datetime.now(UTC) < timedelta(days=91)
    assert client.get("/api/v1/me", headers=shown(secret)).status_code == 200
    session.execute(text("UPDATE api_tokens SET expires_at = now() - interval '1 second'"))
    session.commit()
    refused = client.get("/api/v1/me", headers=shown(secret))
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]
    assert queries.live_tokens(session, alice) == []


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_no_token_works_for_ever(session: Session, alice: User, days: int) -> None:
    with pytest.raises(BadInput, match="1 to 365 days"):
        service.create_token(session, alice, "script", ["read"], days=days)


def test_a_person_has_so_many_tokens_and_no_more(
    client: TestClient, session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = get_settings().model_copy(update={"tokens_per_person": 2})
    monkeypatch.setattr(service, "get_settings", lambda: few)
    for name in ("one", "two"):
        service.create_token(session, alice, name, ["annotate"])
    session.commit()
    with pytest.raises(Conflict, match="revoke one"):
        service.create_token(session, alice, "three", ["annotate"])
    wish = {"name": "three", "scopes": ["annotate"], "password": PASSWORD}
    assert sign_in(client, alice).post(API, json=wish).status_code == 409
    page = client.post("/tokens", data=wish | {"days": "30"})
    assert page.status_code == 409
    assert "revoke one" in page.text
    service.revoke_token(session, alice, queries.live_tokens(session, alice)[0].id)
    session.commit()
    assert client.post(API, json=wish).status_code == 201


def test_what_a_token_made_dies_with_it(client: TestClient, session: Session, alice: User) -> None:
    first, secret = service.issue_token(session, alice, "first", ["annotate"], days=10)
    session.commit()
    second = client.post(API, json={"name": "second", "scopes": ["annotate"]}, headers=shown(secret)).json()
    third = client.post(
        API, json={"name": "third", "scopes": ["annotate"], "days": 300}, headers=shown(second["secret"])
    )
    session.refresh(first)
    assert datetime.fromisoformat(third.json()["expires_at"]) == first.expires_at, "and not after it"
    other = service.create_token(session, alice, "of another kind", ["annotate"])
    service.revoke_token(session, alice, first.id)
    session.commit()
    for ended in (secret, second["secret"], third.json()["secret"]):
        assert client.get("/api/v1/me", headers=shown(ended)).status_code == 401
    assert client.get("/api/v1/me", headers=shown(other)).status_code == 200


def test_a_token_that_has_ended_makes_no_other(session: Session, alice: User) -> None:
    first = service.issue_token(session, alice, "first", ["read"])[0]
    service.revoke_token(session, alice, first.id)
    with pytest.raises(NotFound):
        service.issue_token(session, alice, "second", ["read"], parent_id=first.id)


@pytest.mark.parametrize("loses", ["account", "role", "password"])
def test_an_invitation_ends_with_its_makers_right_to_make_it(session: Session, bob: User, loses: str) -> None:
    beatrice = make_user(session, Role.ADMIN, "Beatrice")
    secret = service.create_invite(session, role=Role.ADMIN, created_by=bob)
    if loses == "account":
        service.disable(session, beatrice, bob)
    elif loses == "role":
        service.set_role(session, beatrice, bob, Role.REVIEWER)
    else:
        service.set_password(session, bob, "another long password")
    session.flush()
    with pytest.raises(NotFound):
        queries.find_invite(session, secret)
    assert queries.open_invites(session) == []


@pytest.mark.parametrize("password", ["", "not my password"])
def test_an_open_browser_alone_makes_no_token_invitation_or_role(
    client: TestClient, session: Session, alice: User, bob: User, password: str
) -> None:
    sign_in(client, bob)
    asked = {
        "/tokens": {"name": "script", "scopes": "read", "days": "30"},
        "/users/invites": {"role": "admin", "addresses": "charlie@example.org"},
        f"/users/{alice.id}/role": {"role": "admin"},
    }
    for url, data in asked.items():
        page = client.post(url, data=data | {"password": password})
        assert page.status_code == 422, url
        assert passwords_asked(page.text), url
    assert client.post(API, json={"name": "script", "scopes": ["read"], "password": password}).status_code == 422
    statuses = [client.post(API, json={"name": "script", "scopes": ["read"]}).status_code for _ in range(2)]
    assert statuses == [422, 429], "tries are counted"
    session.refresh(alice)
    assert alice.role is Role.ANNOTATOR
    assert queries.live_tokens(session, bob) == []
    assert queries.open_invites(session) == []


def passwords_asked(page: str) -> bool:
    return 'type="password"' in page and 'aria-invalid="true"' in page


def test_a_role_is_given_once_the_password_is(client: TestClient, session: Session, alice: User, bob: User) -> None:
    asking = sign_in(client, bob).post(f"/users/{alice.id}/role", data={"role": "reviewer"})
    assert asking.status_code == 422
    assert 'name="role" value="reviewer"' in asking.text
    assert "aria-invalid" not in asking.text, "nothing was mistaken yet"
    client.post(f"/users/{alice.id}/role", data={"role": "reviewer", "password": PASSWORD})
    session.refresh(alice)
    assert alice.role is Role.REVIEWER


def test_a_browser_that_nobody_uses_is_signed_out(client: TestClient, session: Session, alice: User) -> None:
    sign_in(client, alice)
    session.execute(text("UPDATE login_sessions SET last_seen_at = now() - interval '71 hours'"))
    session.commit()
    assert client.get("/profile").status_code == 200
    noted = session.scalar(text("SELECT last_seen_at > now() - interval '1 hour' FROM login_sessions"))
    assert noted, "use keeps it"
    session.execute(text("UPDATE login_sessions SET last_seen_at = now() - interval '73 hours'"))
    session.commit()
    assert client.get("/profile").status_code == 303
    assert queries.live_sessions(session, alice) == []


def test_use_does_not_outlive_the_fixed_end(client: TestClient, session: Session, alice: User) -> None:
    sign_in(client, alice)
    session.execute(text("UPDATE login_sessions SET expires_at = now()"))
    session.commit()
    assert client.get("/profile").status_code == 303


def test_signing_out_clears_what_the_browser_kept(client: TestClient, alice: User) -> None:
    page = sign_in(client, alice).get("/profile").text
    assert 'action="/logout" data-forget' in page, "the script clears where no TLS is"
    answer = client.post("/logout")
    assert answer.headers["clear-site-data"] == '"cache", "storage"'


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "P@ssw0rd1234",
        "Welcome2024!!",
        "pass word 1234",
        "qwertyuiop123",
        "1qaz2wsx3edc",
        "123456789012",
        "210987654321",
        "abcdefghijkl",
        "aaaabbbbccccdddd",
        "letmein-letmein",
        "Пароль123456",
        "ｐａｓｓｗｏｒｄ１２３４",
        "alice@example.org",
        "AliceExample1",
        "alice.alice.alice",
        "gro.elpmaxe@ecila",
        "alice123456789",
    ],
)
def test_a_password_that_is_tried_first_is_refused(session: Session, password: str) -> None:
    with pytest.raises(BadInput) as refused:
        service.create_user(session, email="alice@example.org", name="Alice", role=Role.ANNOTATOR, password=password)
    assert refused.value.extra["errors"][0]["loc"] == "password"


@pytest.mark.parametrize("password", [PASSWORD, "summer dragon monkey", "xkq7-vbnm-92ls", "alice likes long trains"])
def test_a_password_that_nobody_tries_first_is_taken(password: str) -> None:
    passwords.check_rules(password, "alice@example.org")


def test_ones_own_address_is_refused_at_every_door(client: TestClient, session: Session) -> None:
    alice = make_user(session, email="alice.liddell@example.org")
    chosen = "alice.liddell1"
    with pytest.raises(BadInput):
        service.set_password(session, alice, chosen)
    page = sign_in(client, alice).post("/profile/password", data={"current": PASSWORD, "password": chosen})
    assert page.status_code == 422
    assert "your e-mail address" in page.text


def test_rules_that_came_later_lock_nobody_out(session: Session, alice: User) -> None:
    chosen = "password1234"
    alice.password_hash = passwords.rehash(chosen)
    assert signing_in.authenticate(session, alice.email, chosen, "192.0.2.1") is alice
