"""Clients that stop reading or writing in the middle: they hold neither a connection nor a turn that pages need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

import app.db
from app.accounts import service as accounts
from app.accounts.models import Role
from app.db import IDLE_SECONDS, TURNS, make_engine, session_scope
from app.settings import get_settings
from app.spool import MAKERS
from tests.factories import make_annotation, make_comparison, make_user

CLIENTS = 9
"""One more than there are connections."""


@pytest.fixture
def few_connections(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    few = get_settings().model_copy(update={"database_pool_size": 4})
    monkeypatch.setattr("app.db.get_settings", lambda: few)
    monkeypatch.setattr("app.spool.get_settings", lambda: few)
    engine = make_engine(few.database_url, few.database_pool_size)
    monkeypatch.setattr(app.db, "get_engine", lambda: engine)
    monkeypatch.setattr("app.turns.PATIENCE", 60)
    yield engine
    engine.dispose()


def bobs_token() -> str:
    with session_scope() as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        make_annotation(session, make_user(session, name="Alice"), make_comparison(session), strengths=[2])
        return accounts.create_token(session, bob, "script", ["admin", "annotate"])


def in_use(engine: Engine) -> int:
    return int(engine.pool.checkedout())  # type: ignore[attr-defined]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - a pool of connections tells nobody what comes back to it
            await asyncio.sleep(0.01)


class Client:
    """One request, spoken to the application as a server speaks it."""

    def __init__(self, web: FastAPI, method: str, path: str, token: str, **headers: str) -> None:
        sent = {"authorization": f"Bearer {token}", "host": "test", **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "client": ("192.0.2.1", 1),
            "server": ("test", 80),
        }
        self._web = web
        self.waits = asyncio.Event()
        """Set when the application waits for this client."""
        self.goes = asyncio.Event()
        """Set by a test that closes the connection."""
        self.said: list[dict[str, Any]] = []
        self._first = b""
        self._asked = False

    def start(self, first: bytes = b"") -> asyncio.Task[None]:
        self._first = first
        return asyncio.create_task(self._web(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._first, "more_body": self._scope["method"] != "GET"}
        if self._scope["method"] != "GET":
            self.waits.set()
        await self.goes.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.said.append(message)
        if message["type"] == "http.response.body":
            self.waits.set()
            await self.goes.wait()


async def a_page_answers(web: FastAPI, token: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as client:
        answer = await client.post("/api/v1/annotate/next", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code in {200, 204}, answer.text


async def end(clients: list[Client], tasks: list[asyncio.Task[None]]) -> None:
    for client in clients:
        client.goes.set()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_downloads_that_nobody_reads_hold_no_connection(few_connections: Engine, web: FastAPI, form: str) -> None:
    token = bobs_token()

    async def attack() -> None:
        clients = [Client(web, "GET", "/api/v1/preferences/export", token) for _ in range(CLIENTS)]
        for client in clients:
            client._scope["query_string"] = f"format={form}".encode()
        tasks = [client.start() for client in clients]
        try:
            await asyncio.gather(*(client.waits.wait() for client in clients))
            assert {client.said[0]["status"] for client in clients} == {200}
            await until(lambda: in_use(few_connections) == 0)
            await a_page_answers(web, token)
        finally:
            await end(clients, tasks)

    asyncio.run(attack())
    assert in_use(few_connections) == 0


def test_a_download_that_is_broken_off_stops_being_made(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, made = bobs_token(), []

    def endless(session: Any, *_: Any) -> Iterator[bytes]:
        try:
            while True:
                session.execute(text("SELECT 1"))
                yield bytes(1024)
        finally:
            made.append("closed")

    monkeypatch.setattr("app.preferences.export.stream", endless)

    async def attack() -> None:
        client = Client(web, "GET", "/api/v1/preferences/export", token)
        task = client.start()
        await client.waits.wait()
        await end([client], [task])
        await until(lambda: bool(made) and in_use(few_connections) == 0)
        assert MAKERS.free() == 1

    asyncio.run(attack())


def test_uploads_that_do_not_end_hold_neither_connection_nor_turn(few_connections: Engine, web: FastAPI) -> None:
    token = bobs_token()

    async def attack() -> None:
        uploads = [
            Client(web, "POST", "/api/v1/batches", token, content_type="multipart/form-data; boundary=x")
            for _ in range(4)
        ]
        tasks = [upload.start(b"--x\r\n") for upload in uploads]
        try:
            await asyncio.gather(*(upload.waits.wait() for upload in uploads))
            assert in_use(few_connections) == 0
            assert TURNS.free() == few_connections.pool.size() * 3 // 2  # type: ignore[attr-defined]
            await a_page_answers(web, token)
        finally:
            await end(uploads, tasks)
        assert TURNS.free() == few_connections.pool.size() * 3 // 2  # type: ignore[attr-defined]

    asyncio.run(attack())


def test_a_client_that_waits_in_vain_for_a_download_is_told_to_come_back(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bobs_token()
    monkeypatch.setattr("app.turns.PATIENCE", 0)

    async def attack() -> int:
        turn = await MAKERS.take()
        client = Client(web, "GET", "/api/v1/preferences/export", token)
        task = client.start()
        await client.waits.wait()
        await end([client], [task])
        turn.give_back()
        return int(client.said[0]["status"])

    assert asyncio.run(attack()) == 503


def test_the_server_ends_transactions_that_were_forgotten(few_connections: Engine) -> None:
    with few_connections.connect() as connection:
        shown = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert shown == f"{IDLE_SECONDS // 60}min"


def test_a_busy_server_is_ready_and_a_database_that_hangs_is_not(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as client:
            return (await client.get("/readyz")).status_code

    async def busy() -> int:
        turns = [await TURNS.take() for _ in range(TURNS.free())]
        answer = await ask()
        for turn in turns:
            turn.give_back()
        return answer

    assert asyncio.run(busy()) == 200
    monkeypatch.setattr("app.health.READY_SECONDS", 0)
    assert asyncio.run(ask()) == 503
