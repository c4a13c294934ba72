from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.accounts import idempotency, service
from app.accounts.access import ApiSignedIn
from app.accounts.models import AuditEvent
from app.kernel.db import DbSession, session_scope
from app.kernel.errors import Conflict
from app.site.main import create_app
from tests.factories import PASSWORD, make_user, sign_in

URL = "/api/v1/things"


class Thing(BaseModel):
    name: str


class Made(BaseModel):
    number: int
    name: str


@pytest.fixture
def web() -> FastAPI:
    web = create_app()

    @web.post(URL)
    def make(request: Request, session: DbSession, user: ApiSignedIn, form: Thing) -> Response:
        def work() -> Made:
            service.audit(session, user, "thing.made", "thing", None, name=form.name)
            session.flush()
            if form.name == "refused":
                raise Conflict("Not now.")
            number = session.scalar(select(func.count()).where(AuditEvent.action == "thing.made"))
            return Made(number=number or 0, name=form.name)

        return idempotency.once(session, user, request, form.model_dump_json().encode(), work, status=201)

    return web


@pytest.fixture
def client(web: FastAPI, session: Session) -> Iterator[TestClient]:
    with TestClient(web, headers={"sec-fetch-site": "same-origin"}) as client:
        yield sign_in(client, make_user(session))


def made(session: Session) -> int:
    return session.scalar(select(func.count()).where(AuditEvent.action == "thing.made")) or 0


def test_the_same_request_twice_is_done_once_and_answered_alike(client: TestClient, session: Session) -> None:
    headers = {"idempotency-key": "one"}
    first = client.post(URL, json={"name": "a"}, headers=headers)
    second = client.post(URL, json={"name": "a"}, headers=headers)
    assert (first.status_code, first.json()) == (second.status_code, second.json()) == (201, {"number": 1, "name": "a"})
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert made(session) == 1


def test_the_same_key_with_another_request_is_refused(client: TestClient, session: Session) -> None:
    headers = {"idempotency-key": "one"}
    client.post(URL, json={"name": "a"}, headers=headers)
    refused = client.post(URL, json={"name": "b"}, headers=headers)
    assert refused.status_code == 422
    assert "another request" in refused.json()["detail"]
    assert client.post(f"{URL}?other=1", json={"name": "a"}, headers=headers).status_code == 422
    assert made(session) == 1


def test_a_retry_by_another_address_of_the_same_site_is_the_same_request(client: TestClient, session: Session) -> None:
    headers = {"idempotency-key": "one"}
    client.post(URL, json={"name": "a"}, headers=headers)
    again = client.post(URL, json={"name": "a"}, headers=headers | {"host": "127.0.0.1:8000"})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert made(session) == 1


def test_a_retry_makes_no_second_token_and_its_secret_is_nowhere(client: TestClient, session: Session) -> None:
    wish = {"name": "nightly export", "scopes": ["read"], "password": PASSWORD}
    headers = {"idempotency-key": "one"}
    first = client.post("/api/v1/tokens", json=wish, headers=headers)
    again = client.post("/api/v1/tokens", json=wish, headers=headers)
    assert (first.status_code, again.status_code) == (201, 409)
    assert "shown only once" in again.json()["detail"]
    assert again.json()["made"] == {name: value for name, value in first.json().items() if name != "secret"}
    assert [token["id"] for token in client.get("/api/v1/tokens").json()] == [first.json()["id"]]
    stored = session.execute(text("SELECT body::text FROM idempotency_keys")).scalar_one()
    assert first.json()["secret"] not in stored


def test_revoking_twice_is_revoking_once_with_a_key_and_without(client: TestClient, session: Session) -> None:
    wish = {"name": "nightly export", "scopes": ["read"], "password": PASSWORD}
    made = client.post("/api/v1/tokens", json=wish).json()
    url, headers = f"/api/v1/tokens/{made['id']}", {"idempotency-key": "one"}
    answers = [client.delete(url, headers=each) for each in (headers, headers, {})]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3
    assert client.delete("/api/v1/tokens/999999", headers=headers).status_code == 422, "the key is for another request"
    assert client.get("/api/v1/tokens").json() == []


def test_keys_are_each_persons_own(client: TestClient, session: Session) -> None:
    headers = {"idempotency-key": "one"}
    client.post(URL, json={"name": "a"}, headers=headers)
    sign_in(client, make_user(session, name="Charlie"))
    assert client.post(URL, json={"name": "b"}, headers=headers).json() == {"number": 2, "name": "b"}


def test_a_try_that_failed_can_be_tried_again(client: TestClient, session: Session) -> None:
    headers = {"idempotency-key": "one"}
    assert client.post(URL, json={"name": "refused"}, headers=headers).status_code == 409
    assert client.post(URL, json={"name": "a"}, headers=headers).status_code == 201
    assert made(session) == 1


def test_without_a_key_each_request_is_done(client: TestClient, session: Session) -> None:
    assert [client.post(URL, json={"name": "a"}).json()["number"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb"])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    assert client.post(URL, json={"name": "a"}, headers={"idempotency-key": key}).status_code == 422


def test_twenty_at_once_do_it_once_and_all_get_the_same_answer(web: FastAPI, committed: Engine) -> None:
    with session_scope() as session:
        alice = make_user(session)
        token = service.create_token(session, alice, "a program", ["annotate"])
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "one"}
    together = threading.Barrier(20)
    with TestClient(web) as client, ThreadPoolExecutor(20) as pool:

        def post(_number: int) -> tuple[int, str]:
            together.wait(timeout=30)
            response = client.post(URL, json={"name": "a"}, headers=headers)
            return response.status_code, response.text

        answers = set(pool.map(post, range(20)))
    assert answers == {(201, '{"number":1,"name":"a"}')}
    with session_scope() as session:
        assert made(session) == 1


def test_old_keys_are_forgotten(client: TestClient, session: Session) -> None:
    client.post(URL, json={"name": "a"}, headers={"idempotency-key": "old"})
    session.execute(text("UPDATE idempotency_keys SET created_at = now() - interval '8 days'"))
    client.post(URL, json={"name": "a"}, headers={"idempotency-key": "new"})
    assert idempotency.forget_old(session) == 1
