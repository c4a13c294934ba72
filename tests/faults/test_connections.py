"""Clients that stop reading or writing in the middle: they hold neither a connection nor a turn that pages need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

import app.kernel.db
from app.accounts import service as accounts
from app.accounts.models import Role
from app.kernel.db import IDLE_SECONDS, TURNS, make_engine, session_scope
from app.kernel.settings import get_settings
from app.shell.bodies import ARRIVING, FORM_LIMIT_BYTES, LARGE_BODY
from app.shell.spool import MAKERS, SHELF
from tests.factories import make_annotation, make_comparison, make_user

CLIENTS = 9
"""One more than there are connections."""


@pytest.fixture
def few_connections(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    few = get_settings().model_copy(update={"database_pool_size": 4})
    monkeypatch.setattr("app.kernel.db.get_settings", lambda: few)
    monkeypatch.setattr("app.shell.spool.get_settings", lambda: few)
    engine = make_engine(few.database_url, few.database_pool_size)
    monkeypatch.setattr(app.kernel.db, "get_engine", lambda: engine)
    monkeypatch.setattr("app.kernel.turns.PATIENCE", 60)
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
        await until(lambda: bool(made) and in_use(few_connections) == 0 and MAKERS.free() == 1)

    asyncio.run(attack())


def test_uploads_that_do_not_end_hold_neither_connection_nor_turn(few_connections: Engine, web: FastAPI) -> None:
    token = bobs_token()
    turns = few_connections.pool.size() * 3 // 2  # type: ignore[attr-defined]

    def nothing_is_held() -> bool:
        return in_use(few_connections) == 0 and TURNS.free() == turns

    async def attack() -> None:
        uploads = [
            Client(web, "POST", "/api/v1/batches", token, content_type="multipart/form-data; boundary=x")
            for _ in range(4)
        ]
        tasks = [upload.start(b"--x\r\n") for upload in uploads]
        try:
            await asyncio.gather(*(upload.waits.wait() for upload in uploads))
            await until(nothing_is_held)
            await a_page_answers(web, token)
        finally:
            await end(uploads, tasks)
        await until(nothing_is_held)

    asyncio.run(attack())


def test_a_client_that_waits_in_vain_for_a_download_is_told_to_come_back(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bobs_token()
    monkeypatch.setattr("app.kernel.turns.PATIENCE", 0)

    async def attack() -> int:
        turn = await MAKERS.take()
        client = Client(web, "GET", "/api/v1/preferences/export", token)
        task = client.start()
        await client.waits.wait()
        await end([client], [task])
        turn.give_back()
        return int(client.said[0]["status"])

    assert asyncio.run(attack()) == 503


def limited(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
    few = get_settings().model_copy(update={"database_pool_size": 4} | limits)
    monkeypatch.setattr("app.shell.spool.get_settings", lambda: few)
    monkeypatch.setattr("app.shell.bodies.get_settings", lambda: few)


def answer_of(client: Client) -> tuple[int, str, str]:
    """Status, ``Retry-After`` and text."""
    headers = {name.decode(): value.decode() for name, value in client.said[0]["headers"]}
    return client.said[0]["status"], headers.get("retry-after", ""), client.said[1]["body"].decode()


def test_files_of_downloads_that_are_read_slowly_are_only_so_many(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bobs_token()
    limited(monkeypatch, downloads=3)

    async def ask(count: int) -> tuple[list[Client], list[asyncio.Task[None]]]:
        clients = [Client(web, "GET", "/api/v1/preferences/export", token) for _ in range(count)]
        tasks = [client.start() for client in clients]
        await asyncio.gather(*(client.waits.wait() for client in clients))
        return clients, tasks

    async def attack() -> None:
        slow, reading = await ask(3)
        assert {client.said[0]["status"] for client in slow} == {200}
        assert SHELF.bytes > 0
        (late,), refused = await ask(1)
        status, again, said = answer_of(late)
        assert (status, again) == (503, "60")
        assert "Too many downloads" in said
        await end([late, slow[0]], [*refused, reading[0]])
        await until(lambda: SHELF.files == 2)
        (next_one,), more = await ask(1)
        assert next_one.said[0]["status"] == 200, "who leaves makes room"
        await end([next_one, *slow], [*more, *reading])
        await until(lambda: (SHELF.files, SHELF.bytes) == (0, 0))

    asyncio.run(attack())


def test_files_of_downloads_take_their_share_of_the_disk_and_no_more(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, made = bobs_token(), []

    def endless(*_: Any) -> Iterator[bytes]:
        while True:
            made.append(1024)
            yield bytes(1024)

    monkeypatch.setattr("app.preferences.export.stream", endless)
    monkeypatch.setattr("app.shell.spool.shutil.disk_usage", lambda _: SimpleNamespace(free=65536 - SHELF.bytes))
    limited(monkeypatch, downloads_disk_share=0.25)

    async def attack() -> None:
        first = Client(web, "GET", "/api/v1/preferences/export", token)
        broken = first.start()
        await first.waits.wait()
        await until(lambda: MAKERS.free() == 1)
        assert len(made) == 17, "the seventeenth found no room"
        assert SHELF.bytes == 16384
        late = Client(web, "GET", "/api/v1/preferences/export", token)
        refused = late.start()
        await late.waits.wait()
        status, again, said = answer_of(late)
        assert (status, again) == (503, "60")
        assert "disk space" in said
        await end([first, late], [broken, refused])
        assert not any(message.get("more_body") is False for message in first.said), "what is broken off has no end"
        await until(lambda: (SHELF.files, SHELF.bytes) == (0, 0))

    asyncio.run(attack())


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_uploads_are_only_so_many_bytes_and_judgements_pass(
    few_connections: Engine, web: FastAPI, monkeypatch: pytest.MonkeyPatch, *, declared: bool
) -> None:
    token = bobs_token()
    limit = 2**20
    limited(monkeypatch, uploads=1, upload_limit_bytes=limit)
    large = b"--x\r\n" + b"x" * (FORM_LIMIT_BYTES - LARGE_BODY)
    form = {"content_type": "multipart/form-data; boundary=x"}

    async def attack() -> None:
        slow = Client(web, "POST", "/api/v1/batches", token, **form)
        reading = slow.start(large)
        await slow.waits.wait()
        assert ARRIVING.bytes == len(large) - LARGE_BODY
        more = form | ({"content_length": str(limit + 3 * LARGE_BODY)} if declared else {})
        late = Client(web, "POST", "/api/v1/batches", token, **more)
        late.goes.set()
        await late.start(b"" if declared else b"--x\r\n" + b"x" * (limit + 3 * LARGE_BODY))
        status, again, said = answer_of(late)
        assert (status, again) == (503, "60")
        assert "Too many uploads" in said
        await a_page_answers(web, token)
        await end([slow], [reading])
        await until(lambda: ARRIVING.bytes == 0)

    asyncio.run(attack())


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
    monkeypatch.setattr("app.site.health.READY_SECONDS", 0)
    assert asyncio.run(ask()) == 503
