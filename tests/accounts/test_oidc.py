"""Signing in through a real identity provider, which runs beside the tests; and all that has to be refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import oidc, provided
from app.accounts.models import AuditEvent, LoginSession, ProviderAccount, Role, User
from app.accounts.oidc import Begun, Claims, Problem
from app.accounts.oidc_transport import transport
from app.kernel.errors import Conflict
from app.services.embedded import free_port
from tests.accounts import identity_provider
from tests.accounts.conftest import BACK, SITE, Configure
from tests.certified import certificate
from tests.factories import PASSWORD, make_user, sign_in
from tests.webhooks.receiving import receiving


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real provider that knows Dana (staff), Erin (ml and staff) and Frank (neither)."""
    with identity_provider.running(free_port(), BACK, tmp_path_factory.mktemp("provider")) as address:
        yield address


def go_there(client: TestClient, person: str, target: str = "/", **more: str) -> str:
    """From our page through the provider, as ``person``: the address to which the provider sends the browser back."""
    begun = client.get("/login/provider", params={"next": target, **more})
    assert begun.status_code == 303, begun.text
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    return through(begun.headers["location"], person)


def through(address: str, person: str) -> str:
    answer = httpx.get(address, headers={"x-person": person})
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(BACK)
    return answer.headers["location"].removeprefix(SITE)


def user_of(session: Session, email: str) -> User:
    session.expire_all()
    return session.scalars(select(User).where(User.email == email)).one()


