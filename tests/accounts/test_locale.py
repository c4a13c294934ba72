"""Choosing the language in which Corral is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import AuditEvent, Role
from app.kernel import locales
from app.shell.assets import FOR_EVER
from tests.catalogues import write
from tests.factories import PASSWORD, make_user, sign_in

pytestmark = pytest.mark.usefixtures("german")
CHOICES = re.compile(r'<button name="locale" value="([\w-]+)" lang="\1" aria-pressed="(true|false)">([^<]+)</button>')


def test_a_stranger_chooses_and_comes_back_to_the_page_with_its_query(client: TestClient, session: Session) -> None:
    page = client.get("/login?next=/batches/3").text
    assert CHOICES.findall(page) == [("en", "true", "English"), ("de", "false", "Deutsch")]
    back = re.search(r'action="/locale"[^>]*>\s*<input type="hidden" name="next" value="([^"]+)"', page)
    assert back
    answer = client.post("/locale", data={"locale": "de", "next": back[1]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/batches/3")
    german = client.get(answer.headers["location"])
    assert '<html lang="de"' in german.text
    assert "<h1>Anmelden</h1>" in german.text
    assert ("de", "true", "Deutsch") in CHOICES.findall(german.text)


def test_the_choice_is_kept_in_this_browser_for_long_and_read_by_the_server_alone(client: TestClient) -> None:
    kept = client.post("/locale", data={"locale": "de"}).headers["set-cookie"].lower()
    assert kept.startswith("locale=de;")
    assert "httponly" in kept
    assert "samesite=lax" in kept
    assert int(re.search(r"max-age=(\d+)", kept)[1]) > 30 * 86_400  # type: ignore[index]


def test_the_choice_follows_the_person_to_another_browser(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    sign_in(client, alice).post("/locale", data={"locale": "de"})
    session.refresh(alice)
    assert alice.preferences["locale"] == "de"
    client.cookies.clear()
    assert '<html lang="en"' in client.get("/login").text
    client.post("/login", data={"email": alice.email, "password": PASSWORD})
    page = client.get("/profile").text
    assert '<html lang="de"' in page
    assert re.search(r'<input type="radio" name="locale" value="de" checked>', page)


def test_the_browser_is_asked_where_nobody_has_chosen(client: TestClient) -> None:
    page = client.get("/login", headers={"accept-language": "de-AT,de;q=0.9,en;q=0.5"}).text
    assert '<html lang="de"' in page
    client.post("/locale", data={"locale": "en"})
    assert '<html lang="en"' in client.get("/login", headers={"accept-language": "de"}).text


def test_a_language_that_is_not_offered_is_refused(client: TestClient) -> None:
    for code in ("xx", "en-XA", "../de", ""):
        answer = client.post("/locale", data={"locale": code})
        assert answer.status_code == 422, code
        assert "set-cookie" not in answer.headers
    client.cookies.set("locale", '"><script>', domain="testserver.local")
    assert "<script>" not in client.get("/login").text


def test_no_choice_is_shown_where_there_is_one_language(client: TestClient, german: Path, session: Session) -> None:
    (german / "de.po").unlink()
    write(german, "en")
    assert 'action="/locale"' not in client.get("/login").text
    assert 'action="/locale"' not in sign_in(client, make_user(session)).get("/profile").text


def test_a_program_reads_english_and_a_page_of_a_person_does_not(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    secret = service.create_token(session, alice, "program", ["read"], days=1)
    session.commit()
    answer = client.get(
        "/api/v1/teams", headers={"authorization": f"Bearer {secret}", "accept-language": "de", "cookie": "locale=de"}
    )
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("This ")
    sign_in(client, alice).cookies.set("locale", "de")
    answer = client.get("/api/v1/teams")
    assert (answer.status_code, answer.json()["detail"]) == (403, "Dies ist für Reviewer und Admins.")


def test_what_is_refused_in_german_is_noted_in_english(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session)).cookies.set("locale", "de")
    assert "Dies ist für Admins." in client.get("/users").text
    noted = session.scalars(select(AuditEvent).where(AuditEvent.action == "access.refused")).one()
    assert noted.details["reason"] == "This is for admins. Ask one of them if you should have it."


def test_what_is_wrong_with_a_form_is_said_in_german(client: TestClient) -> None:
    client.cookies.set("locale", "de")
    said = client.post("/theme", data={"next": "/"}).text
    assert "Bitte korrigieren Sie: body.theme: Dieses Feld muss ausgefüllt sein." in said
    assert "Nicht gefunden" in client.get("/no/such/page").text


def test_scripts_get_their_words_and_a_browser_keeps_them_for_ever(client: TestClient, german: Path) -> None:
    client.cookies.set("locale", "de")
    address = re.search(r'<script src="(/static/texts/de\.js\?[0-9a-f]{16})"></script>', client.get("/login").text)
    assert address
    script = client.get(address[1])
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"] == FOR_EVER
    assert '"Anmelden"' in script.text
    assert client.get("/static/texts/de.js").headers["cache-control"] == "no-cache"
    write(german, "de", {"Sign in": "Einloggen"})
    assert client.get(address[1]).headers["cache-control"] == "no-cache", "of an earlier version"
    for code in ("en", "xx"):
        assert client.get(f"/static/texts/{code}.js").status_code == 404
    client.cookies.set("locale", "en")
    assert "/static/texts/" not in client.get("/login").text


def test_roles_and_languages_are_named_in_the_readers_words(client: TestClient, session: Session, german: Path) -> None:
    write(german, "de", {"admin": "Verwalter"}, place="app/accounts/models.py")
    bob = sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    bob.cookies.set("locale", "de")
    assert '<option value="admin">Verwalter</option>' in bob.get("/users").text
    assert locales.offered()["de"].name == "Deutsch"
