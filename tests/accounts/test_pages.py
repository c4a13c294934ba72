from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import queries, service, signing_in
from app.accounts.models import LoginSession, Role, User
from app.kernel.settings import get_settings
from tests.factories import PASSWORD, make_user, sign_in


def test_somebody_invited_makes_an_account_and_is_signed_in(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    page = sign_in(client, bob).post("/users/invites", data={"role": "annotator", "password": PASSWORD})
    link = re.search(r"http://testserver(/invite/[\w-]+)", page.text)
    assert link
    client.cookies.clear()
    form = client.get(link[1]).text
    assert 'autocomplete="new-password"' in form
    assert "At least 12 characters" in form
    data = {"name": "Alice", "email": "alice@example.org", "password": PASSWORD}
    assert client.post(link[1], data=data).headers["location"] == "/"
    assert "Hello, Alice" in client.get("/").text
    assert client.get(link[1]).status_code == 404, "the link works once"


def test_a_mistake_in_the_form_is_shown_beside_its_field_and_nothing_is_retyped(
    client: TestClient, session: Session
) -> None:
    secret = service.create_invite(session, role=Role.ANNOTATOR)
    session.commit()
    data = {"name": "Alice <3", "email": "alice@example.org", "password": "short"}
    page = client.post(f"/invite/{secret}", data=data)
    assert page.status_code == 422
    assert 'value="Alice &lt;3"' in page.text
    assert 'value="alice@example.org"' in page.text
    assert re.search(
        r'name="password"[^>]*aria-invalid="true" aria-describedby="error-password hint-password"', page.text
    )
    assert 'id="error-password">The password needs at least 12 characters; this one has 5.' in page.text
    assert "short" not in page.text.replace("too short", "")


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        (Role.ANNOTATOR, {"/annotate", "/dialogues", "/queues"}),
        (
            Role.ADMIN,
            {
                "/annotate",
                "/dialogues",
                "/queues",
                "/batches",
                "/review",
                "/preferences",
                "/rounds",
                "/board",
                "/checkpoints",
                "/users",
            },
        ),
    ],
)
def test_the_navigation_shows_what_the_role_may_open(
    client: TestClient, session: Session, role: Role, sees: set[str]
) -> None:
    page = sign_in(client, make_user(session, role)).get("/profile").text
    navigation = re.search(r'<ul class="site-nav">(.*?)</ul>', page, re.DOTALL)
    assert navigation
    assert set(re.findall(r'href="([^"]+)"', navigation[1])) == sees


def test_bob_gives_a_role_closes_and_opens_an_account(client: TestClient, session: Session) -> None:
    bob, charlie = make_user(session, Role.ADMIN, "Bob"), make_user(session, name="Charlie")
    signing_in.start_session(session, charlie)
    session.commit()
    sign_in(client, bob)
    assert client.post(f"/users/{charlie.id}/role", data={"role": "reviewer", "password": PASSWORD}).status_code == 303
    assert "Charlie is now reviewer." in client.get("/users").text
    assert client.post(f"/users/{charlie.id}/sign-out").status_code == 303
    assert "signed out of 1 browser." in client.get("/users").text
    client.post(f"/users/{charlie.id}/disable")
    assert "disabled" in client.get("/users").text
    client.post(f"/users/{charlie.id}/enable")
    session.expire_all()
    found = session.get_one(User, charlie.id)
    assert (found.role, found.disabled_at) == (Role.REVIEWER, None)


def test_a_flash_is_said_once(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session)).post("/profile/name", data={"name": "Alicia"})
    assert "Name saved." in client.get("/profile").text
    assert "Name saved." not in client.get("/profile").text


