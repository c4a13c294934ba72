"""More people ask at once than there are connections or threads: they wait for their turn, and everybody is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

import app.kernel.db
from app.accounts import service as accounts
from app.accounts.models import AuditEvent
from app.kernel.db import make_engine, session_scope
from app.kernel.settings import get_settings
from tests.factories import make_user

AT_ONCE = 100


@pytest.fixture
def few_connections(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    few = get_settings().model_copy(update={"database_pool_size": 2})
    monkeypatch.setattr(app.kernel.db, "get_settings", lambda: few)
    monkeypatch.setattr("app.kernel.turns.PATIENCE", 3)
    engine = make_engine(few.database_url, few.database_pool_size)
    monkeypatch.setattr(app.kernel.db, "get_engine", lambda: engine)
    yield engine
    engine.dispose()


def ask(
    web: FastAPI, token: str, requests: int = AT_ONCE, door: tuple[str, str] = ("POST", "/api/v1/annotate/next")
) -> list[httpx.Response]:
    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(web)
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers=headers, timeout=60
        ) as client:
            return await asyncio.gather(*(client.request(*door) for _ in range(requests)))

    return asyncio.run(all_at_once())


def a_token() -> str:
    with session_scope() as session:
        return accounts.create_token(session, make_user(session), "rush", ["annotate"])


def test_a_rush_is_served(few_connections: Engine, web: FastAPI) -> None:
    answers = ask(web, a_token())
    assert {answer.status_code for answer in answers} == {204}, [answer.text for answer in answers][:3]
    assert few_connections.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_who_waits_too_long_is_told_to_come_back(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = a_token()
    monkeypatch.setattr("app.kernel.turns.PATIENCE", 0)
    said = [answer for answer in ask(web, token) if answer.status_code == 503]
    assert said
    assert said[0].headers["retry-after"] == "5"
    assert said[0].json()["detail"] == "Too many requests at once. Nothing was stored; try again."
    monkeypatch.setattr("app.kernel.turns.PATIENCE", 3)
    assert {answer.status_code for answer in ask(web, token, 3)} == {204}, "turns were given back"


def test_a_rush_of_refusals_is_answered_and_noted_and_holds_no_connection(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.accounts.bounded.ALIKE_SECONDS", 0)  # each is written, so that each wants a connection
    answers = ask(web, a_token(), door=("GET", "/api/v1/audit-log"))
    assert {answer.status_code for answer in answers} == {403}, [answer.text for answer in answers][:3]
    assert few_connections.pool.checkedout() == 0  # type: ignore[attr-defined]
    with session_scope() as session:
        noted = session.scalar(select(func.count()).where(AuditEvent.action == "access.refused"))
    assert noted == AT_ONCE


def test_a_refusal_that_cannot_be_noted_is_still_a_refusal(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("the server is gone"))

    monkeypatch.setattr("app.accounts.refusals._write", away)
    assert {answer.status_code for answer in ask(web, a_token(), 3, ("GET", "/api/v1/audit-log"))} == {403}
