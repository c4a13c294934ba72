"""What a caller sees when something breaks: an error, in a form it understands, that tells no secrets."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.accounts.access import SignedIn
from app.accounts.models import Role, User
from app.kernel.db import DbSession
from app.kernel.errors import Conflict
from app.site.main import create_app
from tests.factories import make_user, sign_in

SECRET = "postgresql://corral:hunter2@db/corral"


@pytest.fixture
def web() -> FastAPI:
    web = create_app()

    @web.get("/api/v1/breaks")
    @web.get("/breaks")
    def breaks() -> None:
        raise RuntimeError(SECRET)

    @web.get("/api/v1/away")
    def away() -> None:
        raise OperationalError(SECRET, {}, Exception(SECRET))

    @web.get("/api/v1/people/{email}")
    def make_two(session: DbSession, email: str) -> None:
        for number in range(2):
            one = {"email": email, "name": "Alice", "role": Role.ANNOTATOR, "password_hash": "none"}
            session.add(User(pseudonym=f"annotator-{number}", **one))
            session.flush()

    @web.get("/api/v1/conflict")
    @web.get("/conflict")
    def conflict(session: DbSession, user: SignedIn) -> None:
        user.name = "Changed, and then refused"
        session.flush()
        raise Conflict("The state moved on.")

    return web


@pytest.fixture
def client(web: FastAPI, session: Session) -> Iterator[TestClient]:
    with TestClient(web, headers={"sec-fetch-site": "same-origin"}, follow_redirects=False) as client:
        yield client


def test_a_commit_that_fails_is_an_error_and_not_a_success(client: TestClient, session: Session) -> None:
    alice = sign_in(client, make_user(session))

    def fail(_session: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    event.listen(Session, "before_commit", fail)
    try:
        response = alice.post("/profile/name", data={"name": "Alicia"})
    finally:
        event.remove(Session, "before_commit", fail)
    assert response.status_code == 503
    assert "Nothing was stored" in response.text
    assert "Alicia" not in alice.get("/profile").text


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("INSERT", {}, psycopg.errors.DiskFull("could not extend file: No space left on device")),
        OSError(errno.ENOSPC, "No space left on device", "/srv/secret/spool"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
    ids=["database", "file", "quota"],
)
def test_a_full_disk_is_called_full(client: TestClient, session: Session, error: Exception) -> None:
    alice = sign_in(client, make_user(session))

    def fail(_session: Session) -> None:
        raise error

    event.listen(Session, "before_commit", fail)
    try:
        page = alice.post("/profile/name", data={"name": "Alicia"})
    finally:
        event.remove(Session, "before_commit", fail)
    assert page.status_code == 503
    assert "disk is full" in page.text
    assert "Nothing was stored" in page.text
    assert "away" not in page.text
    assert "/srv/secret" not in page.text


@pytest.mark.parametrize("path", ["/breaks", "/api/v1/breaks", "/api/v1/away"])
def test_an_unforeseen_error_tells_no_secrets_and_keeps_its_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code in {500, 503}
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-request-id"]


def test_the_api_answers_with_problem_json(client: TestClient) -> None:
    response = client.get("/api/v1/breaks")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 500


def too_long() -> Iterator[bytes]:
    yield from (b"a" * 65536 for _ in range(5 * 16))


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/api/v1/nothing", {}, 404),
        ("PUT", "/api/v1/me", {}, 405),
        ("POST", "/api/v1/tokens", {"content": b"{not json", "headers": JSON}, 422),
        ("POST", "/api/v1/tokens", {"content": b"\xff\xfe", "headers": JSON}, 422),
        ("POST", "/api/v1/tokens", {"content": b"a" * 5 * 2**20, "headers": JSON}, 413),
        ("POST", "/api/v1/tokens", {"content": too_long(), "headers": JSON}, 413),
    ],
    ids=["unknown path", "wrong method", "broken JSON", "no text", "too large", "too large, not announced"],
)
def test_under_the_api_every_failure_is_a_problem(
    client: TestClient, session: Session, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    sign_in(client, make_user(session))
    response = client.request(method, path, **options)
    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().keys() >= {"type", "title", "detail"}


def test_a_wrong_method_is_told_the_right_one(client: TestClient) -> None:
    assert client.put("/api/v1/me").headers["allow"] == "GET, PATCH"


def test_who_is_overtaken_gets_a_conflict_and_our_own_mistakes_stay_faults(
    client: TestClient, session: Session
) -> None:
    overtaken = client.get("/api/v1/people/alice@example.org")
    assert overtaken.status_code == 409
    assert "Nothing was stored" in overtaken.json()["detail"]
    assert client.get("/api/v1/people/Alice@example.org").status_code == 500, "an address is stored in lower case"
    assert session.query(User).count() == 0


def test_a_refusal_shows_the_page_to_the_person_who_is_signed_in(client: TestClient, session: Session) -> None:
    response = sign_in(client, make_user(session)).get("/conflict")
    assert response.status_code == 409
    assert "The state moved on." in response.text
    assert "Sign out" in response.text


def test_an_exchange_that_fails_leaves_the_form_alone(client: TestClient, session: Session) -> None:
    response = sign_in(client, make_user(session)).get("/conflict", headers={"hx-request": "true"})
    assert response.status_code == 409
    assert response.headers["hx-retarget"] == "#problems"
    assert "<html" not in response.text


@pytest.mark.parametrize("size", [5 * 2**20])
def test_a_body_beyond_the_limit_is_refused(client: TestClient, session: Session, size: int) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    declared = client.post("/profile/name", content=b"name=" + b"a" * size)
    assert declared.status_code == 413

    def pieces() -> Iterator[bytes]:
        yield b"name="
        for _ in range(size // 65536):
            yield b"a" * 65536

    form = {"content-type": "application/x-www-form-urlencoded"}
    undeclared = client.post("/profile/name", content=pieces(), headers=form)
    assert undeclared.status_code == 413


def test_a_million_fields_are_refused(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post("/profile/name", content="&".join(["a=b"] * 100_000), headers=form)
    assert response.status_code in {400, 413, 422}
