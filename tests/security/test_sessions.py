"""Signing in from outside: fixation, enumeration, open redirects, cookies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import Role, User
from app.shell.web import safe_next
from app.site.main import create_app
from tests.factories import PASSWORD, make_user, sign_in

TARGETS = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\x00//evil.example",
    " //evil.example",
    "",
]


@pytest.fixture
def tls(session: Session) -> Iterator[TestClient]:
    headers = {"sec-fetch-site": "same-origin"}
    with TestClient(create_app(), "https://testserver", headers=headers, follow_redirects=False) as client:
        yield client


def log_in(client: TestClient, email: str) -> None:
    assert client.post("/login", data={"email": email, "password": PASSWORD}).status_code == 303


@pytest.mark.parametrize("target", TARGETS)
def test_signing_in_leads_to_no_other_site(client: TestClient, session: Session, target: str) -> None:
    alice = make_user(session)
    response = client.post("/login", data={"email": alice.email, "password": PASSWORD, "next": target})
    assert response.headers["location"] == "/"
    assert client.get("/login", params={"next": target}).headers["location"] == "/"
    assert safe_next(target) == "/"


def test_signing_in_leads_to_the_page_that_was_asked_for(client: TestClient, session: Session) -> None:
    asked = client.get("/annotate?batch=3")
    assert asked.headers["location"] == "/login?next=%2Fannotate%3Fbatch%3D3"
    alice = make_user(session)
    data = {"email": alice.email, "password": PASSWORD, "next": "/annotate?batch=3"}
    assert client.post("/login", data=data).headers["location"] == "/annotate?batch=3"


def test_a_session_id_that_was_there_before_is_not_the_one_after(client: TestClient, session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    planted = "planted by the attacker"
    client.cookies.set("corral", planted)
    log_in(client, alice.email)
    first = client.cookies.get("corral", domain="testserver.local")
    assert first
    assert first != planted
    client.cookies.clear()
    client.cookies.set("corral", first)
    log_in(client, charlie.email)
    client.cookies.clear()
    client.cookies.set("corral", first)
    assert client.get("/profile").status_code == 303, "signing in again ended the session before"


def test_signing_out_ends_the_session_on_the_server(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    sign_in(client, alice)
    cookie = client.cookies["corral"]
    assert client.post("/logout").headers["location"] == "/login"
    client.cookies.set("corral", cookie)
    assert client.get("/profile").status_code == 303


def test_the_cookie_over_tls_is_bound_to_the_host(tls: TestClient, session: Session) -> None:
    alice = make_user(session)
    response = tls.post("/login", data={"email": alice.email, "password": PASSWORD})
    cookies = {each.split("=")[0]: each.lower() for each in response.headers.get_list("set-cookie")}
    for name in ("__Host-corral", "__Host-corral-device"):
        flags = cookies[name]
        assert "; secure" in flags
        assert "; httponly" in flags
        assert "; samesite=lax" in flags
        assert "; path=/" in flags
        assert "domain=" not in flags
    assert tls.get("/profile").status_code == 200


def test_a_cookie_of_plain_http_is_not_believed_over_tls(tls: TestClient, session: Session) -> None:
    sign_in(tls, make_user(session))
    assert tls.get("/profile").status_code == 303


def test_known_unknown_and_disabled_people_get_the_same_answer(client: TestClient, session: Session) -> None:
    known, disabled = make_user(session), make_user(session, name="Dora")
    session.execute(text("UPDATE users SET disabled_at = now() WHERE id = :id"), {"id": disabled.id})
    session.commit()
    pages = set()
    for email in (known.email, disabled.email, "nobody@example.org"):
        response = client.post("/login", data={"email": email, "password": "a wrong password"})
        assert response.status_code == 422
        pages.add(response.text.replace(email, "…"))
    assert len(pages) == 1


def test_a_failed_try_is_remembered_although_it_failed(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    for _ in range(5):
        assert client.post("/login", data={"email": alice.email, "password": "wrong"}).status_code == 422
    refused = client.post("/login", data={"email": alice.email, "password": PASSWORD})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_guessing_the_current_password_in_an_open_browser_is_throttled_too(
    client: TestClient, session: Session
) -> None:
    sign_in(client, make_user(session))
    data = {"current": "a guess", "password": "another long password"}
    statuses = [client.post("/profile/password", data=data).status_code for _ in range(6)]
    assert statuses == [422] * 5 + [429]


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("/profile/name", {"name": "Alice", "role": "admin"}),
        ("/login", {"email": "a@example.org", "password": PASSWORD, "role": "admin"}),
        ("/tokens", {"name": "x", "scopes": "read", "user_id": "1"}),
    ],
)
def test_a_field_that_the_form_does_not_have_is_refused(
    client: TestClient, session: Session, url: str, data: dict[str, str]
) -> None:
    alice = make_user(session)
    sign_in(client, alice)
    assert client.post(url, data=data).status_code == 422
    session.refresh(alice)
    assert alice.role is Role.ANNOTATOR


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [(["annotate"], False, False), (["read"], True, False), (["admin"], True, True)],
)
def test_a_token_does_what_its_scopes_say(
    client: TestClient, session: Session, scopes: list[str], *, reads: bool, writes: bool
) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    headers = {"authorization": f"Bearer {_token(session, bob, scopes)}"}
    assert client.get("/api/v1/me", headers=headers).json()["name"] == "Bob"
    assert (client.get("/metrics", headers=headers).status_code == 200) is reads
    made = client.post("/api/v1/tokens", json={"name": "more", "scopes": ["admin"]}, headers=headers)
    assert (made.status_code == 201) is writes
    assert client.get("/users", headers=headers).status_code == 303, "no token opens a page"


def test_an_annotate_token_makes_no_greater_token(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    headers = {"authorization": f"Bearer {_token(session, bob, ['annotate'])}"}
    refused = client.post("/api/v1/tokens", json={"name": "more", "scopes": ["read"]}, headers=headers)
    assert refused.status_code == 403


def test_a_bad_token_is_not_saved_by_a_good_cookie(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    assert client.get("/api/v1/me").status_code == 200
    assert client.get("/api/v1/me", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_a_token_loses_with_its_owner_what_the_owner_loses(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    headers = {"authorization": f"Bearer {_token(session, bob, ['admin'])}"}
    assert client.get("/metrics", headers=headers).status_code == 200
    bob.role = Role.ANNOTATOR
    session.commit()
    assert client.get("/metrics", headers=headers).status_code == 403


def _token(session: Session, user: User, scopes: list[str]) -> str:
    token = service.create_token(session, user, "a program", scopes)
    session.commit()
    return token