def test_the_first_sign_in_makes_an_account_with_the_role_of_the_groups(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    assert "Sign in with Example ID" in client.get("/login").text
    arrived = client.get(go_there(client, "dana", "/annotate?batch=3"))
    assert arrived.headers["location"] == "/annotate?batch=3"
    assert "Dana" in client.get("/profile").text
    dana = user_of(session, "dana@example.org")
    assert (dana.role, dana.password_hash) == (Role.ANNOTATOR, "")
    client.cookies.clear()
    assert client.get(go_there(client, "erin")).headers["location"] == "/"
    assert user_of(session, "erin@example.org").role is Role.ADMIN
    assert session.scalars(select(ProviderAccount.issuer)).all() == [issuer, issuer]


def test_whoever_is_in_no_group_with_a_role_is_refused_in_a_sentence(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    page = client.get(go_there(client, "frank"))
    assert page.status_code == 422
    assert "You are in no group of Example ID that may use Corral." in page.text
    assert session.scalars(select(User)).all() == []
    assert session.scalars(select(AuditEvent.details["reason"].astext)).all() == ["no group with a role"]
    assert client.get("/profile").status_code == 303


def test_a_token_for_another_application_lets_nobody_in(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer, client_id=identity_provider.MISLED)
    page = client.get(go_there(client, "dana"))
    assert page.status_code == 422
    assert "Example ID sent a sign-in that is meant for another application, so nobody is signed in." in page.text
    assert session.scalars(select(User)).all() == []


def test_the_role_follows_the_groups_but_the_last_admin_stays_one(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    client.get(go_there(client, "erin"))
    configure(issuer, roles={"staff": "reviewer"})
    client.get(go_there(client, "erin"))
    assert user_of(session, "erin@example.org").role is Role.ADMIN
    assert "provider.role_kept" in session.scalars(select(AuditEvent.action)).all()
    make_user(session, Role.ADMIN, "Bob")
    client.get(go_there(client, "erin"))
    assert user_of(session, "erin@example.org").role is Role.REVIEWER


def test_a_closed_account_stays_closed(client: TestClient, session: Session, issuer: str, configure: Configure) -> None:
    configure(issuer)
    client.get(go_there(client, "dana"))
    user_of(session, "dana@example.org").disabled_at = func.now()
    session.commit()
    page = client.get(go_there(client, "dana"))
    assert "This account is closed." in page.text
    assert client.get("/profile").status_code == 303


def test_an_account_with_the_same_address_is_connected_by_who_has_its_password(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    dana = make_user(session, Role.REVIEWER, "Dana", email="dana@example.org")
    refused = client.get(go_there(client, "dana"))
    assert "There is an account for dana@example.org already." in refused.text
    sign_in(client, dana)
    assert client.post("/profile/provider/connect", data={"password": "wrong"}).status_code == 422
    page = client.post("/profile/provider/connect", data={"password": PASSWORD})
    address = page.text.partition('button--primary" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert client.get(through(address, "dana")).headers["location"] == "/profile"
    assert provided.account_of(session, dana)
    client.cookies.clear()
    assert client.get(go_there(client, "dana")).headers["location"] == "/"
    assert user_of(session, "dana@example.org").role is Role.ANNOTATOR, "from now on by the groups"
    assert client.post("/profile/provider/disconnect", data={"password": PASSWORD}).status_code == 303
    assert provided.account_of(session, dana) is None


def test_passwords_of_connected_people_can_be_switched_off_and_the_command_line_brings_them_back(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    provider = configure(issuer, only=True)
    bob, dana = make_user(session, Role.ADMIN, "Bob"), make_user(session, name="Dana")
    provided.connect(session, dana, provider, Claims("dana", {"groups": ["staff"]}, None))
    session.commit()
    for person, status in ((dana, 422), (bob, 303)):
        assert client.post("/login", data={"email": person.email, "password": PASSWORD}).status_code == status
    provided.disconnect(session, None, dana)
    session.commit()
    assert client.post("/login", data={"email": dana.email, "password": PASSWORD}).status_code == 303


def test_who_has_no_password_is_asked_by_the_provider_again(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    client.get(go_there(client, "dana"))
    dana = user_of(session, "dana@example.org")
    session.execute(update(LoginSession).values(asked_at=func.now() - timedelta(minutes=11)))
    session.commit()
    data = {"name": "script", "scopes": "read", "password": ""}
    refused = client.post("/tokens", data=data)
    assert refused.status_code == 422
    assert "/login/provider?again=true&amp;next=%2Ftokens" in refused.text
    begun = client.get("/login/provider?again=true&next=/tokens")
    assert "prompt=login" in begun.headers["location"]
    once_asked = begun.headers["location"].replace("&prompt=login", "")
    assert client.get(through(once_asked, "dana")).headers["location"] == "/tokens"
    assert "Copy your new token now" in client.post("/tokens", data=data).text
    empty = client.post("/login", data={"email": dana.email, "password": ""})
    assert empty.status_code == 422, "no password is not an empty one"
    nobody = client.post("/login", data={"email": dana.email, "password": "the account that does not exist"})
    assert nobody.status_code == 422


def test_what_did_not_begin_in_this_browser_signs_nobody_in(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    configure(issuer)
    back = go_there(client, "dana")
    carried = client.cookies["corral-provider"]
    client.cookies.clear()
    assert "did not begin in this browser" in client.get(back).text
    go_there(client, "dana")
    assert "did not begin in this browser" in client.get(back).text, "the state of another try"
    client.cookies.clear()
    client.cookies.set("corral-provider", carried)
    elsewhere = back.replace(urlencode({"iss": issuer}), urlencode({"iss": "https://evil.example"}))
    assert "the answer of another provider" in client.get(elsewhere).text
    assert client.get("/profile").status_code == 303


def test_a_code_counts_once_and_with_its_own_verifier(
    client: TestClient, session: Session, issuer: str, configure: Configure
) -> None:
    provider = configure(issuer)
    begun = Begun("state", "nonce", "v" * 64, "/")
    code = parse_qs(urlsplit(through(oidc.address(provider, begun, BACK), "dana")).query)["code"][0]
    with pytest.raises(Problem, match="did not accept this sign-in"):
        oidc.claims_of(provider, Begun("state", "nonce", "w" * 64, "/"), BACK, code)
    assert oidc.claims_of(provider, begun, BACK, code).groups("groups") == {"staff"}
    with pytest.raises(Problem, match="did not accept this sign-in"):
        oidc.claims_of(provider, begun, BACK, code)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_it_leads_to_no_other_site(
    client: TestClient, session: Session, issuer: str, configure: Configure, target: str
) -> None:
    configure(issuer)
    assert client.get(go_there(client, "dana", target)).headers["location"] == "/"


def test_a_provider_that_is_away_leaves_the_password(
    client: TestClient, session: Session, configure: Configure
) -> None:
    configure(f"http://localhost:{free_port()}")
    page = client.get("/login/provider")
    assert page.status_code == 503
    assert (
        "Example ID cannot be reached at the moment. Try again in a minute, or sign in with your password." in page.text
    )
    assert 'name="password"' in page.text
    bob = make_user(session, Role.ADMIN, "Bob")
    assert client.post("/login", data={"email": bob.email, "password": PASSWORD}).status_code == 303
    assert client.get("/login/provider/back?code=x&state=y").status_code == 422


def test_without_a_provider_there_are_no_such_pages(client: TestClient, session: Session) -> None:
    assert client.get("/login/provider").status_code == 404
    assert client.get("/login/provider/back").status_code == 404
    assert "Sign in with" not in client.get("/login").text
    dana = make_user(session)
    with pytest.raises(Conflict):
        provided.disconnect(session, None, dana)


def test_a_provider_whose_certificate_is_of_our_own_authority_is_believed_where_the_environment_names_it(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path)
    with receiving(files) as receiver:
        provider = configure(receiver.url)

        def ask() -> int:
            with httpx2.Client(transport=transport(provider)) as client:
                return client.post(receiver.url).status_code

        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            ask()
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        assert ask() == 204
