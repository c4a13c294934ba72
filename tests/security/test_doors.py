"""Walks every route: who is let in, who is sent away, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import Role
from app.kernel.settings import get_settings
from tests.factories import make_user, sign_in
from tests.security.doors import OPEN_DOORS, SAFE, WRITING_GETS, Door


def test_only_the_doors_on_the_list_are_open_to_strangers(all_doors: list[Door]) -> None:
    opened = {(door.method, door.template) for door in all_doors if not door.roles}
    assert opened == set(OPEN_DOORS)


def test_a_stranger_is_asked_to_sign_in_at_every_other_door(all_doors: list[Door], client: TestClient) -> None:
    wrong = []
    for door in all_doors:
        if not door.roles:
            continue
        response = door.knock(client)
        if door.is_api:
            good = response.status_code == 401 and response.headers["content-type"] == "application/problem+json"
        elif door.method in SAFE:
            good = response.status_code == 303 and response.headers["location"].startswith("/login")
        else:
            good = response.status_code == 401
        if not good:
            wrong.append((str(door), response.status_code))
    assert wrong == []


def test_an_unknown_token_opens_nothing(all_doors: list[Door], client: TestClient) -> None:
    headers = {"authorization": "Bearer corral_made-up"}
    answers = {str(door): door.knock(client, headers=headers).status_code for door in all_doors if door.roles}
    assert {door for door, status in answers.items() if status not in {401, 303}} == set()


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_a_door_for_others_stays_shut(all_doors: list[Door], client: TestClient, session: Session, role: Role) -> None:
    sign_in(client, make_user(session, role, "Charlie"))
    wrong = []
    for door in all_doors:
        if door.roles and role not in door.roles:
            status = door.knock(client).status_code
            if status not in {403, 404}:
                wrong.append((str(door), status))
    assert wrong == []


@pytest.mark.parametrize("role", list(Role))
def test_what_does_not_exist_is_not_found_and_never_a_fault(
    all_doors: list[Door], client: TestClient, session: Session, role: Role
) -> None:
    sign_in(client, make_user(session, role, "Charlie"))
    wrong = []
    for door in all_doors:
        if door.has_id and role in door.roles:
            status = door.knock(client).status_code
            # a body that is missing may be noticed before the row that is missing
            expected = {404} if door.method in SAFE | {"DELETE"} else {404, 422}
            if status not in expected:
                wrong.append((str(door), status))
    assert wrong == []


@pytest.mark.parametrize("bad", ["0", "-1", "99999999999999999999999", "1.5", "%00", "..%2f..%2fetc%2fpasswd", "'--"])
def test_an_id_that_is_none_is_never_a_fault(
    all_doors: list[Door], client: TestClient, session: Session, bad: str
) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    wrong = []
    for door in all_doors:
        if door.has_id and door.method in SAFE:
            url = door.template.replace("{", "\x01").replace("}", "\x02")
            parts = [bad if part.startswith("\x01") else part for part in url.split("/")]
            status = client.get("/".join(parts)).status_code
            if status not in {404, 422}:
                wrong.append((str(door), status))
    assert wrong == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://testserver.evil.example"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
        {"sec-fetch-site": "same-site"},
        {"referer": "http://testserver/"},
        {},
    ],
    ids=lambda headers: ",".join(headers) or "nothing",
)
def test_another_site_can_cause_no_write(
    all_doors: list[Door], stranger: TestClient, session: Session, headers: dict[str, str]
) -> None:
    sign_in(stranger, make_user(session, Role.ADMIN, "Bob"))
    unsafe = [door for door in all_doors if door.method not in SAFE]
    answers = {str(door): door.knock(stranger, headers=headers).status_code for door in unsafe}
    assert {door: status for door, status in answers.items() if status != 403} == {}


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"origin": "http://testserver"}, True),
        ({"origin": "https://corral.example.org"}, True),
        ({"origin": "https://other.example.org"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
    ],
    ids=lambda value: ",".join(value.values()) if isinstance(value, dict) else None,
)
def test_this_site_can_by_its_own_address_and_by_the_public_one(
    stranger: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], *, passes: bool
) -> None:
    public = get_settings().model_copy(update={"public_url": "https://corral.example.org"})
    monkeypatch.setattr("app.shell.web.get_settings", lambda: public)
    answer = stranger.post("/theme", data={"theme": "dark"}, headers=headers)
    assert answer.status_code == (303 if passes else 403)


def test_a_bearer_token_excuses_no_page_from_the_origin_check(
    all_doors: list[Door], stranger: TestClient, session: Session
) -> None:
    bob = sign_in(stranger, make_user(session, Role.ADMIN, "Bob"))
    pages = [door for door in all_doors if door.method not in SAFE and not door.is_api]
    headers = {"authorization": "Bearer anything", "origin": "https://evil.example"}
    assert {door.knock(bob, headers=headers).status_code for door in pages} == {403}


@contextmanager
def written(engine: Engine) -> Iterator[list[str]]:
    """The writing statements that are executed meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def test_reading_writes_nothing(all_doors: list[Door], client: TestClient, session: Session, engine: Engine) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    for door in all_doors:
        if door.method in SAFE:
            with written(engine) as statements:
                door.knock(client)
            if door.template in WRITING_GETS:
                statements = [each for each in statements if not each.startswith("INSERT INTO audit_events")]
            assert statements == [], str(door)


def test_no_answer_lacks_the_security_headers(
    all_doors: list[Door], client: TestClient, stranger: TestClient, session: Session
) -> None:
    answers = [door.knock(client) for door in all_doors]
    answers += [door.knock(stranger) for door in all_doors]
    answers += [client.get("/no/such/page"), client.get("/api/v1/nothing"), client.get("/static/nothing.css")]
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    answers += [door.knock(client) for door in all_doors]
    for response in answers:
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-request-id"]
        assert "frame-ancestors 'none'" in policy


def test_no_page_is_kept_by_a_cache(all_doors: list[Door], client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    for door in all_doors:
        if door.method in SAFE and not door.is_api and not door.has_id:
            response = door.knock(client)
            if response.headers.get("content-type", "").startswith("text/html"):
                assert response.headers["cache-control"] == "no-store", str(door)


def test_a_disabled_person_finds_every_door_shut(all_doors: list[Door], client: TestClient, session: Session) -> None:
    bob, beatrice = make_user(session, Role.ADMIN, "Bob"), make_user(session, Role.ADMIN, "Beatrice")
    sign_in(client, bob)
    assert client.get("/users").status_code == 200
    service.disable(session, beatrice, bob)
    session.commit()
    answers = {str(door): door.knock(client).status_code for door in all_doors if door.roles}
    assert {door: status for door, status in answers.items() if status not in {401, 303}} == {}