def test_alice_sees_her_browsers_and_ends_one(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    signing_in.start_session(session, alice, user_agent="Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0")
    session.commit()
    sign_in(client, alice)
    assert "Firefox on Linux" in client.get("/profile").text
    other = queries.live_sessions(session, alice)[-1]
    client.post(f"/profile/sessions/{other.id}/end")
    assert "Firefox on Linux" not in client.get("/profile").text
    assert client.get("/profile").status_code == 200, "her own goes on"


def test_alice_changes_her_password_and_stays_signed_in_here_only(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    elsewhere = signing_in.start_session(session, alice)
    session.commit()
    sign_in(client, alice)
    data = {"current": PASSWORD, "password": "another long password"}
    assert client.post("/profile/password", data=data).status_code == 303
    assert client.get("/profile").status_code == 200
    assert queries.session_holder(session, elsewhere) is None


@pytest.mark.parametrize("revoke", [True, False])
def test_alice_says_whether_her_programs_go_on_with_a_new_password(
    client: TestClient, session: Session, *, revoke: bool
) -> None:
    alice = make_user(session)
    token = service.create_token(session, alice, "script", ["read"])
    sign_in(client, alice)
    data = {"current": PASSWORD, "password": "another long password"} | ({"revoke_tokens": "true"} if revoke else {})

    assert client.post("/profile/password", data=data).status_code == 303

    assert ("1 API token still works" in client.get("/profile").text) is not revoke
    assert (queries.token_holder(session, token) is None) is revoke


def test_a_token_is_shown_once(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    page = client.post(
        "/tokens", data={"name": "export", "scopes": ["annotate", "read"], "days": 30, "password": PASSWORD}
    ).text
    secret = re.search(r'value="(corral_[\w-]+)"', page)
    assert secret
    again = client.get("/tokens").text
    assert secret[1] not in again
    assert "export" in again
    me = client.get("/api/v1/me", headers={"authorization": f"Bearer {secret[1]}"})
    assert me.json()["role"] == "annotator"


@pytest.mark.parametrize("headers", [{}, {"hx-request": "true"}])
@pytest.mark.parametrize("target", ["/日本", "/?q=é", "/%E6%97%A5", "/a b", "/\U0001f40e"])
def test_a_way_back_may_have_any_letters(client: TestClient, headers: dict[str, str], target: str) -> None:
    answer = client.post("/theme", data={"theme": "dark", "next": target}, headers=headers)
    name = "hx-redirect" if headers else "location"
    assert answer.status_code in {204, 303}
    assert answer.headers[name].isascii()
    assert unquote(answer.headers[name]) == unquote(target)


def test_the_theme_follows_the_person_and_the_browser(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    sign_in(client, alice).post("/theme", data={"theme": "dark", "next": "//evil.example"})
    assert 'data-theme="dark"' in client.get("/profile").text
    client.cookies.clear()
    assert 'data-theme="system"' in client.get("/login").text
    client.post("/login", data={"email": alice.email, "password": PASSWORD})
    assert 'data-theme="dark"' in client.get("/profile").text
    client.cookies.set("theme", '"><script>', domain="testserver.local")
    assert "<script>" not in client.get("/login").text


def test_names_are_text_everywhere(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "<img src=x onerror=alert(1)>", email="bob@example.org")
    sign_in(client, bob)
    service.create_token(session, bob, "<svg/onload=alert(1)>", ["read"])
    session.add(LoginSession(token_hash=b"x" * 32, user_id=bob.id, user_agent='"><script>', expires_at=_far(session)))
    session.commit()
    for url in ("/", "/users", "/profile", "/tokens"):
        page = client.get(url).text
        for payload in ("<img src=x", "<svg/onload", '"><script>'):
            assert payload not in page, url


def test_an_invite_link_names_the_public_address(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    settings = get_settings().model_copy(update={"public_url": "http://corral.example/"})
    monkeypatch.setattr("app.shell.web.get_settings", lambda: settings)
    assert (
        "http://corral.example/invite/"
        in client.post("/users/invites", data={"role": "admin", "password": PASSWORD}).text
    )


def _far(session: Session) -> object:
    return session.scalar(select(LoginSession.expires_at).limit(1))
